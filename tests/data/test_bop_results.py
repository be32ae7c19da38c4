"""The result file of the BOP Challenge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_perception.data.bop_results import BopResult, read_bop_results, write_bop_results
from dr_perception.geometry.se3 import make_transform, random_rotation


@given(st.integers(0, 2**32 - 1))
def test_round_trip(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    results = [
        BopResult(
            3, k, k + 1, float(rng.uniform()), make_transform(random_rotation(rng), rng.normal(size=3)), 0.25
        )
        for k in range(3)
    ]
    write_bop_results(tmp_path / "poses.csv", results)
    for got, wanted in zip(read_bop_results(tmp_path / "poses.csv"), results, strict=True):
        assert (got.scene_id, got.image_id, got.object_id) == (
            wanted.scene_id,
            wanted.image_id,
            wanted.object_id,
        )
        assert (got.score, got.time_s) == (wanted.score, wanted.time_s)
        assert np.array_equal(got.T_cam_obj[:3, :3], wanted.T_cam_obj[:3, :3])
        assert np.allclose(got.T_cam_obj[:3, 3], wanted.T_cam_obj[:3, 3], rtol=1e-15)


def test_file_is_the_published_format(tmp_path: Path) -> None:
    T = np.eye(4)
    T[:3, 3] = 0.001, 0.5, -2.0
    write_bop_results(tmp_path / "poses.csv", [BopResult(1, 2, 3, 0.5, T)])
    header, line = (tmp_path / "poses.csv").read_text().splitlines()
    assert header == "scene_id,im_id,obj_id,score,R,t,time"
    assert line == "1,2,3,0.5,1.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 1.0,1.0 500.0 -2000.0,-1.0"


def test_header_line_is_optional(tmp_path: Path) -> None:
    (tmp_path / "poses.csv").write_text("1,2,3,0.5,1 0 0 0 1 0 0 0 1,1 2 3,-1\n")
    (result,) = read_bop_results(tmp_path / "poses.csv")
    assert result.T_cam_obj[:3, 3].tolist() == [0.001, 0.002, 0.003]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "expected the 7 columns"),
        ("1,2,x,0.5,1 0 0 0 1 0 0 0 1,1 2 3,-1", "'x'"),
        ("1,2,3,0.5,1 0 0,1 2 3,-1", "expected 9 numbers, got '1 0 0'"),
        ("1,2,3,0.5,2 0 0 0 1 0 0 0 1,1 2 3,-1", "R, t"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    good = "1,2,3,0.5,1 0 0 0 1 0 0 0 1,1 2 3,-1"
    (tmp_path / "poses.csv").write_text(f"{good}\n{line}\n")
    with pytest.raises(ValueError, match=rf"poses\.csv, line 2: .*{message}"):
        read_bop_results(tmp_path / "poses.csv")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"poses\.csv does not exist"):
        read_bop_results(tmp_path / "poses.csv")

"""Plain folders of images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_perception.data.bop_results import BopResult, write_bop_results
from dr_perception.data.folder import FolderSource
from dr_perception.data.source import FrameSource, open_sequence

CAMERA = {"width": 8, "height": 6, "fx": 10.0, "fy": 11.0, "cx": 3.5, "cy": 2.5, "distortion": [0.1, 0, 0, 0]}
COLOR = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
DEPTH = np.arange(48, dtype=np.uint16).reshape(6, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "color").mkdir()
    (tmp_path / "depth").mkdir()
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    for k in (0, 10, 2):
        cv2.imwrite(str(tmp_path / "color" / f"{k}.png"), COLOR[..., ::-1] + k)
        cv2.imwrite(str(tmp_path / "depth" / f"{k:04d}.png"), DEPTH + k)
    return tmp_path


def test_images_are_paired_and_ordered_by_number(folder: Path) -> None:
    source = open_sequence(folder)
    assert isinstance(source, FrameSource)
    assert list(source.image_ids) == [0, 2, 10]
    for number, frame in zip((0, 2, 10), source, strict=True):
        assert frame.color is not None and np.array_equal(frame.color, COLOR + number)
        assert frame.depth is not None and np.array_equal(frame.depth, DEPTH + number)
        assert frame.stamp_ns == round(number * 1e9 / 30)
        assert frame.depth_scale_m == 0.001
    assert source.camera.distortion == (0.1, 0.0, 0.0, 0.0)
    assert source.stamps_ns == [frame.stamp_ns for frame in source]


def test_large_numbers_are_stamps(folder: Path) -> None:
    cv2.imwrite(str(folder / "color" / "1700000000123456789.png"), COLOR)
    *_, last = FolderSource(folder)
    assert last.stamp_ns == 1_700_000_000_123_456_789
    assert last.depth is None


@pytest.mark.parametrize("suffix", [".npy", ".tiff"])
def test_metric_depth(folder: Path, suffix: str) -> None:
    metres = np.linspace(0, 2, 48, dtype=np.float32).reshape(6, 8)
    path = folder / "depth" / f"11{suffix}"
    if suffix == ".npy":
        np.save(path, metres)
    else:
        cv2.imwrite(str(path), metres)
    *_, last = FolderSource(folder)
    assert last.color is None and last.depth is not None
    assert np.array_equal(last.depth, metres)
    assert last.depth_scale_m == 1.0


def test_depth_scale_rate_and_matrix_come_from_a_yaml_file(folder: Path) -> None:
    (folder / "camera.json").unlink()
    text = "width: 8\nheight: 6\nK: [[10, 0, 3.5], [0, 11, 2.5], [0, 0, 1]]\n"
    (folder / "camera.yaml").write_text(text + "depth_scale_m: 0.0001\nrate_hz: 10\n")
    source = FolderSource(folder)
    *_, last = source
    assert (source.camera.fx, last.depth_scale_m, last.stamp_ns) == (10.0, 0.0001, 1_000_000_000)
    with pytest.raises(ValueError, match=r"states depth_scale_m 0\.0001, not 0\.0002"):
        open_sequence(folder, depth_scale_m=0.0002)
    (folder / "camera.yaml").write_text(text)
    assert [frame.depth_scale_m for frame in open_sequence(folder, depth_scale_m=0.0002)][-1] == 0.0002


def test_ground_truth_from_poses_csv(folder: Path) -> None:
    T = np.eye(4)
    T[:3, 3] = 0.1, 0.2, 0.3
    write_bop_results(folder / "poses.csv", [BopResult(0, 2, 1, 1.0, T), BopResult(0, 2, 4, 1.0, np.eye(4))])
    (folder / "objects.json").write_text('{"1": "mug"}')
    source = FolderSource(folder)
    assert source.object_ids == {"mug": 1, "obj_000004": 4}
    assert source.ground_truth(0) is None
    poses = source.ground_truth(1)
    assert poses is not None and np.allclose(poses["mug"], T)


def test_object_twice_in_one_image_is_a_duplicate_name(folder: Path) -> None:
    write_bop_results(folder / "poses.csv", [BopResult(0, 2, 1, 1.0, np.eye(4))] * 2)
    with pytest.raises(ValueError, match="duplicate object name 'obj_000001' in image 2"):
        FolderSource(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": None}, "camera.json"),
        ({"fx": -1.0}, r"camera\.json: .*fx"),
        ({"focal": 3}, r"unknown keys \['focal'\]"),
        ({"distortion": [1, 2]}, r"camera\.json: .*distortion"),
    ],
)
def test_bad_camera_file_is_named(folder: Path, change: dict[str, object], message: str) -> None:
    (folder / "camera.json").write_text(json.dumps({**CAMERA, **change}))
    with pytest.raises(ValueError, match=message):
        FolderSource(folder)


def test_missing_intrinsics_are_listed(folder: Path) -> None:
    (folder / "camera.json").write_text(json.dumps({"width": 8, "height": 6, "fx": 1.0}))
    with pytest.raises(ValueError, match=r"lacks \['fy', 'cx', 'cy'\]"):
        FolderSource(folder)


def test_images_and_intrinsics_of_different_size(folder: Path) -> None:
    (folder / "camera.json").write_text(json.dumps({**CAMERA, "width": 16}))
    with pytest.raises(ValueError, match=r"image 0: .*8x6.*16x6|image 0: .*16x6.*8x6"):
        next(iter(FolderSource(folder)))


def test_pickled_arrays_are_refused(folder: Path) -> None:
    np.save(folder / "depth" / "11.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"11\.npy is no valid \.npy array"):
        list(FolderSource(folder))


def test_wrong_depth_type_is_named(folder: Path) -> None:
    np.save(folder / "depth" / "11.npy", np.zeros((6, 8), np.int64))
    with pytest.raises(TypeError, match=r"image 11: .*depth image must be .*int64"):
        list(FolderSource(folder))


def test_names_must_be_distinct_numbers(folder: Path) -> None:
    cv2.imwrite(str(folder / "color" / "002.png"), COLOR)
    with pytest.raises(ValueError, match="have the same number"):
        FolderSource(folder)
    (folder / "color" / "002.png").rename(folder / "color" / "left.png")
    with pytest.raises(ValueError, match=r"left\.png must be named by a number"):
        FolderSource(folder)


def test_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    with pytest.raises(ValueError, match="has no images"):
        FolderSource(tmp_path)

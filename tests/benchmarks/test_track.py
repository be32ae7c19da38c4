from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scenes
import track
import track_recovery
import track_table
from scenes import Row

from dr_perception.tracking.result import Status


def _row(frame: int, add_m: float, status: str = "tracking") -> Row:
    return Row("000001", frame, "box", 0.1, add_m, 0.01, 0.002, status, 0.9)


def test_a_part_excludes_the_others() -> None:
    with pytest.raises(SystemExit):
        track.parse(["--profile", "--recovery"])


@pytest.mark.parametrize(
    "arguments",
    [["--stride", "0"], ["--frames-missing", "1"], ["--frames-missing", "-0.1"], ["--loop", "-1"]],
)
def test_refuses_impossible_numbers(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        track.parse(arguments)


def test_takes_another_folder_of_scenes() -> None:
    arguments = track.parse(["--scenes", "elsewhere", "--only", "000007", "--stride", "3"])
    assert (arguments.scenes, arguments.only, arguments.stride) == (Path("elsewhere"), ["000007"], 3)


def test_names_a_scene_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no scene in BOP layout"):
        scenes.scene_folders(tmp_path)
    (tmp_path / "000001").mkdir()
    (tmp_path / "000001/scene_gt.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="000002"):
        scenes.scene_folders(tmp_path, ["000002"])
    assert [p.name for p in scenes.scene_folders(tmp_path)] == ["000001"]


def test_figures_of_a_run() -> None:
    rows = [_row(k, 0.001) for k in range(19)] + [_row(19, 0.005)]
    f = track_table.figures(rows, [1.0, 2.0, 3.0])
    assert f["add_median_mm"] == pytest.approx(1.0)
    assert f["add_max_mm"] == pytest.approx(5.0)
    assert f["below_tenth_percent"] == 100.0
    assert f["below_2mm_percent"] == pytest.approx(95.0)
    assert f["lost"] == 0
    assert f["ms_median"] == 2.0


def test_a_track_is_lost_when_it_ends_far_off() -> None:
    assert not track_table.lost([_row(k, 0.05) for k in range(10)] + [_row(k, 0.001) for k in range(10)])
    assert track_table.lost([_row(k, 0.001) for k in range(10)] + [_row(k, 0.05) for k in range(10)])


def test_plays_to_and_fro() -> None:
    assert scenes.there_and_back(4, 9) == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    with pytest.raises(ValueError, match="two frames"):
        scenes.there_and_back(1, 3)


@pytest.mark.parametrize(
    ("status", "right", "score", "expected"),
    [
        (Status.TRACKING, True, 0.9, "T"),
        (Status.TRACKING, False, 0.9, "!"),
        (Status.TRACKING, False, 0.4, "t"),
        (Status.OCCLUDED, False, 0.9, "o"),
        (Status.LOST, True, 0.1, "L"),
    ],
)
def test_letters_of_a_history(status: Status, right: bool, score: float, expected: str) -> None:
    assert track_recovery.letter(status, right, score) == expected


def test_report_can_be_read_back(tmp_path: Path) -> None:
    scenes.write_report(tmp_path / "a/b.json", rows=[_row(1, 0.5)], number=np.float64(2.0), array=np.eye(2))
    report = json.loads((tmp_path / "a/b.json").read_text())
    assert report["rows"][0]["add_m"] == 0.5
    assert report["array"] == [[1.0, 0.0], [0.0, 1.0]]
    assert report["machine"]["cores"] >= 1

"""Recognising sequences, and reading ahead."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr_perception.data.source import DamagedSequenceError, FrameSource, open_sequence, prefetched
from dr_perception.geometry.frame import Frame

from .conftest import Recording, make_recording


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sequence .*nothing does not exist"):
        open_sequence(tmp_path / "nothing")


def test_unknown_content_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not recognised: expected a BOP scene"):
        open_sequence(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"film\.mp4 is not recognised"):
        open_sequence(tmp_path / "film.mp4")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(ValueError, match=r"old\.bag is a ROS 1 bag: convert it"):
        open_sequence(tmp_path / "old.bag")


def test_folder_of_scenes_lists_them(tmp_path: Path) -> None:
    for name in ("000001", "000002"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scene_camera.json").write_text("{}")
    with pytest.raises(ValueError, match="holds the BOP scenes 000001, 000002"):
        open_sequence(tmp_path)


def test_unknown_option_is_named(tmp_path: Path) -> None:
    (tmp_path / "scene_camera.json").write_text("{}")
    with pytest.raises(TypeError, match="colour_topic"):
        open_sequence(tmp_path, colour_topic="/image")


class Damaged(Recording):
    """Fails after its last frame."""

    def __iter__(self) -> Iterator[Frame]:
        yield from self.frames
        raise DamagedSequenceError("cut")


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_reading_ahead_gives_the_same_frames(depth: int) -> None:
    recording = make_recording(7)
    assert [id(f) for f in prefetched(recording, depth)] == [id(f) for f in recording]


def test_error_arrives_after_the_frames_before_it() -> None:
    whole = make_recording(4)
    damaged: FrameSource = Damaged(whole.frames, whole.poses)
    frames = []
    with pytest.raises(DamagedSequenceError, match="cut"):
        for frame in prefetched(damaged):
            frames.append(frame)
    assert len(frames) == 4


def test_reader_thread_ends_when_the_caller_stops_early() -> None:
    before = threading.active_count()
    ahead = prefetched(make_recording(50), 1)
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_depth_of_reading_ahead_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        next(prefetched(make_recording(1), 0))


def test_importing_the_room_imports_nothing_heavy() -> None:
    modules = "source, models, bop, folder, rosbag2, bag_writer, bop_results, image_codec"
    heavy = "{'open3d', 'rosbags', 'cv2', 'matplotlib', 'torch', 'rclpy', 'yaml'}"
    code = f"import sys\nfrom dr_perception.data import {modules}\nprint({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

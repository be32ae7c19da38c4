"""Videos hold the frames that were written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dr_perception.viz.stream import NullVisualizer, make_visualizer
from dr_perception.viz.video import write_video


@pytest.fixture
def frames() -> list[np.ndarray]:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (49, 1))
    return [np.stack([ramp, np.full_like(ramp, 30 * k), 255 - ramp], axis=2) for k in range(6)]


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_animated_pictures_hold_every_frame(frames, tmp_path, suffix):
    path = write_video(tmp_path / f"a{suffix}", iter(frames), fps=20.0)
    with Image.open(path) as picture:
        assert picture.n_frames == 6 and picture.size == (64, 49) and picture.info["loop"] == 0
        for k, frame in enumerate(frames):
            picture.seek(k)
            picture.load()
            assert picture.info["duration"] == 50
            difference = np.asarray(picture.convert("RGB")).astype(int) - frame
            assert np.abs(difference).mean() < 8


def test_webm_holds_every_frame(frames, tmp_path):
    import cv2

    path = write_video(tmp_path / "a.webm", frames)
    capture, count = cv2.VideoCapture(str(path)), 0
    while True:
        there, image = capture.read()
        if not there:
            break
        assert image.shape == (48, 64, 3)
        count += 1
    assert count == 6


def test_mistakes_are_named(frames, tmp_path):
    with pytest.raises(ValueError, match=r"a video is one of .webp, .gif, .webm, got 'a.avi'"):
        write_video(tmp_path / "a.avi", frames)
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.webp", [])
    with pytest.raises(ValueError, match="one size"):
        write_video(tmp_path / "a.webp", [frames[0], frames[1][:10]])
    with pytest.raises(ValueError, match="rate must be positive"):
        write_video(tmp_path / "a.webp", frames, fps=0.0)


def test_the_visualizer_that_is_off_takes_everything():
    view = make_visualizer("off")
    assert isinstance(view, NullVisualizer)
    view.start({})
    view.show(None, None)
    view.close()
    with pytest.raises(ValueError, match="'crystal ball'"):
        make_visualizer("crystal ball")

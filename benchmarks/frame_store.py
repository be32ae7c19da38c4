"""Decoded frames in plain files, so that a process that tracks them decodes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dr_perception as drp

Poses = Mapping[str, NDArray[np.float64]]


def write_frames(
    folder: Path, frames: Sequence[drp.Frame], truth: Sequence[Poses], models: Mapping[str, Path]
) -> None:
    """Write frames, the poses (4, 4) in them by name, and the files of the models."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "color.raw", "wb") as color, open(folder / "depth.raw", "wb") as depth:
        for frame in frames:
            assert frame.color is not None and frame.depth is not None
            color.write(np.ascontiguousarray(frame.color, np.uint8).tobytes())
            metres = np.asarray(frame.depth, np.float32) * np.float32(frame.depth_scale_m)
            depth.write(np.ascontiguousarray(metres, np.float32).tobytes())
    camera = asdict(frames[0].camera)
    poses = [{name: np.asarray(T).tolist() for name, T in one.items()} for one in truth]
    content = {"camera": camera, "truth": poses, "models": {k: str(v) for k, v in models.items()}}
    (folder / "frames.json").write_text(json.dumps(content, default=list))


class FrameStore:
    """Frames of a folder, read one at a time."""

    def __init__(self, folder: Path) -> None:
        """Read all but the images."""
        content = json.loads((folder / "frames.json").read_text())
        self.camera = drp.Camera(**content["camera"])
        self.truth: list[Poses] = [{k: np.array(T) for k, T in one.items()} for one in content["truth"]]
        files = content["models"]
        loaded = {file: drp.load_model(file, unit="mm") for file in dict.fromkeys(files.values())}
        self.models = {name: loaded[file] for name, file in files.items()}
        self._files = [open(folder / name, "rb", buffering=0) for name in ("color.raw", "depth.raw")]

    def frame(self, index: int, stamp_ns: int) -> drp.Frame:
        """The images of a frame, stamped anew."""
        shape = (self.camera.height, self.camera.width)
        images = [np.empty((*shape, 3), np.uint8), np.empty(shape, np.float32)]
        for file, image in zip(self._files, images, strict=True):
            file.seek(index * image.nbytes)
            file.readinto(image.data)  # type: ignore[attr-defined]
        return drp.Frame(color=images[0], depth=images[1], camera=self.camera, stamp_ns=stamp_ns)

    def played(self, count: int) -> Iterator[tuple[int, drp.Frame]]:
        """Numbers of frames in the store and frames, to and fro, 30 a second, ``count`` of them."""
        period = 2 * (len(self.truth) - 1)
        for number in range(count):
            k = min(number % period, period - number % period)
            yield k, self.frame(k, round(number * 1e9 / 30.0))

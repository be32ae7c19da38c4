"""A plain folder of images as frames: the simplest way to bring one's own recordings.

Layout::

    camera.json | camera.yaml   width, height, fx, fy, cx, cy (or K), distortion, distortion_model,
    depth_scale_m, rate_hz color/ | rgb/               000000.png, 000001.jpg, ...
    depth/                      000000.png (16 bit), .tiff (float32 metres) or .npy
    poses.csv                   optional reference poses, BOP result columns; im_id is the number in the file
    name objects.json                optional {"1": "mug", ...}: names of the object numbers in poses.csv
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.bop_results import read_bop_results
from dr_perception.data.image_files import read_color, read_depth
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame

__all__ = ["FolderSource", "read_camera_file"]

_CAMERA_FILES = ("camera.json", "camera.yaml", "camera.yml")
_COLOR_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
_INTRINSICS = ("fx", "fy", "cx", "cy")
_CAMERA_KEYS = {"width", "height", "K", *_INTRINSICS, "distortion", "distortion_model"}
_OTHER_KEYS = {"depth_scale_m", "rate_hz"}
_SMALLEST_STAMP_NS = 10**15


class FolderSource:
    """A plain folder as a `FrameSource`.

    Images are ordered by the number in their names. A number of 10^15 or more is a stamp in nanoseconds;
    smaller ones count frames of `rate_hz`. A frame may lack colour or depth.
    """

    scene_id = 0

    def __init__(
        self, path: str | Path, rate_hz: float | None = None, depth_scale_m: float | None = None
    ) -> None:
        """Find the images and read calibration and poses; images are read while iterating.

        Args:
            path: The folder.
            rate_hz: Frame rate; None: that of the camera file, otherwise 30.
            depth_scale_m: Metres per unit of integer depths where the camera file states none; None: 0.001.

        Raises:
            FileNotFoundError: The folder has no camera file.
            ValueError: A file is not valid, there are no images, two images have one number, or the camera
                file states another unit of depth.
        """
        self.path = Path(path)
        file = next((self.path / name for name in _CAMERA_FILES if (self.path / name).is_file()), None)
        if file is None:
            raise FileNotFoundError(f"folder {self.path} has none of {', '.join(_CAMERA_FILES)}")
        self._camera, other = read_camera_file(file)
        asked = 0.001 if depth_scale_m is None else depth_scale_m
        self._depth_scale_m = float(other.get("depth_scale_m", asked))
        if depth_scale_m is not None and self._depth_scale_m != depth_scale_m:
            raise ValueError(f"{file} states depth_scale_m {self._depth_scale_m}, not {depth_scale_m}")
        rate_hz = float(other.get("rate_hz", 30.0)) if rate_hz is None else rate_hz
        if not rate_hz > 0.0:
            raise ValueError(f"rate_hz of {self.path} must be positive, got {rate_hz}")
        self._period_ns = 1e9 / rate_hz
        self._color = {
            **_images(self.path / "rgb", _COLOR_SUFFIXES),
            **_images(self.path / "color", _COLOR_SUFFIXES),
        }
        self._depth = _images(self.path / "depth", _DEPTH_SUFFIXES)
        self.image_ids: Sequence[int] = sorted({*self._color, *self._depth})
        if not self.image_ids:
            raise ValueError(f"folder {self.path} has no images in color/, rgb/ or depth/")
        self._truth = self._read_truth()

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def stamps_ns(self) -> Sequence[int]:
        """Stamps from the image numbers [ns]."""
        return [self._stamp_ns(number) for number in self.image_ids]

    @property
    def camera(self) -> Camera:
        """The one camera of the folder."""
        return self._camera

    @cached_property
    def object_ids(self) -> Mapping[str, int]:
        """Object numbers of the names in the reference poses."""
        return {
            name: number
            for name, number in self._names.items()
            if any(name in t for t in self._truth.values())
        }

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.image_ids)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order of their numbers."""
        return (self._frame(number) for number in self.image_ids)

    def ground_truth(self, index: int) -> dict[str, NDArray[np.float64]] | None:
        """Poses of frame `index` from ``poses.csv``."""
        return self._truth.get(self.image_ids[index])

    def _stamp_ns(self, number: int) -> int:
        return number if number >= _SMALLEST_STAMP_NS else round(number * self._period_ns)

    def _frame(self, number: int) -> Frame:
        color = read_color(self._color[number]) if number in self._color else None
        depth = read_depth(self._depth[number]) if number in self._depth else None
        is_metric = depth is not None and np.issubdtype(depth.dtype, np.floating)
        try:
            return Frame(
                color=color,
                depth=depth,
                camera=self._camera,
                stamp_ns=self._stamp_ns(number),
                depth_scale_m=1.0 if is_metric or depth is None else self._depth_scale_m,
                frame_id="camera",
            )
        except (ValueError, TypeError) as error:
            raise type(error)(f"folder {self.path}, image {number}: {error}") from error

    def _read_truth(self) -> dict[int, dict[str, NDArray[np.float64]]]:
        names_file, poses_file = self.path / "objects.json", self.path / "poses.csv"
        named: dict[str, str] = {}
        if names_file.is_file():
            try:
                named = {
                    str(int(key)): str(name)
                    for key, name in json.loads(names_file.read_text("utf-8")).items()
                }
            except (ValueError, AttributeError) as error:
                raise ValueError(f"{names_file} is not valid: {error}") from error
        self._names: dict[str, int] = {}
        truth: dict[int, dict[str, NDArray[np.float64]]] = {}
        for result in read_bop_results(poses_file) if poses_file.is_file() else ():
            name = named.get(str(result.object_id), f"obj_{result.object_id:06d}")
            poses = truth.setdefault(result.image_id, {})
            if name in poses:
                raise ValueError(f"duplicate object name {name!r} in image {result.image_id} of {poses_file}")
            self._names[name] = result.object_id
            poses[name] = result.T_cam_obj
        return truth


def read_camera_file(path: Path) -> tuple[Camera, dict[str, Any]]:
    """Read a calibration from JSON or YAML.

    Returns:
        The camera, and the keys that are not the camera's (``depth_scale_m``, ``rate_hz``).

    Raises:
        ValueError: The file is not valid, or a key is missing or unknown.
    """
    import yaml

    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"camera file {path} is not valid: {error}") from error
    if not isinstance(tree, dict):
        raise ValueError(f"camera file {path} must hold keys and values, got {type(tree).__name__}")
    unknown = sorted(set(tree) - _CAMERA_KEYS - _OTHER_KEYS)
    if unknown:
        raise ValueError(
            f"camera file {path} has unknown keys {unknown}; known: {sorted(_CAMERA_KEYS | _OTHER_KEYS)}"
        )
    required = ("width", "height", *(() if "K" in tree else _INTRINSICS))
    missing = [key for key in required if key not in tree]
    if missing:
        raise ValueError(f"camera file {path} lacks {missing}")
    try:
        K = (
            tree["K"]
            if "K" in tree
            else [[tree["fx"], 0, tree["cx"]], [0, tree["fy"], tree["cy"]], [0, 0, 1]]
        )
        camera = Camera.from_matrix(
            np.array(K, dtype=np.float64).reshape(3, 3),
            tree["width"],
            tree["height"],
            tuple(tree.get("distortion", ())),
            tree.get("distortion_model", "plumb_bob"),
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"camera file {path}: {error}") from error
    return camera, {key: tree[key] for key in _OTHER_KEYS if key in tree}


def _images(folder: Path, suffixes: Sequence[str]) -> dict[int, Path]:
    """Image files of a folder by their numbers."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in suffixes:
            continue
        if not path.stem.isdecimal():
            raise ValueError(f"image {path} must be named by a number, such as 000000{path.suffix}")
        if int(path.stem) in found:
            raise ValueError(f"images {found[int(path.stem)]} and {path} have the same number")
        found[int(path.stem)] = path
    return found

"""BOP scene folders: images, calibration, masks and ground truth of one scene.

Format: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md. Lengths in the files
    are
millimetres; everything that leaves this module is in metres.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.image_files import read_color, read_depth
from dr_perception.data.models import model_name, read_models_info
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import check_transform, invert, make_transform

__all__ = ["BopScene", "SceneMasks"]

_COLOR_FOLDERS = ("rgb", "gray")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class BopScene:
    """A scene folder as a `FrameSource`.

    An instance is named after its model (``name`` in ``models_info.json``, otherwise ``obj_NNNNNN``); the
    second instance of a model in the same frame is called ``NAME_2``, and so on in the order of
    ``scene_gt.json``.
    """

    def __init__(
        self,
        path: str | Path,
        models: str | Path | None = None,
        rate_hz: float = 30.0,
        masks: bool = False,
        image_ids: Sequence[int] | None = None,
    ) -> None:
        """Read the JSON files of the scene; images are read while iterating.

        Args:
            path: Scene folder with ``scene_camera.json``.
            models: Folder with ``models_info.json`` for the names of objects; None: ``../models``, if it is
                there.
            rate_hz: Frame rate from which stamps are made, since BOP has none: image 0 is at 0.
            masks: Whether frames carry their visible masks (all of a frame are then read with it).
            image_ids: Images to deliver; None: all in ``scene_camera.json``.

        Raises:
            FileNotFoundError: There is no ``scene_camera.json``, or an image in it has no file.
            ValueError: A JSON file is not valid, or the rate is not positive.
        """
        self.path = Path(path)
        if not rate_hz > 0.0:
            raise ValueError(f"rate_hz must be positive, got {rate_hz}")
        self._period_ns = 1e9 / rate_hz
        self._with_masks = masks
        self._cameras = _read_by_image(self.path / "scene_camera.json")
        truth_file = self.path / "scene_gt.json"
        self._truth: dict[int, list[Any]] = _read_by_image(truth_file) if truth_file.is_file() else {}
        self._info = read_models_info(Path(models) if models else self.path.parent / "models")
        self.image_ids: Sequence[int] = sorted(self._cameras) if image_ids is None else list(image_ids)
        missing = [number for number in self.image_ids if number not in self._cameras]
        if missing or not self.image_ids:
            raise ValueError(f"{self.path / 'scene_camera.json'} has no image {missing or 'at all'}")
        self._find_images()

    @property
    def name(self) -> str:
        """Folder name of the data set and of the scene."""
        return f"{self.path.resolve().parent.name}/{self.path.resolve().name}"

    @property
    def scene_id(self) -> int:
        """Number of the scene; 0 if the folder's name is no number."""
        name = self.path.resolve().name
        return int(name) if name.isdecimal() else 0

    @property
    def stamps_ns(self) -> Sequence[int]:
        """Stamps made from the image numbers and the frame rate [ns]."""
        return [self._stamp_ns(number) for number in self.image_ids]

    @cached_property
    def camera(self) -> Camera:
        """Camera of the first frame."""
        return self._frame(0).camera

    @cached_property
    def object_ids(self) -> Mapping[str, int]:
        """BOP object number of every instance name in the scene."""
        found: dict[str, int] = {}
        for number in self.image_ids:
            found.update({name: entry["obj_id"] for name, entry in self._instances(number)})
        return found

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.image_ids)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order of `image_ids`."""
        return (self._frame(index) for index in range(len(self)))

    def ground_truth(self, index: int) -> dict[str, NDArray[np.float64]] | None:
        """Poses of frame `index` from ``scene_gt.json``: ``{instance name: T_cam_obj (4, 4)}`` in metres."""
        number = self.image_ids[index]
        if number not in self._truth:
            return None
        place = f"{self.path / 'scene_gt.json'}, image {number}"
        return {
            name: _pose(entry, "cam_R_m2c", "cam_t_m2c", f"{place}, {name}")
            for name, entry in self._instances(number)
        }

    def masks(self, index: int) -> SceneMasks:
        """Visible masks of frame `index`, each read when it is asked for."""
        number = self.image_ids[index]
        files = {
            name: self.path / "mask_visib" / f"{number:06d}_{k:06d}.png"
            for k, (name, _) in enumerate(self._instances(number))
        }
        return SceneMasks({name: file for name, file in files.items() if file.is_file()})

    def _instances(self, number: int) -> list[tuple[str, dict[str, Any]]]:
        """Named entries of ``scene_gt.json`` for one image."""
        counts: dict[str, int] = {}
        named = []
        for entry in self._truth.get(number, ()):
            name = model_name(entry["obj_id"], self._info.get(entry["obj_id"]))
            counts[name] = counts.get(name, 0) + 1
            named.append((name if counts[name] == 1 else f"{name}_{counts[name]}", entry))
        return named

    def _find_images(self) -> None:
        """Set the files of every image."""
        folder = next((f for f in _COLOR_FOLDERS if (self.path / f).is_dir()), None)
        has_depth = (self.path / "depth").is_dir()
        if folder is None and not has_depth:
            raise FileNotFoundError(f"BOP scene {self.path} has none of the folders rgb, gray and depth")
        self._color_files = {n: _image_file(self.path / folder, n) for n in self.image_ids} if folder else {}
        self._depth_files = (
            {n: _image_file(self.path / "depth", n) for n in self.image_ids} if has_depth else {}
        )

    def _stamp_ns(self, number: int) -> int:
        return round(number * self._period_ns)

    def _frame(self, index: int) -> Frame:
        number = self.image_ids[index]
        entry = self._cameras[number]
        color = read_color(self._color_files[number]) if self._color_files else None
        depth = read_depth(self._depth_files[number]) if self._depth_files else None
        image = color if color is not None else depth
        assert image is not None
        place = f"{self.path / 'scene_camera.json'}, image {number}"
        if "cam_K" not in entry:
            raise ValueError(f"{place} has no cam_K")
        T_world_cam = None
        if "cam_R_w2c" in entry:
            T_world_cam = invert(_pose(entry, "cam_R_w2c", "cam_t_w2c", place))
        try:
            return Frame(
                color=color,
                depth=depth,
                camera=_camera(tuple(entry["cam_K"]), image.shape[1], image.shape[0]),
                stamp_ns=self._stamp_ns(number),
                depth_scale_m=1e-3 * float(entry.get("depth_scale", 1.0)),
                T_world_cam=T_world_cam,
                masks=dict(self.masks(index)) if self._with_masks else None,
                frame_id="camera",
            )
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


class SceneMasks(Mapping[str, "NDArray[np.bool_]"]):
    """Masks of one image by instance name; reading one reads one file."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Remember the files."""
        self._files = dict(files)

    def __getitem__(self, name: str) -> NDArray[np.bool_]:
        """Mask (H, W) of an instance, True where it is visible."""
        return read_depth(self._files[name]) > 0

    def __iter__(self) -> Iterator[str]:
        """Instance names."""
        return iter(self._files)

    def __len__(self) -> int:
        """Number of instances."""
        return len(self._files)


def _read_by_image(path: Path) -> dict[int, Any]:
    """A JSON object with image numbers as keys."""
    if not path.is_file():
        raise FileNotFoundError(f"BOP file {path} does not exist")
    try:
        return {int(key): value for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not valid: {error}") from error


def _image_file(folder: Path, number: int) -> Path:
    """File of an image, whatever its suffix."""
    for suffix in _SUFFIXES:
        path = folder / f"{number:06d}{suffix}"
        if path.is_file():
            return path
    raise FileNotFoundError(f"image {folder / f'{number:06d}'} ({', '.join(_SUFFIXES)}) does not exist")


def _pose(entry: Mapping[str, Any], rotation: str, translation: str, place: str) -> NDArray[np.float64]:
    """Pose (4, 4) in metres from two entries in BOP's notation."""
    try:
        R = np.array(entry[rotation], dtype=np.float64).reshape(3, 3)
        t = 1e-3 * np.array(entry[translation], dtype=np.float64).reshape(3)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{place}: {rotation} or {translation} is missing or not valid ({error})") from error
    return check_transform(make_transform(R, t), place)


@lru_cache(maxsize=64)
def _camera(K: tuple[float, ...], width: int, height: int) -> Camera:
    """One `Camera` for equal intrinsics, so that what it caches is kept."""
    return Camera.from_matrix(np.array(K, dtype=np.float64).reshape(3, 3), width, height)

"""What every recorded sequence looks like from outside, and the function that opens one by its path."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dr_perception.geometry.camera import Camera
    from dr_perception.geometry.frame import Frame

__all__ = ["DamagedSequenceError", "FrameSource", "open_sequence", "prefetched"]

_BAG_SUFFIXES = (".mcap", ".db3")
_EXPECTED = (
    "a BOP scene (scene_camera.json), a rosbag2 folder (metadata.yaml) or .mcap/.db3 file, "
    "or a plain folder (camera.json or camera.yaml)"
)


class DamagedSequenceError(ValueError):
    """A sequence ends in damaged data. Raised after all intact frames have been delivered."""


@runtime_checkable
class FrameSource(Protocol):
    """A finite, ordered sequence of frames; iterating twice gives the same frames twice."""

    @property
    def name(self) -> str:
        """Short name of the sequence, for reports."""

    @property
    def scene_id(self) -> int:
        """Number of the scene, as in BOP result files; 0 where there is none."""

    @property
    def image_ids(self) -> Sequence[int]:
        """Number of each frame, as in BOP result files."""

    @property
    def stamps_ns(self) -> Sequence[int]:
        """Stamp of each frame [ns], known without reading images."""

    @property
    def camera(self) -> Camera:
        """Camera of the first frame. A later frame's own camera is ``frame.camera``."""

    @property
    def object_ids(self) -> Mapping[str, int]:
        """BOP object number of each object with ground truth; repeats of one object share their number."""

    def __len__(self) -> int:
        """Number of frames."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order of their stamps.

        Raises:
            DamagedSequenceError: After the last intact frame, if the data are damaged behind it.
        """

    def ground_truth(self, index: int) -> dict[str, NDArray[np.float64]] | None:
        """Reference poses of frame `index` (in the order of iteration).

        Returns:
            ``{name: T_cam_obj}`` (4, 4) in metres; None if there are none for this frame.
        """


def open_sequence(path: str | Path, *, depth_scale_m: float | None = None, **options: Any) -> FrameSource:
    """Open a recorded sequence; the kind is recognised by what the path holds.

    Args:
        path: A BOP scene folder, a rosbag2 folder or single ``.mcap``/``.db3`` file, or a plain folder.
        depth_scale_m: Metres per unit of integer depth images; for recordings, which do not state it (None:
            millimetres). Others state their own, which this must not contradict.
        **options: Passed to `BopScene`, `RosbagSource` or `FolderSource`.

    Returns:
        The sequence.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The path is none of these kinds, what it holds is not valid, or its depths are in another
            unit than asked for.
        TypeError: An option is not known to this kind of sequence.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"sequence {path} does not exist")
    if path.suffix == ".bag":
        raise ValueError(f"{path} is a ROS 1 bag: convert it first, for example with rosbags-convert")
    if path.is_file():
        if path.suffix not in _BAG_SUFFIXES:
            raise ValueError(f"sequence {path} is not recognised: expected {_EXPECTED}")
        return _open_bag(path, {"depth_scale_m": depth_scale_m, **options})
    if (path / "scene_camera.json").is_file():
        from dr_perception.data.bop import BopScene

        if depth_scale_m is not None:
            raise ValueError(
                f"scene {path} states the unit of its depths itself (depth_scale in scene_camera.json): "
                f"depth_scale_m = {depth_scale_m} would be ignored"
            )
        return BopScene(path, **options)
    options = {"depth_scale_m": depth_scale_m, **options}
    if (path / "metadata.yaml").is_file() or any(p.suffix in _BAG_SUFFIXES for p in path.iterdir()):
        return _open_bag(path, options)
    if any((path / name).is_file() for name in ("camera.json", "camera.yaml", "camera.yml")):
        from dr_perception.data.folder import FolderSource

        return FolderSource(path, **options)
    scenes = sorted(p.parent.name for p in path.glob("*/scene_camera.json"))
    hint = f"; it holds the BOP scenes {', '.join(scenes)}: open one of them" if scenes else ""
    raise ValueError(f"sequence {path} is not recognised: expected {_EXPECTED}{hint}")


def prefetched(source: FrameSource, depth: int = 2) -> Iterator[Frame]:
    """Iterate over a source while one thread reads and decodes up to `depth` frames ahead.

    The frames and their order are those of ``iter(source)``; an error is raised at its place in the sequence.

    Args:
        source: The sequence.
        depth: Number of frames to hold ready, at least 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    ready: queue.Queue[Frame | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_read_ahead, args=(source, ready, stopped), daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _read_ahead(source: FrameSource, ready: queue.Queue[Any], stopped: threading.Event) -> None:
    """Put frames, then an error if there was one, then None."""

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    try:
        for frame in source:
            if not put(frame):
                return
    except Exception as error:
        put(error)
    put(None)


def _open_bag(path: Path, options: dict[str, Any]) -> FrameSource:
    from dr_perception.data.rosbag2 import RosbagSource

    return RosbagSource(path, **options)

"""Stream to the Rerun viewer (optional package ``rerun-sdk``): camera, images, models, status, score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.tracking.result import Status, TrackResult
from dr_perception.viz.palette import object_color

__all__ = ["RerunVisualizer"]

STATUS_LEVEL = {Status.LOST: 0.0, Status.OCCLUDED: 0.5, Status.TRACKING: 1.0}


class RerunVisualizer:
    """A `Visualizer` that logs to Rerun.

    Args:
        target: Path of the ``.rrd`` recording; empty opens the viewer.

    Raises:
        ModuleNotFoundError: ``rerun-sdk`` is not installed.
    """

    def __init__(self, target: str = "") -> None:
        try:
            import rerun
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("the Rerun view needs 'pip install rerun-sdk'", name="rerun") from error
        self._rerun: Any = rerun
        self._recording: Any = rerun.RecordingStream("dr_perception")
        if target:
            self._recording.save(target)
        else:
            self._recording.spawn()

    def start(self, models: Mapping[str, ObjectModel]) -> None:
        """Log the meshes once; their poses follow frame by frame."""
        for k, (name, model) in enumerate(models.items()):
            mesh = self._rerun.Mesh3D(
                vertex_positions=model.mesh.vertices.astype(np.float32),
                triangle_indices=model.mesh.faces,
                albedo_factor=object_color(k),
            )
            self._recording.log(f"camera/{name}", mesh, static=True)

    def show(self, frame: Frame, result: TrackResult) -> None:
        """Log the images, the poses, the health and the times of one frame."""
        rerun, log = self._rerun, self._recording.log
        self._recording.set_time("frame", timestamp=1e-9 * frame.stamp_ns)
        camera = frame.camera
        log("camera", rerun.Pinhole(image_from_camera=camera.K, resolution=[camera.width, camera.height]))
        if frame.color is not None:
            log("camera/color", rerun.Image(frame.color))
        if frame.depth is not None:
            log("camera/depth", rerun.DepthImage(frame.depth_m(), meter=1.0))
        for name, state in result.objects.items():
            T = state.T_cam_obj
            log(f"camera/{name}", rerun.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
            log(f"score/{name}", rerun.Scalars(state.score))
            log(f"status/{name}", rerun.Scalars(STATUS_LEVEL[state.status]))
        for part, milliseconds in result.timing_ms.items():
            log(f"time_ms/{part}", rerun.Scalars(milliseconds))

    def close(self) -> None:
        """Flush what is still buffered."""
        self._recording.flush()

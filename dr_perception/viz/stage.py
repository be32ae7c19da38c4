"""A renderer for pictures of the same models frame after frame: meshes stay, poses change."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.model import ObjectModel

if TYPE_CHECKING:
    from dr_perception.render import Renderer, Scene, SceneParameters

__all__ = ["Stage", "shared_stage"]

MAX_SCENES = 8
CHANNELS = ("depth", "instance", "normal")


class Stage:
    """Draws depth, instance and normal images without antialiasing. Safe between threads."""

    def __init__(self) -> None:
        from dr_perception.render import Renderer

        self._lock = threading.Lock()
        self._renderer: Renderer = Renderer()
        self._scenes: OrderedDict[tuple[object, ...], tuple[Scene, SceneParameters]] = OrderedDict()

    def draw(
        self,
        models: Sequence[ObjectModel],
        poses: NDArray[np.float64],
        camera: Camera,
        crop: tuple[int, int, int, int],
    ) -> dict[str, NDArray]:
        """Draw models.

        Args:
            models: M models.
            poses: (M, 4, 4) ``T_cam_obj``.
            camera: The camera.
            crop: x0, y0, width, height of the part of the image to draw [px].

        Returns:
            "depth" (height, width) [m], "instance" with the index of the model or -1, and "normal" (.., 3) in
            camera axes.
        """
        from dr_perception.render import RenderOptions

        with self._lock:
            scene, parameters = self._scene(models, camera)
            parameters.R_world_obj.assign(poses[None, :, :3, :3].astype(np.float32))
            parameters.t_world_obj.assign(poses[None, :, :3, 3].astype(np.float32))
            options = RenderOptions(channels=CHANNELS, antialias=False, crop=crop)
            return self._renderer.render(scene, parameters, options).numpy()

    def _scene(self, models: Sequence[ObjectModel], camera: Camera) -> tuple[Scene, SceneParameters]:
        """Scene and uploaded arrays of these models; the last few are kept."""
        from dr_perception.render import Instance, Scene

        key = (camera, *(model.mesh for model in models))
        if key not in self._scenes:
            while len(self._scenes) >= MAX_SCENES:
                self._scenes.popitem(last=False)
            bare = [replace(m.mesh, vertex_colors=None, corner_uv=None, texture=None) for m in models]
            scene = Scene([Instance(mesh) for mesh in bare])
            self._scenes[key] = (scene, self._renderer.parameters(scene, camera))
        self._scenes.move_to_end(key)
        return self._scenes[key]


@lru_cache(maxsize=1)
def shared_stage() -> Stage:
    """The stage of all overlays of this process."""
    return Stage()

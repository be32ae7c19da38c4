"""Differentiable rendering for pose tracking of known objects and of the camera.

The names below are the public interface; each is imported when it is first used, so that ``import
dr_perception`` and the command line stay fast. Conventions: metres, seconds, radians; optical camera frame (x
right, y down, z forward); integer pixel coordinates are pixel centres; ``T_a_b`` takes points in frame b to
frame a; quaternions are x, y, z, w; tangent vectors and covariances are ordered translation first, then
rotation, both along the axes of the parent frame.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dr_perception.config import Config, load_config
    from dr_perception.data.models import load_model, load_models
    from dr_perception.data.source import FrameSource, open_sequence
    from dr_perception.estimate.finding import Finding
    from dr_perception.estimate.first_order import Block, adam, lbfgs
    from dr_perception.estimate.unknowns import Prior
    from dr_perception.fitting.fit_pose import fit_pose
    from dr_perception.fitting.image_fit import ImageFit
    from dr_perception.fitting.least_squares import least_squares
    from dr_perception.geometry import Camera, Frame, Mesh, ObjectModel, Symmetries
    from dr_perception.geometry.kinematics import Joint, KinematicTree
    from dr_perception.hypothesis.result import PoseEstimate
    from dr_perception.hypothesis.search_config import FitConfig
    from dr_perception.measure.config import SensorConfig
    from dr_perception.rays import EdgeSampler, RayCaster
    from dr_perception.render import (
        CapturedRender,
        Images,
        Instance,
        Lights,
        Maps,
        Material,
        ParameterMap,
        Renderer,
        RenderOptions,
        Scene,
        SceneParameters,
        TiedIntrinsics,
        fill_camera_poses,
        fill_poses,
        render,
    )
    from dr_perception.render.jax_bridge import antialias_jax, render_jax
    from dr_perception.render.maps import GraphMap, JointMap, SkinMap, SplineMap
    from dr_perception.render.torch_bridge import antialias_torch, render_torch
    from dr_perception.tracking import ObjectState, Status, Tracker, TrackerConfig, TrackResult
    from dr_perception.tracking.multi_camera import MultiCameraTracker

__version__ = "0.1.0"

_MODULE_OF = {
    "Config": "dr_perception.config",
    "load_config": "dr_perception.config",
    "load_model": "dr_perception.data.models",
    "load_models": "dr_perception.data.models",
    "FrameSource": "dr_perception.data.source",
    "open_sequence": "dr_perception.data.source",
    "Finding": "dr_perception.estimate.finding",
    "Block": "dr_perception.estimate.first_order",
    "adam": "dr_perception.estimate.first_order",
    "lbfgs": "dr_perception.estimate.first_order",
    "Prior": "dr_perception.estimate.unknowns",
    "fit_pose": "dr_perception.fitting.fit_pose",
    "ImageFit": "dr_perception.fitting.image_fit",
    "least_squares": "dr_perception.fitting.least_squares",
    "Camera": "dr_perception.geometry",
    "Frame": "dr_perception.geometry",
    "Mesh": "dr_perception.geometry",
    "ObjectModel": "dr_perception.geometry",
    "Symmetries": "dr_perception.geometry",
    "Joint": "dr_perception.geometry.kinematics",
    "KinematicTree": "dr_perception.geometry.kinematics",
    "PoseEstimate": "dr_perception.hypothesis.result",
    "FitConfig": "dr_perception.hypothesis.search_config",
    "SensorConfig": "dr_perception.measure.config",
    "EdgeSampler": "dr_perception.rays",
    "RayCaster": "dr_perception.rays",
    "CapturedRender": "dr_perception.render",
    "Images": "dr_perception.render",
    "Instance": "dr_perception.render",
    "Lights": "dr_perception.render",
    "Maps": "dr_perception.render",
    "Material": "dr_perception.render",
    "ParameterMap": "dr_perception.render",
    "RenderOptions": "dr_perception.render",
    "Renderer": "dr_perception.render",
    "Scene": "dr_perception.render",
    "SceneParameters": "dr_perception.render",
    "TiedIntrinsics": "dr_perception.render",
    "fill_camera_poses": "dr_perception.render",
    "fill_poses": "dr_perception.render",
    "render": "dr_perception.render",
    "GraphMap": "dr_perception.render.maps",
    "JointMap": "dr_perception.render.maps",
    "SkinMap": "dr_perception.render.maps",
    "SplineMap": "dr_perception.render.maps",
    "antialias_jax": "dr_perception.render.jax_bridge",
    "antialias_torch": "dr_perception.render.torch_bridge",
    "render_jax": "dr_perception.render.jax_bridge",
    "render_torch": "dr_perception.render.torch_bridge",
    "ObjectState": "dr_perception.tracking",
    "Status": "dr_perception.tracking",
    "TrackResult": "dr_perception.tracking",
    "Tracker": "dr_perception.tracking",
    "TrackerConfig": "dr_perception.tracking",
    "MultiCameraTracker": "dr_perception.tracking.multi_camera",
}

__all__ = [
    "Block",
    "Camera",
    "CapturedRender",
    "Config",
    "EdgeSampler",
    "Finding",
    "FitConfig",
    "Frame",
    "FrameSource",
    "GraphMap",
    "ImageFit",
    "Images",
    "Instance",
    "Joint",
    "JointMap",
    "KinematicTree",
    "Lights",
    "Maps",
    "Material",
    "Mesh",
    "MultiCameraTracker",
    "ObjectModel",
    "ObjectState",
    "ParameterMap",
    "PoseEstimate",
    "Prior",
    "RayCaster",
    "RenderOptions",
    "Renderer",
    "Scene",
    "SceneParameters",
    "SensorConfig",
    "SkinMap",
    "SplineMap",
    "Status",
    "Symmetries",
    "TiedIntrinsics",
    "TrackResult",
    "Tracker",
    "TrackerConfig",
    "__version__",
    "adam",
    "antialias_jax",
    "antialias_torch",
    "fill_camera_poses",
    "fill_poses",
    "fit_pose",
    "lbfgs",
    "least_squares",
    "load_config",
    "load_model",
    "load_models",
    "open_sequence",
    "render",
    "render_jax",
    "render_torch",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

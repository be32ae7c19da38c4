"""Errors that a tracker may be told: of models, of the camera, of depth against colour, of the stream.

Each function returns what is told; nothing that it is given is changed. A model keeps its frame, so that the
true poses stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import face_areas, weld
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import interpolate, invert, transform_points
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

Array = NDArray[np.float64]
_FINER = 2
"""Points a pixel and axis of a reprojected depth: with one, surfaces that come nearer would get holes."""


def scaled(model: ObjectModel, factor: float) -> ObjectModel:
    """The model with all lengths multiplied, about the origin of its frame, its symmetries with it."""
    return _deformed(model, np.diag([factor] * 3), np.zeros(3))


def mirrored(model: ObjectModel, axis: int) -> ObjectModel:
    """The model reflected in the plane through its middle normal to an axis of its frame, faces outward."""
    middle = 0.5 * (model.mesh.vertices.min(axis=0) + model.mesh.vertices.max(axis=0))
    flip = np.diag([-1.0 if k == axis else 1.0 for k in range(3)])
    turned = _deformed(model, flip, middle)
    mesh = turned.mesh
    uv = None if mesh.corner_uv is None else mesh.corner_uv[:, ::-1]
    return replace(turned, mesh=replace(mesh, faces=mesh.faces[:, ::-1], corner_uv=uv))


def _deformed(model: ObjectModel, A: Array, fixed: Array) -> ObjectModel:
    """Vertices and symmetries under ``x -> fixed + A (x - fixed)``, ``A`` a multiple of an isometry."""
    symmetries, inverse = model.symmetries, np.linalg.inv(A)
    discrete = np.array(symmetries.discrete)
    # x' = f + A (x - f) turns S x = R x + t into R' = A R A^-1, t' = f + A (R f + t - f) - R' f.
    R = A @ discrete[:, :3, :3] @ inverse
    moved = discrete[:, :3, :3] @ fixed + discrete[:, :3, 3] - fixed
    discrete[:, :3, 3] = fixed + moved @ A.T - R @ fixed
    discrete[:, :3, :3] = R
    axes = tuple(
        ContinuousSymmetry(A @ s.axis, fixed + A @ (s.offset - fixed)) for s in symmetries.continuous
    )
    vertices = fixed + (model.mesh.vertices - fixed) @ A.T
    return replace(model, mesh=replace(model.mesh, vertices=vertices), symmetries=Symmetries(discrete, axes))


def cut(model: ObjectModel, share: float, seed: int) -> ObjectModel:
    """The model with that share of its surface: what lies on one side of a plane of random direction.

    Whole faces are kept, by the place of their middle. Symmetries stay as declared.
    """
    normal = np.random.default_rng(seed).standard_normal(3)
    height = model.mesh.vertices[model.mesh.faces].mean(axis=1) @ normal
    order = np.argsort(-height)
    area = np.cumsum(face_areas(model.mesh)[order])
    kept = np.sort(order[: max(int(np.searchsorted(area, share * area[-1])), 1)])
    mesh = model.mesh
    uv = None if mesh.corner_uv is None else mesh.corner_uv[kept]
    return replace(model, mesh=weld(replace(mesh, faces=mesh.faces[kept], corner_uv=uv)))


def with_depth(frame: Frame, depth_m: NDArray[np.floating]) -> Frame:
    """The frame with another depth image (H, W) in metres; 0 is no measurement."""
    return replace(frame, depth=depth_m.astype(np.float32), depth_scale_m=1.0)


def with_focal_length(frame: Frame, factor: float) -> Frame:
    """The frame with both focal lengths of its calibration multiplied; the images stay."""
    camera = frame.camera
    return replace(frame, camera=replace(camera, fx=factor * camera.fx, fy=factor * camera.fy))


def with_depth_error(frame: Frame, bias_m: float = 0.0, factor: float = 1.0) -> Frame:
    """The frame with every measured depth multiplied and then increased."""
    depth = frame.depth_m()
    return with_depth(frame, np.where(depth > 0.0, factor * depth + bias_m, 0.0))


def with_shifted_depth(frame: Frame, du: int, dv: int) -> Frame:
    """The frame with its depth image moved right and down by whole pixels; nothing comes in at the border."""
    depth = np.roll(frame.depth_m(), (dv, du), axis=(0, 1))
    depth[: max(dv, 0)] = depth[depth.shape[0] + min(dv, 0) :] = 0.0
    depth[:, : max(du, 0)] = depth[:, depth.shape[1] + min(du, 0) :] = 0.0
    return with_depth(frame, depth)


def unregistered(frame: Frame, baseline_m: float) -> Frame:
    """The frame with the depth image that a camera with the same calibration, that far to the right, takes.

    As of a sensor whose depth was not registered to its colours. What only the other camera sees is without
    measurement.
    """
    T = np.eye(4)
    T[0, 3] = -baseline_m
    depth = frame.depth_m()
    return with_depth(frame, reprojected(depth, frame.camera, np.zeros(depth.shape, int), [T]))


def late_depth(
    frame: Frame, masks: Sequence[NDArray[np.bool_]], moves: Sequence[Array], rest: Array, behind: Frame
) -> Frame:
    """The frame with the depth of a moment before, made from its own depth and the known motion.

    Depths of the pixels of each mask are moved rigidly, with their noise; so are all others with the rest.
    Where something uncovers what is behind it, the pixels take the depth of another frame in which none of
    the masks covers them, or none.

    Args:
        frame: The frame.
        masks: Pixels (H, W) of each moving object.
        moves: For each the transform (4, 4) of points in the camera now to points in the camera then.
        rest: The same for everything else: the motion of the camera.
        behind: A frame with depth that shows what is behind; 0 where it does not.
    """
    label = np.zeros((frame.camera.height, frame.camera.width), dtype=int)
    for k, mask in enumerate(masks, start=1):
        label[mask] = k
    depth = reprojected(frame.depth_m(), frame.camera, label, [rest, *moves])
    uncovered = (depth == 0.0) & (label > 0)
    return with_depth(frame, np.where(uncovered, behind.depth_m(), depth))


def motion_to_before(T_last: Array, T_now: Array, delay: float) -> Array:
    """Transform of points in the camera now to where they were ``delay`` frame periods before.

    ``T_last`` and ``T_now`` are poses (4, 4) of what moves, in the last and in this frame.
    """
    return interpolate(T_now, T_last, delay) @ invert(T_now)


def reprojected(
    depth_m: NDArray[np.floating], camera: Camera, label: NDArray[np.int_], transforms: Sequence[Array]
) -> NDArray[np.float32]:
    """Depth image after the points of each label (H, W) are moved by its transform; the nearest is seen."""
    height, width = depth_m.shape
    offsets = (np.arange(_FINER) + 0.5) / _FINER - 0.5
    found = np.full(height * width, np.inf)
    v, u = np.nonzero(depth_m > 0.0)
    z, which = depth_m[v, u].astype(np.float64), label[v, u]
    for dv in offsets:
        for du in offsets:
            ray = np.column_stack([(u + du - camera.cx) / camera.fx, (v + dv - camera.cy) / camera.fy])
            points = np.column_stack([ray * z[:, None], z])
            for k, T in enumerate(transforms):
                chosen = which == k
                _splat(found, transform_points(T, points[chosen]), camera)
    return np.where(np.isfinite(found), found, 0.0).reshape(height, width).astype(np.float32)


def _splat(found: Array, points: Array, camera: Camera) -> None:
    """Lower a flat depth image to the points that fall into its pixels."""
    z = points[:, 2]
    u = np.round(points[:, 0] / z * camera.fx + camera.cx).astype(int)
    v = np.round(points[:, 1] / z * camera.fy + camera.cy).astype(int)
    inside = (z > 0.0) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    np.minimum.at(found, v[inside] * camera.width + u[inside], z[inside])


def black(frames: Sequence[Frame], first: int, count: int) -> list[Frame]:
    """The frames with some of them all black and without any measured depth."""
    return [blank(frame) if first <= k < first + count else frame for k, frame in enumerate(frames)]


def blank(frame: Frame) -> Frame:
    """The frame with nothing in it."""
    color = None if frame.color is None else np.zeros_like(frame.color)
    return replace(frame, color=color, depth=None if frame.depth is None else np.zeros_like(frame.depth))


def frozen(frames: Sequence[Frame], first: int, count: int) -> list[Frame]:
    """The frames with the images of one repeated in those that follow it; stamps go on."""
    stale = frames[first - 1]
    return [
        replace(frame, color=stale.color, depth=stale.depth) if first <= k < first + count else frame
        for k, frame in enumerate(frames)
    ]


def with_unit(frame: Frame, factor: float) -> Frame:
    """The frame with the unit of its depth image multiplied."""
    return replace(frame, depth_scale_m=factor * frame.depth_scale_m)


def with_stamps_in(frame: Frame, unit_ns: int) -> Frame:
    """The frame with its stamp counted in another unit than nanoseconds."""
    return replace(frame, stamp_ns=frame.stamp_ns // unit_ns)

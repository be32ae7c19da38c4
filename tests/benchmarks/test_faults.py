from __future__ import annotations

from dataclasses import replace

import faults
import numpy as np
import pytest
from casting import cast_depth
from scipy.ndimage import binary_dilation, binary_erosion

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import Mesh, face_areas, face_normals
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import exp_so3, make_transform, transform_points
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

CAMERA = Camera(width=160, height=120, fx=150.0, fy=150.0, cx=79.5, cy=59.5)


def _box(sides: tuple[float, float, float] = (0.12, 0.08, 0.05), offset: float = 0.01) -> ObjectModel:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64) - 0.5
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], dtype=np.int32)
    middle = np.array([offset, 0.0, 0.0])
    half = exp_so3(np.array([0.0, np.pi, 0.0]))
    turn = make_transform(half, middle - half @ middle)
    symmetries = Symmetries(turn[None], (ContinuousSymmetry(np.array([0.0, 1.0, 0.0]), middle),))
    return ObjectModel("box", Mesh(corners * sides + middle, faces), symmetries)


def _frame(T: np.ndarray, wall_m: float = 0.0, stamp_ns: int = 0) -> tuple[Frame, np.ndarray]:
    """A box before a wall (0: before nothing), and the pixels that show it."""
    z = cast_depth(_box(), T, CAMERA).reshape(CAMERA.height, CAMERA.width)
    mask = np.isfinite(z)
    depth = np.where(mask, z, wall_m).astype(np.float32)
    color = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    return Frame(color, depth, CAMERA, stamp_ns), mask


def _pose(x: float = 0.0, z: float = 0.5) -> np.ndarray:
    return make_transform(exp_so3(np.array([0.4, 0.3, 0.1])), np.array([x, 0.0, z]))


def _is_symmetry(model: ObjectModel) -> bool:
    """Whether the discrete symmetries, and a half turn about the axis, map the corners to themselves."""
    turns = [*model.symmetries.discrete, *(a.turn(np.pi) for a in model.symmetries.continuous)]
    corners = np.round(model.mesh.vertices, 9)
    moved = [np.round(transform_points(S, corners), 9) for S in turns]
    return all({tuple(p + 0.0) for p in m} == {tuple(p + 0.0) for p in corners} for m in moved)


def test_scaled_mesh_has_scaled_diameter_and_its_symmetries() -> None:
    model = _box()
    assert _is_symmetry(model)
    larger = faults.scaled(model, 1.03)
    assert larger.diameter_m == pytest.approx(1.03 * model.diameter_m)
    np.testing.assert_allclose(larger.mesh.vertices, 1.03 * model.mesh.vertices)
    assert _is_symmetry(larger)


def test_mirrored_mesh_is_a_reflection_with_faces_outward() -> None:
    wedge = _box()
    vertices = np.array(wedge.mesh.vertices)
    vertices[0] += [0.01, 0.02, 0.0]
    model = replace(wedge, mesh=replace(wedge.mesh, vertices=vertices))
    other = faults.mirrored(model, 1)
    assert np.ptp(other.mesh.vertices, axis=0) == pytest.approx(np.ptp(vertices, axis=0))
    middle = 0.5 * (vertices[:, 1].min() + vertices[:, 1].max())
    np.testing.assert_allclose(other.mesh.vertices[:, 1], 2.0 * middle - vertices[:, 1])
    np.testing.assert_allclose(other.mesh.vertices[:, [0, 2]], vertices[:, [0, 2]])
    assert _volume(other.mesh) == pytest.approx(_volume(model.mesh))
    assert _is_symmetry(faults.mirrored(wedge, 0))


def _volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float(np.sum(np.einsum("ij,ij->i", a, np.cross(b, c)))) / 6.0


def test_mirrored_texture_stays_on_its_corners() -> None:
    model = _box()
    uv = np.random.default_rng(0).random((len(model.mesh.faces), 3, 2)).astype(np.float32)
    textured = replace(model.mesh, corner_uv=uv, texture=np.zeros((4, 4, 3), np.uint8))
    other = faults.mirrored(replace(model, mesh=textured), 1).mesh
    expected = _corners(textured.vertices * [1.0, -1.0, 1.0], textured.faces, uv)
    assert _corners(other.vertices, other.faces, other.corner_uv) == expected


def _corners(vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray | None) -> set[tuple[float, ...]]:
    """Places and texture coordinates of the corners of all faces."""
    assert uv is not None
    rows = np.concatenate([vertices[faces.ravel()], uv.reshape(-1, 2)], axis=1)
    return {tuple(row + 0.0) for row in np.round(rows, 6)}


@pytest.mark.parametrize("seed", [0, 1])
def test_cut_mesh_keeps_its_share_on_one_side_of_a_plane(seed: int) -> None:
    model = _sphere()
    part = faults.cut(model, 0.4, seed)
    share = face_areas(part.mesh).sum() / face_areas(model.mesh).sum()
    assert share == pytest.approx(0.4, abs=0.02)
    normal = np.random.default_rng(seed).standard_normal(3)
    kept = part.mesh.vertices[part.mesh.faces].mean(axis=1) @ normal
    everything = np.sort(model.mesh.vertices[model.mesh.faces].mean(axis=1) @ normal)
    np.testing.assert_allclose(np.sort(kept), everything[-len(kept) :])
    assert not np.array_equal(kept, part.mesh.vertices[part.mesh.faces].mean(axis=1) @ -normal)
    assert np.all(np.sum(face_normals(part.mesh) * part.mesh.vertices[part.mesh.faces[:, 0]], axis=1) > 0.0)


def _sphere() -> ObjectModel:
    import open3d as o3d

    mesh = o3d.geometry.TriangleMesh.create_sphere(0.05, resolution=20)
    return ObjectModel("sphere", Mesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles).astype(np.int32)))


def test_depth_errors_touch_measured_depths_alone() -> None:
    frame, mask = _frame(_pose())
    wrong = faults.with_depth_error(frame, bias_m=0.005, factor=1.02).depth_m()
    np.testing.assert_allclose(wrong[mask], 1.02 * frame.depth_m()[mask] + 0.005, rtol=1e-6)
    assert not wrong[~mask].any()


@pytest.mark.parametrize(("du", "dv"), [(2, 0), (0, 2), (-3, 1)])
def test_shifted_depth_is_shifted(du: int, dv: int) -> None:
    depth = np.linspace(0.5, 2.0, CAMERA.width * CAMERA.height, dtype=np.float32)
    frame = Frame(None, depth.reshape(CAMERA.height, CAMERA.width), CAMERA)
    shifted = faults.with_shifted_depth(frame, du, dv).depth_m()
    assert shifted[60 + dv, 80 + du] == frame.depth_m()[60, 80]
    assert np.sum(shifted == 0.0) == abs(du) * CAMERA.height + abs(dv) * (CAMERA.width - abs(du))


def test_unregistered_plane_is_shifted_by_its_disparity() -> None:
    z, baseline = 0.5, 0.02
    depth = np.zeros((CAMERA.height, CAMERA.width), np.float32)
    depth[40:60, 70:100] = z
    seen = faults.unregistered(Frame(None, depth, CAMERA), baseline).depth_m()
    disparity = round(CAMERA.fx * baseline / z)
    np.testing.assert_allclose(seen, np.roll(depth, -disparity, axis=1))


def test_late_depth_is_that_of_the_pose_before() -> None:
    T_last, T_now = _pose(-0.03, 0.5), _pose(0.01, 0.48)
    now, mask = _frame(T_now, wall_m=0.8)
    empty = replace(now, depth=np.full_like(now.depth_m(), 0.8))
    move = faults.motion_to_before(T_last, T_now, 0.45)
    late = faults.late_depth(now, [mask], [move], np.eye(4), empty).depth_m()
    then, mask_then = _frame(move @ T_now, wall_m=0.8)
    difference = np.abs(late - then.depth_m())
    # At the outline a pixel may show either; elsewhere a point lies within a pixel of the ray.
    inside, outside = binary_erosion(mask_then), ~binary_dilation(mask_then)
    assert np.percentile(difference[inside], 95.0) < 0.005 and np.median(difference[inside]) < 0.001
    assert difference[outside].max() < 1e-6
    assert np.sum(mask_then & ~mask) > 50


def test_motion_to_before_ends_at_the_last_pose() -> None:
    T_last, T_now = _pose(-0.03, 0.5), _pose(0.01, 0.48)
    np.testing.assert_allclose(faults.motion_to_before(T_last, T_now, 1.0) @ T_now, T_last, atol=1e-12)
    np.testing.assert_allclose(faults.motion_to_before(T_last, T_now, 0.0), np.eye(4), atol=1e-12)


def test_stream_errors() -> None:
    frames = [replace(_frame(_pose())[0], stamp_ns=k * 33_000_000) for k in range(6)]
    for k, frame in enumerate(faults.black(frames, 2, 3)):
        assert np.any(frame.depth_m()) == np.any(frame.color) == (k not in (2, 3, 4))
    stale = faults.frozen(frames, 2, 3)
    assert [frame.depth is frames[1].depth for frame in stale] == [False, True, True, True, True, False]
    assert [frame.stamp_ns for frame in stale] == [frame.stamp_ns for frame in frames]
    assert faults.with_stamps_in(frames[2], 1_000_000).stamp_ns == 66


def test_focal_length_and_unit() -> None:
    frame, _ = _frame(_pose())
    assert faults.with_focal_length(frame, 1.02).camera.fx == pytest.approx(1.02 * CAMERA.fx)
    np.testing.assert_allclose(faults.with_unit(frame, 0.1).depth_m(), 0.1 * frame.depth_m(), rtol=1e-6)

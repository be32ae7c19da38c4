"""The ray caster against closed forms and against Open3D."""

from __future__ import annotations

import numpy as np
import pytest
import ray_cases as shapes

from dr_perception.geometry.camera import Camera
from dr_perception.rays.caster import Background, Lighting, RayCaster

CAMERA = Camera(width=80, height=60, fx=100.0, fy=100.0, cx=39.5, cy=29.5)
WIDE = [
    Camera(80, 60, 60.0, 62.0, 38.0, 31.0, (-0.25, 0.08, 0.002, -0.001, -0.01), "plumb_bob"),
    Camera(
        80,
        60,
        60.0,
        62.0,
        38.0,
        31.0,
        (0.3, 0.1, 0.001, 0.002, 0.01, 0.35, 0.12, 0.02),
        "rational_polynomial",
    ),
    Camera(80, 60, 50.0, 51.0, 38.0, 31.0, (0.05, -0.01, 0.002, -0.0003), "equidistant"),
]


def test_front_face_of_a_cube_has_its_depth_and_area() -> None:
    images = RayCaster([shapes.cube(0.1)]).render(CAMERA, shapes.pose(z=0.55)[None], samples=16)
    assert images.silhouette.numpy().sum() == pytest.approx((0.1 * 100 / 0.5) ** 2, rel=0.02)
    assert images.depth.numpy()[0, 30, 40] == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(images.normal.numpy()[0, 30, 40], [0, 0, -1], atol=1e-6)
    assert images.instance.numpy()[0, 30, 40] == 0 and images.instance.numpy()[0, 0, 0] == -1


@pytest.mark.parametrize(
    "camera", [CAMERA, *WIDE], ids=lambda c: c.distortion_model if c.distortion else "pinhole"
)
def test_depth_equals_open3d_on_distorted_rays(camera: Camera) -> None:
    """Same hits and the same depth to 10 micrometres, away from the outline where rounding decides."""
    o3d = pytest.importorskip("open3d")
    mesh, T = shapes.sphere(0.05, 2), shapes.pose(0.01, -0.02, 0.2, (0.3, 0.2, 0.1))
    images = RayCaster([mesh]).render(camera, T[None])
    rays = camera.rays()
    directions = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1).astype(np.float32)
    scene = o3d.t.geometry.RaycastingScene()
    moved = (mesh.vertices @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
    scene.add_triangles(o3d.core.Tensor(moved), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    rows = np.concatenate([np.zeros_like(directions), directions], axis=-1)
    expected = scene.cast_rays(o3d.core.Tensor(rows))["t_hit"].numpy()
    depth = images.depth.numpy()[0]
    both = np.isfinite(expected) & (depth > 0)
    assert both.sum() > 300
    assert np.sum(np.isfinite(expected) != (depth > 0)) <= 1
    np.testing.assert_allclose(depth[both], expected[both], atol=1e-5)


def test_nearer_instances_hide_farther_ones() -> None:
    box = shapes.cube(0.1)
    caster = RayCaster([box, box])
    images = caster.render(CAMERA, np.stack([shapes.pose(z=0.8), shapes.pose(x=0.05, z=0.5)]))
    instance = images.instance.numpy()[0]
    assert instance[30, 55] == 1 and instance[30, 33] == 0
    assert len(caster.distinct_meshes) == 1


def test_views_are_independent() -> None:
    caster = RayCaster([shapes.cube(0.1)])
    poses = np.stack([shapes.pose(z=0.5), shapes.pose(z=0.7, w=(0.2, 0.4, 0.0))])[:, None]
    batch = caster.render(CAMERA, poses).depth.numpy()
    for view in range(2):
        np.testing.assert_array_equal(batch[view], caster.render(CAMERA, poses[view]).depth.numpy()[0])


def test_supersampling_converges_to_the_area_integral() -> None:
    """Every pattern gives the coverage of a tilted cube that a very fine grid gives."""
    caster = RayCaster([shapes.cube(0.1)])
    T = shapes.pose(z=0.5, w=(0.3, 0.5, 0.1))[None]
    fine = caster.render(CAMERA, T, samples=20 * 20).silhouette.numpy()
    errors = {}
    for pattern in ("grid", "stratified", "sobol", "random"):
        image = caster.render(CAMERA, T, samples=64, pattern=pattern, seed=5).silhouette.numpy()
        errors[pattern] = np.sqrt(np.mean((image - fine) ** 2))
    assert max(errors.values()) < 0.02
    assert errors["stratified"] < 0.8 * errors["random"] and errors["sobol"] < 0.8 * errors["random"]


def test_shadow_falls_where_light_is_blocked() -> None:
    """A small cube between a lamp at the camera's right and a wall darkens the wall to ambient."""
    wall, block = shapes.cube(1.0), shapes.cube(0.1)
    light = Lighting((0.1,) * 3, directions=[[1.0, 0.0, -1.0]], colors=[[1.0] * 3])
    poses = np.stack([shapes.pose(z=1.5), shapes.pose(x=0.1, z=0.9)])
    lit = RayCaster([wall, block], lighting=light).render(CAMERA, poses).color.numpy()[0, 30, 40]
    bright = RayCaster([wall], lighting=light).render(CAMERA, poses[:1]).color.numpy()[0, 30, 40]
    np.testing.assert_allclose(lit, 0.1, rtol=1e-4)
    np.testing.assert_allclose(bright, 0.1 + np.sqrt(0.5), rtol=1e-4)


def test_occlusion_between_points() -> None:
    caster = RayCaster([shapes.cube(0.1)])
    poses = shapes.pose(z=0.5)[None]
    starts = np.zeros((3, 3))
    ends = np.array([[0, 0, 1.0], [0.2, 0, 0.5], [0, 0, 0.45]])
    np.testing.assert_array_equal(caster.occluded(poses, starts, ends), [True, False, False])


def test_scene_looks_like_the_raster_renderer_draws_it() -> None:
    """Two objects, Lambertian, no shadows, through the same scene description: interior pixels agree."""
    from dr_perception.rays.scene import render_rays
    from dr_perception.render import Instance, Lights, Material, Renderer, Scene

    rough = {"crease_angle_rad": 0.0}
    items = [
        Instance(
            shapes.cube(0.1, (200, 120, 60)), shapes.pose(0.03, 0.0, 0.5, (0.4, 0.5, 0.1)), Material(**rough)
        ),
        Instance(
            shapes.cube(0.08),
            shapes.pose(-0.05, 0.02, 0.4, (0.1, 0.9, 0.3)),
            Material((0.2, 0.7, 0.4), **rough),
        ),
    ]
    scene = Scene(items, Lights((0.2, 0.3, 0.4), [[0.2, -0.5, -0.9]], [[0.7, 0.6, 0.5]]), (0.1, 0.0, 0.2))
    T_world_cam = shapes.pose(0.01, 0.0, -0.1, (0.02, 0.03, 0.1))
    rays = render_rays(scene, CAMERA, T_world_cam, samples=16, shadows=False)
    renderer = Renderer()
    raster = renderer.render(scene, renderer.parameters(scene, CAMERA, T_world_cam))
    for name, tolerance in (("depth", 1e-4), ("silhouette", 0.02), ("color", 0.02), ("normal", 0.05)):
        a, b = getattr(rays, name).numpy(), getattr(raster, name).numpy()
        difference = np.abs(a - b).reshape(60, 80, -1).max(axis=-1)
        assert np.percentile(difference, 85) < tolerance, name
    assert np.mean(rays.instance.numpy() != raster.instance.numpy()) < 0.01


def test_free_rays_report_distance_and_instance() -> None:
    caster = RayCaster([shapes.cube(0.1)])
    instance, face, t = caster.cast(shapes.pose(z=0.5)[None], np.zeros((2, 3)), [[0, 0, 2.0], [0, 1, 0]])
    assert instance.tolist() == [0, -1] and face[1] == -1
    assert t[0] == pytest.approx(0.45, abs=1e-6)


def test_background_is_seen_where_nothing_is_hit() -> None:
    caster = RayCaster([shapes.cube(0.1)], background=Background(2.0, (0.1, 0.2, 0.3)))
    behind = caster.render(CAMERA, shapes.pose(z=-1.0)[None])
    assert not behind.silhouette.numpy().any()
    np.testing.assert_allclose(behind.depth.numpy(), 2.0)
    np.testing.assert_allclose(behind.color.numpy()[0, 0, 0], [0.1, 0.2, 0.3], rtol=1e-6)


def test_moved_vertices_are_seen() -> None:
    mesh = shapes.cube(0.1)
    caster = RayCaster([mesh])
    caster.set_vertices(mesh.vertices * 2.0)
    assert caster.render(CAMERA, shapes.pose(z=0.6)[None]).depth.numpy()[0, 30, 40] == pytest.approx(
        0.5, abs=1e-6
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: RayCaster([]), "at least one mesh"),
        (lambda c: c.render(CAMERA, np.eye(4)), "expected shape"),
        (lambda c: c.render(CAMERA, 2.0 * np.eye(4)[None]), "T_cam_inst"),
        (lambda c: c.render(CAMERA, np.eye(4)[None], pattern="hexagons"), "hexagons"),
        (lambda c: c.render(CAMERA, np.eye(4)[None], samples=3), "square number"),
        (lambda c: c.cast(np.eye(4)[None], np.zeros((1, 3)), np.zeros((1, 3))), "non-zero"),
        (lambda c: c.occluded(np.eye(4)[None], [[np.nan, 0, 0]], [[0, 0, 1]]), "finite"),
        (lambda c: c.set_vertices(np.zeros((3, 3))), "8 vertices"),
    ],
)
def test_bad_input_is_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(RayCaster([shapes.cube(0.1)]))

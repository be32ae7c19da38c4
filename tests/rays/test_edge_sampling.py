"""Edge sampling against central differences of finely supersampled images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ray_cases as shapes

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.se3 import retract
from dr_perception.rays.caster import Background, Lighting, RayCaster
from dr_perception.rays.edge_sampling import EdgeSampler, SamplingConfig
from dr_perception.render import Instance, RenderOptions, Scene, render

CAMERA = Camera(width=48, height=36, fx=60.0, fy=60.0, cx=23.5, cy=17.5)
LENSES = {
    "pinhole": CAMERA,
    "plumb_bob": Camera(48, 36, 60.0, 58.0, 23.0, 18.0, (-0.2, 0.05, 0.002, -0.003, 0.01), "plumb_bob"),
    "rational": Camera(
        48, 36, 60.0, 58.0, 23.0, 18.0, (0.2, 0.1, 0.001, 0.002, 0.01, 0.3, 0.1, 0.02), "rational_polynomial"
    ),
    "equidistant": Camera(48, 36, 50.0, 52.0, 23.0, 18.0, (0.05, -0.01, 0.002, -0.0003), "equidistant"),
}
FINE = 16 * 16
STEP_PX = 0.25  # long against the grid of fine samples, short against the smoothness of the adjoints


def _adjoint(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth random weights of an image, so that no single pixel decides."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=shape)
    return gaussian_filter(noise, [0, 2.0, 2.0, 0][: len(shape)]).astype(np.float32)


def _functional(caster, camera, poses, adjoints) -> float:
    images = caster.render(camera, poses, samples=FINE, pattern="stratified", seed=12)
    return sum(float(np.sum(getattr(images, n).numpy().astype(float) * g)) for n, g in adjoints.items())


def _pose_differences(caster, camera, poses, adjoints, instance: int) -> np.ndarray:
    out = np.zeros(6)
    for i, step in enumerate([1.6e-3] * 3 + [2.4e-2] * 3):
        sides = []
        for sign in (1, -1):
            moved = poses.copy()
            moved[instance] = retract(poses[instance], sign * step * np.eye(6)[i])
            sides.append(_functional(caster, camera, moved, adjoints))
        out[i] = (sides[0] - sides[1]) / (2 * step)
    return out


@pytest.mark.parametrize("image", ["depth", "silhouette", "color"])
def test_pose_gradient_equals_central_differences(image: str) -> None:
    """Two objects, one partly behind the other: error below 3 % of the gradient's length, in scaled units."""
    light = Lighting((0.3,) * 3, [[0.3, -0.5, -1.0]], [[0.7, 0.6, 0.5]], shadows=False)
    caster = RayCaster([shapes.cube(0.1), shapes.sphere(0.05, 2)], lighting=light, background=Background(0.8))
    poses = np.stack([shapes.pose(0.02, 0.0, 0.5, (0.4, 0.5, 0.1)), shapes.pose(-0.03, 0.01, 0.4)])
    adjoints = {image: _adjoint(1, (1, 36, 48, 3) if image == "color" else (1, 36, 48))}
    config = SamplingConfig(pixel_samples=16, edge_samples=1 << 13)
    gradient = EdgeSampler(caster, config).gradient(CAMERA, poses, adjoints).poses[0]
    scale = np.array([1.0] * 3 + [0.05] * 3)  # radians act at a lever of about 5 cm
    for k in range(2):
        expected = _pose_differences(caster, CAMERA, poses, adjoints, k)
        error = np.linalg.norm((gradient[k] - expected) / scale) / np.linalg.norm(expected / scale)
        assert error < 0.03, (gradient[k], expected)


def _raster_functional(mesh, T, camera, adjoints) -> float:
    """The same functional of images that the raster renderer draws 16 times larger, with outlines integrated.

    Point samples are too noisy: 24 x 24 a pixel leave their differences 6 % off in cx of the rational lens.
    """
    s = 16
    center = {c: (getattr(camera, c) + 0.5) * s - 0.5 for c in ("cx", "cy")}
    size = {f: getattr(camera, f) * s for f in ("width", "height", "fx", "fy")}
    options = RenderOptions(channels=("depth", "silhouette"), antialias_depth=True, far_depth=0.5)
    large = replace(camera, **size, **center)
    images = render(Scene([Instance(mesh, T)]), large, options=options, device="cpu")
    total = 0.0
    for name, adjoint in adjoints.items():
        fine = getattr(images, name).numpy()[0]
        coarse = fine.reshape(camera.height, s, camera.width, s).mean((1, 3), dtype=float)
        total += float((coarse * adjoint[0]).sum())
    return total


@pytest.mark.parametrize("name", LENSES)
def test_intrinsics_gradient_equals_central_differences(name: str) -> None:
    """Every intrinsic of all models, within 3 %."""
    camera = LENSES[name]
    mesh, T = shapes.sphere(0.05, 2), shapes.pose(0.03, -0.02, 0.2)
    adjoints = {"depth": _adjoint(2, (1, 36, 48)), "silhouette": _adjoint(3, (1, 36, 48))}
    config = SamplingConfig(pixel_samples=16, edge_samples=1 << 13)
    sampler = EdgeSampler(RayCaster([mesh], background=Background(0.5)), config)
    gradient = sampler.gradient(camera, T[None], adjoints).cameras[0]
    fields = ["fx", "fy", "cx", "cy", *range(len(camera.distortion))]
    p_cam = mesh.vertices + T[:3, 3]
    expected, scale = np.zeros(len(fields)), np.zeros(len(fields))
    for row, field in enumerate(fields):
        motion = np.abs(_moved(camera, field, 1e-3).project(p_cam) - camera.project(p_cam)).max() / 1e-3
        scale[row] = min(STEP_PX / motion, 1.0 if isinstance(field, str) else 0.3)
        step = 0.2 * scale[row]
        sides = [_raster_functional(mesh, T, _moved(camera, field, h), adjoints) for h in (step, -step)]
        expected[row] = (sides[0] - sides[1]) / (2 * step)
    got = np.array([gradient[r if isinstance(f, str) else 4 + f] for r, f in enumerate(fields)])
    error = np.abs(got - expected) * scale
    assert error.max() < 0.03 * np.linalg.norm(expected * scale), (got * scale, expected * scale)


def _moved(camera: Camera, field: str | int, step: float) -> Camera:
    """The camera with one parameter changed."""
    values = {f: getattr(camera, f) for f in ("width", "height", "fx", "fy", "cx", "cy", "distortion")}
    if isinstance(field, str):
        values[field] += step
    else:
        values["distortion"] = tuple(c + step * (i == field) for i, c in enumerate(camera.distortion))
    return Camera(**values, distortion_model=camera.distortion_model)


def test_vertex_gradient_equals_central_differences() -> None:
    mesh = shapes.cube(0.1)
    caster = RayCaster([mesh], background=Background(0.8))
    poses = shapes.pose(0.0, 0.0, 0.4, (0.4, 0.5, 0.1))[None]
    adjoints = {"depth": _adjoint(4, (1, 36, 48))}
    config = SamplingConfig(pixel_samples=16, edge_samples=1 << 13)
    gradient = EdgeSampler(caster, config).gradient(CAMERA, poses, adjoints).vertices
    direction = np.random.default_rng(5).normal(size=gradient.shape)
    step, sides = 7e-4, []
    for sign in (1, -1):
        moved = RayCaster(
            [Mesh(mesh.vertices + sign * step * direction, mesh.faces)], background=Background(0.8)
        )
        sides.append(_functional(moved, CAMERA, poses, adjoints))
    expected = (sides[0] - sides[1]) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(
        expected, abs=0.02 * float(np.linalg.norm(gradient)) * 2
    )


def test_silhouette_has_no_interior_derivative_and_a_hidden_object_none_at_all() -> None:
    big, small = shapes.cube(0.2), shapes.cube(0.05)
    caster = RayCaster([big, small])
    poses = np.stack([shapes.pose(z=0.6), shapes.pose(z=1.0, w=(0.3, 0.2, 0.1))])
    adjoints = {"silhouette": _adjoint(6, (1, 36, 48)), "depth": _adjoint(7, (1, 36, 48))}
    sampler = EdgeSampler(caster)
    assert np.abs(sampler.gradient(CAMERA, poses, adjoints).poses[0, 1]).max() < 1e-3
    interior, boundary = sampler.gradient_terms(CAMERA, poses, {"silhouette": adjoints["silhouette"]})
    assert not interior.poses.any() and np.abs(boundary.poses).max() > 1.0


def test_mean_over_seeds_does_not_depend_on_the_number_of_samples() -> None:
    """Unbiased: many small estimates average to one large estimate, within the standard error."""
    caster = RayCaster([shapes.cube(0.1)])
    poses = shapes.pose(0.0, 0.0, 0.4, (0.4, 0.5, 0.1))[None]
    adjoints = {"silhouette": _adjoint(8, (1, 36, 48))}
    small = EdgeSampler(caster, SamplingConfig(1, edge_samples=32, edge_pattern="random"))
    runs = np.stack([small.gradient(CAMERA, poses, adjoints, seed=s).poses[0, 0] for s in range(100)])
    large = (
        EdgeSampler(caster, SamplingConfig(1, edge_samples=1 << 14))
        .gradient(CAMERA, poses, adjoints)
        .poses[0, 0]
    )
    error = np.abs(runs.mean(axis=0) - large) / (runs.std(axis=0, ddof=1) / np.sqrt(len(runs)))
    assert np.all(error < 4.0)


def test_even_patterns_have_less_variance_than_random_samples() -> None:
    caster = RayCaster([shapes.cube(0.1)])
    poses = shapes.pose(0.0, 0.0, 0.4, (0.4, 0.5, 0.1))[None]
    adjoints = {"silhouette": _adjoint(9, (1, 36, 48))}
    variance = {}
    for pattern in ("random", "stratified", "antithetic", "low_discrepancy"):
        sampler = EdgeSampler(caster, SamplingConfig(1, edge_samples=256, edge_pattern=pattern))
        variance[pattern] = sampler.variance_per_sample(CAMERA, poses, adjoints, replicates=24).sum()
    for pattern in ("stratified", "antithetic", "low_discrepancy"):
        assert variance[pattern] < 0.1 * variance["random"], variance


def test_a_flat_ball_over_a_plane_has_the_jumps_of_its_creases() -> None:
    """Colours of flat faces jump at every crease: outlines alone miss a third of how the image changes."""
    plane = Mesh(
        np.array([[-0.3, 0, -0.3], [0.3, 0, -0.3], [0.3, 0, 0.3], [-0.3, 0, 0.3]]),
        np.array([[0, 1, 2], [0, 2, 3]]),
    )
    light = Lighting((0.3,) * 3, [[0.3, -0.8, -0.5]], [[0.7, 0.6, 0.5]], shadows=False)
    caster = RayCaster([shapes.sphere(0.05, 2), plane], lighting=light, background=Background(0.8))
    poses = np.stack([shapes.pose(z=0.3), shapes.pose(0.0, 0.06, 0.3, (0.3, 0.0, 0.0))])
    adjoints = {"color": _adjoint(3, (1, 36, 48, 3))}
    expected = _pose_differences(caster, CAMERA, poses, adjoints, 0)[:3]
    errors = {}
    for all_edges in (None, False):
        config = SamplingConfig(pixel_samples=4, edge_samples=1 << 17, all_edges=all_edges)
        found = EdgeSampler(caster, config).gradient(CAMERA, poses, adjoints).poses[0, 0, :3]
        errors[all_edges] = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert errors[None] < 0.03 and errors[False] > 0.1, errors


def test_colours_under_shadows_are_refused() -> None:
    light = Lighting((0.2,) * 3, [(0.3, -0.5, -0.8)], [(0.7,) * 3])
    sampler = EdgeSampler(RayCaster([shapes.cube(0.1)], lighting=light))
    poses = shapes.pose()[None]
    with pytest.raises(ValueError, match="colours under shadows have no gradient"):
        sampler.gradient(CAMERA, poses, {"color": np.zeros((1, 36, 48, 3))})
    sampler.gradient(CAMERA, poses, {"depth": np.zeros((1, 36, 48))})
    unlit = EdgeSampler(RayCaster([shapes.cube(0.1)]))
    unlit.gradient(CAMERA, poses, {"color": np.zeros((1, 36, 48, 3))})


def test_bad_adjoints_are_named() -> None:
    sampler = EdgeSampler(RayCaster([shapes.cube(0.1)]))
    poses = shapes.pose()[None]
    with pytest.raises(ValueError, match="'heat'"):
        sampler.gradient(CAMERA, poses, {"heat": np.zeros((1, 36, 48))})
    with pytest.raises(ValueError, match=r"\(1, 36, 48\)"):
        sampler.gradient(CAMERA, poses, {"depth": np.zeros((36, 48))})
    with pytest.raises(ValueError, match="at least one"):
        sampler.gradient(CAMERA, poses, {})


@pytest.mark.parametrize("image", ["silhouette", "color", "normal"])
def test_a_mesh_may_be_written_in_any_way(image: str) -> None:
    """Split vertices, repeated faces and lines leave images as they are, and gradients up to their noise."""
    mesh = shapes.sphere(0.05, 2)
    soup = mesh.vertices[mesh.faces].reshape(-1, 3)
    faces = np.arange(len(soup)).reshape(-1, 3)
    other = Mesh(np.vstack([soup, [[9.0, 9.0, 9.0]]]), np.vstack([faces, faces[:7, ::-1], [[0, 1, 1]]]))
    T = shapes.pose(0.01, 0.005, 0.35, (0.3, 0.2, 0.1))[None]
    weights = np.outer(np.sin(np.arange(CAMERA.height) / 5.0), np.cos(np.arange(CAMERA.width) / 7.0))[None]
    adjoint = weights if image == "silhouette" else np.repeat(weights[..., None], 3, axis=-1)
    found = []
    for drawn in (mesh, other):
        light = Lighting((0.2,) * 3, [(0.3, -0.5, -0.8)], [(0.7,) * 3], shadows=False)
        caster = RayCaster([drawn], smooth=True, lighting=light)
        found.append(
            (
                caster.render(CAMERA, T).color.numpy(),
                EdgeSampler(caster).gradient(CAMERA, T, {image: adjoint}),
            )
        )
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-5)
    scale = np.linalg.norm(found[0][1].poses)
    assert np.linalg.norm(found[1][1].poses - found[0][1].poses) < 0.02 * scale
    assert np.linalg.norm(found[1][1].vertices.sum(axis=0) - found[0][1].vertices.sum(axis=0)) < 0.02 * scale

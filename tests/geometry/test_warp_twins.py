"""The Warp functions against their NumPy twins, values and derivatives."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import warp as wp

from dr_perception.geometry import Camera, camera_warp, se3, se3_warp
from dr_perception.geometry.camera_warp import CameraParams, camera_params, mat23, vec8

N = 40


@wp.kernel
def camera_kernel(
    cams: wp.array(dtype=CameraParams),
    p: wp.array(dtype=wp.vec3),
    # output
    uv: wp.array(dtype=wp.vec2),
    J: wp.array(dtype=mat23),
    rays: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    uv[i] = camera_warp.project(cams[0], p[i])
    J[i] = camera_warp.project_jacobian(cams[0], p[i])
    rays[i] = camera_warp.ray(cams[0], uv[i])


@wp.kernel
def ray_kernel(
    cams: wp.array(dtype=CameraParams),
    uv: wp.array(dtype=wp.vec2),
    weights: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=float),
):
    i = wp.tid()
    wp.atomic_add(out, 0, wp.dot(weights[i], camera_warp.ray(cams[0], uv[i])))


@wp.kernel
def project_kernel(
    cams: wp.array(dtype=CameraParams),
    p: wp.array(dtype=wp.vec3),
    weights: wp.array(dtype=wp.vec2),
    out: wp.array(dtype=float),
):
    i = wp.tid()
    wp.atomic_add(out, 0, wp.dot(weights[i], camera_warp.project(cams[0], p[i])))


@wp.kernel
def rotation_kernel(
    w: wp.array(dtype=wp.vec3),
    R: wp.array(dtype=wp.mat33),
    # output
    hats: wp.array(dtype=wp.mat33),
    exps: wp.array(dtype=wp.mat33),
    moved: wp.array(dtype=wp.mat33),
    t: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    hats[i] = se3_warp.hat(w[i])
    exps[i] = se3_warp.exp_so3(w[i])
    moved[i] = se3_warp.retract_rotation(w[i], R[i])
    t[i] = se3_warp.retract_translation(w[i], w[i])


@pytest.fixture
def points(camera: Camera, rng: np.random.Generator) -> np.ndarray:
    uv = rng.uniform((0, 0), (camera.width, camera.height), (N, 2))
    uv[0] = camera.cx, camera.cy  # the optical axis, where the fisheye formulas take their limits
    uv[1] = camera.cx + 0.01, camera.cy
    return camera.unproject(uv, rng.uniform(0.3, 2.0, N))


def parameters_with_gradient(camera: Camera) -> wp.array:
    return wp.array([camera_params(camera)], dtype=CameraParams, requires_grad=True)


def test_camera_functions_agree_with_numpy(camera: Camera, points: np.ndarray) -> None:
    uv, rays = wp.empty(N, dtype=wp.vec2), wp.empty(N, dtype=wp.vec3)
    J = wp.empty(N, dtype=mat23)
    inputs = [wp.array([camera_params(camera)], dtype=CameraParams), wp.array(points, dtype=wp.vec3)]
    wp.launch(camera_kernel, N, inputs=inputs, outputs=[uv, J, rays])
    np.testing.assert_allclose(uv.numpy(), camera.project(points), atol=2e-4)
    np.testing.assert_allclose(J.numpy(), camera.project_jacobian(points), rtol=2e-5, atol=2e-3)
    np.testing.assert_allclose(rays.numpy(), points / points[:, 2:], atol=2e-6)


def numeric_gradient(camera: Camera, value: Callable[[Camera], float]) -> np.ndarray:
    """Central differences with respect to fx, fy, cx, cy and the coefficients."""

    def slope(changed: Callable[[float], Camera], h: float) -> float:
        return (value(changed(h)) - value(changed(-h))) / (2 * h)

    def with_coefficient(i: int) -> Callable[[float], Camera]:
        return lambda h: dataclasses.replace(
            camera, distortion=tuple(k + h * (j == i) for j, k in enumerate(camera.distortion))
        )

    intrinsics = [
        slope(lambda h, n=name: dataclasses.replace(camera, **{n: getattr(camera, n) + h}), 1e-3)
        for name in ("fx", "fy", "cx", "cy")
    ]
    return np.array(intrinsics + [slope(with_coefficient(i), 1e-5) for i in range(len(camera.distortion))])


def struct_gradient(cams: wp.array, count: int) -> np.ndarray:
    row = cams.grad.numpy()[0]
    return np.array([row["fx"], row["fy"], row["cx"], row["cy"], *row["k"][:count]])


def test_tape_differentiates_projection_by_point_and_camera(
    camera: Camera, points: np.ndarray, rng: np.random.Generator
) -> None:
    weights = rng.standard_normal((N, 2))
    cams, p = parameters_with_gradient(camera), wp.array(points, dtype=wp.vec3, requires_grad=True)
    out = wp.zeros(1, requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(project_kernel, N, inputs=[cams, p, wp.array(weights, dtype=wp.vec2)], outputs=[out])
    tape.backward(out)
    expected = np.einsum("nij,ni->nj", camera.project_jacobian(points), weights)
    np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-4, atol=1e-2)
    numeric = numeric_gradient(camera, lambda c: float(np.sum(weights * c.project(points))))
    np.testing.assert_allclose(struct_gradient(cams, len(camera.distortion)), numeric, rtol=2e-4, atol=2e-3)


def test_tape_differentiates_rays_by_pixel_and_camera(
    camera: Camera, points: np.ndarray, rng: np.random.Generator
) -> None:
    weights = rng.standard_normal((N, 3))
    pixels = camera.project(points)
    cams, uv = parameters_with_gradient(camera), wp.array(pixels, dtype=wp.vec2, requires_grad=True)
    out = wp.zeros(1, requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(ray_kernel, N, inputs=[cams, uv, wp.array(weights, dtype=wp.vec3)], outputs=[out])
    tape.backward(out)
    h = 1e-4
    steps = [np.array([h, 0.0]), np.array([0.0, h])]
    slopes = [
        (camera.unproject(pixels + s, 1.0) - camera.unproject(pixels - s, 1.0)) / (2 * h) for s in steps
    ]
    expected = np.stack([np.sum(weights * slope, axis=1) for slope in slopes], axis=1)
    np.testing.assert_allclose(uv.grad.numpy(), expected, rtol=1e-3, atol=1e-7)
    numeric = numeric_gradient(camera, lambda c: float(np.sum(weights * c.unproject(pixels, 1.0))))
    scale = np.max(np.abs(numeric))
    np.testing.assert_allclose(
        struct_gradient(cams, len(camera.distortion)), numeric, rtol=1e-3, atol=1e-5 * scale
    )


def test_parameters_keep_the_model_of_zero_coefficients() -> None:
    params = camera_params(Camera(640, 480, 600, 600, 320, 240, (0.0,) * 4))
    assert params.model == camera_warp.MODEL_BROWN
    assert camera_params(Camera(640, 480, 600, 600, 320, 240)).model == camera_warp.MODEL_PINHOLE
    assert params.k == vec8()


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.0999, 0.1001, 1.0, np.pi - 1e-3, np.pi])
def test_rotation_functions_agree_with_numpy(angle: float, rng: np.random.Generator) -> None:
    w = rng.standard_normal((N, 3))
    w *= angle / np.linalg.norm(w, axis=1, keepdims=True)
    R = np.array([se3.random_rotation(rng) for _ in range(N)])
    hats, exps, moved = (wp.empty(N, dtype=wp.mat33) for _ in range(3))
    t = wp.empty(N, dtype=wp.vec3)
    inputs = [wp.array(w, dtype=wp.vec3), wp.array(R, dtype=wp.mat33)]
    wp.launch(rotation_kernel, N, inputs=inputs, outputs=[hats, exps, moved, t])
    np.testing.assert_allclose(hats.numpy(), se3.hat(w), atol=1e-6)
    np.testing.assert_allclose(exps.numpy(), se3.exp_so3(w), atol=1e-6)
    np.testing.assert_allclose(moved.numpy(), se3.exp_so3(w) @ R, atol=1e-6)
    np.testing.assert_allclose(t.numpy(), 2 * w, rtol=1e-6)


def test_rotation_is_differentiable_at_zero(rng: np.random.Generator) -> None:
    w = wp.zeros(1, dtype=wp.vec3, requires_grad=True)
    R = wp.array(se3.random_rotation(rng)[None], dtype=wp.mat33)
    outputs = [wp.zeros(1, dtype=wp.mat33, requires_grad=True) for _ in range(3)]
    outputs.append(wp.zeros(1, dtype=wp.vec3, requires_grad=True))
    with wp.Tape() as tape:
        wp.launch(rotation_kernel, 1, inputs=[w, R], outputs=outputs)
    weights = rng.standard_normal((3, 3))
    tape.backward(grads={outputs[2]: wp.array(weights[None], dtype=wp.mat33)})
    expected = [np.sum(weights * (se3.hat(e) @ R.numpy()[0])) for e in np.eye(3)]
    np.testing.assert_allclose(w.grad.numpy()[0], expected, rtol=1e-5, atol=1e-6)

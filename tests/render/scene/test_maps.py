"""Unknowns in front of the renderer: what they make is drawn, and gradients come back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import warp as wp
from render_cases import CAMERA, box, pose

from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.se3 import exp_so3, retract
from dr_perception.losses import L2, Objective, Term
from dr_perception.render import (
    Instance,
    Maps,
    Renderer,
    RenderOptions,
    Scene,
    TiedIntrinsics,
    fill_camera_poses,
    fill_poses,
)
from dr_perception.render.scene.maps import check_map

SCENE = Scene([Instance(box(), pose())])
OPTIONS = RenderOptions(channels=("color", "silhouette"))


@wp.kernel
def _spin(angle: wp.array[float], R: wp.array2d[wp.mat33], t: wp.array2d[wp.vec3]):
    h, i = wp.tid()
    a = angle[0]
    R[h, i] = wp.mat33(wp.cos(a), 0.0, wp.sin(a), 0.0, 1.0, 0.0, -wp.sin(a), 0.0, wp.cos(a))
    t[h, i] = wp.vec3(0.02 * wp.sin(a), 0.01, 0.5)


class Spin:
    """An angle that turns and moves the instance, by a kernel that Warp differentiates."""

    fills = ("pose",)

    def __init__(self, angle: float) -> None:
        self.theta = {"angle": wp.array([angle], dtype=float, requires_grad=True)}
        self._R = wp.zeros((1, 1), dtype=wp.mat33, requires_grad=True)
        self._t = wp.zeros((1, 1), dtype=wp.vec3, requires_grad=True)

    def fill(self, parameters) -> None:
        self._R.grad.zero_()
        self._t.grad.zero_()
        wp.launch(_spin, (1, 1), [self.theta["angle"]], [self._R, self._t])
        fill_poses(parameters, self._R, self._t)


@wp.kernel
def _stretch(factor: wp.array[float], rest: wp.array[wp.vec3], out: wp.array[wp.vec3]):
    i = wp.tid()
    out[i] = factor[0] * rest[i]


class Stretch:
    """A size: a map of one launch."""

    fills = ("vertices",)

    def __init__(self, rest: wp.array, factor: float) -> None:
        self._rest = wp.clone(rest, requires_grad=False)
        self.theta = {"size": wp.array([factor], dtype=float, requires_grad=True)}

    def fill(self, parameters) -> None:
        wp.launch(_stretch, len(self._rest), [self.theta["size"], self._rest], [parameters.vertices])


def _objective() -> Objective:
    return Objective({"c": Term(L2(), "color"), "s": Term(L2(), "silhouette")})


def _fit(front: Any, names: tuple[str, ...], **arguments: Any) -> ImageFit:
    renderer = Renderer()
    parameters = renderer.parameters(SCENE, CAMERA, requires_grad=names)
    moved = renderer.parameters(SCENE, CAMERA, poses=pose(0.4, (0.2, 0.5, 0.1), 0.02, -0.01)[None, None])
    references = Renderer().render(SCENE, moved, OPTIONS)
    front = front(parameters) if isinstance(front, type(lambda: 0)) else front
    return ImageFit(
        renderer, SCENE, parameters, _objective(), references, options=OPTIONS, front=front, **arguments
    )


def _difference(fit: ImageFit, name: str, values: np.ndarray, step: float) -> np.ndarray:
    """Central differences of the value over one block of numbers."""
    out = np.zeros(values.size)
    for k in range(values.size):
        moved = [values.copy().ravel() for _ in range(2)]
        moved[0][k] += step
        moved[1][k] -= step
        up, down = (fit({name: m.reshape(values.shape)})[0] for m in moved)
        out[k] = (up - down) / (2.0 * step)
    return out.reshape(values.shape)


def test_an_angle_of_the_users_own_gets_its_gradient() -> None:
    fit = _fit(Spin(0.4), ("pose",))
    assert fit.names == ["angle"]
    angle = np.array([0.4])
    found = fit({"angle": angle})[1]["angle"]
    expected = _difference(fit, "angle", angle, 0.002)
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_a_turn_by_half_a_circle_is_as_good_as_any() -> None:
    """Poses pass as matrices: no chart of rotations is singular anywhere."""
    fit = _fit(Spin(np.pi), ("pose",))
    found = fit({"angle": np.array([np.pi])})[1]["angle"]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, _difference(fit, "angle", np.array([np.pi]), 0.002), rtol=0.01)


def test_several_maps_act_together_and_the_rest_stays_a_parameter() -> None:
    def front(p):
        return Maps(Stretch(p.vertices, 1.0), TiedIntrinsics(p.intrinsics.numpy()[0]))

    fit = _fit(front, ("vertices", "intrinsics", "albedo"))
    assert fit.names == ["albedo", "lens", "size"]
    value, gradients = fit({})
    assert gradients["lens"].shape == (12,) and gradients["albedo"].shape == (1, 3)
    size = np.array([1.0])
    np.testing.assert_allclose(gradients["size"], _difference(fit, "size", size, 0.002), rtol=0.03)
    lens = fit.block("lens").start
    fit({"size": size})
    focal = gradients["lens"][:2]
    step = np.zeros(12)
    step[0] = 0.5
    slope = (fit({"lens": lens + step})[0] - fit({"lens": lens - step})[0]) / 1.0
    np.testing.assert_allclose(focal[0], slope, rtol=0.01)
    assert fit({"lens": lens})[0] == pytest.approx(value)


def test_a_lens_that_is_tied_has_the_sum_of_the_gradients_of_all_cameras() -> None:
    renderer = Renderer()
    cameras = [CAMERA, CAMERA, CAMERA]
    p = renderer.parameters(SCENE, cameras, requires_grad=("intrinsics",))
    front = TiedIntrinsics(p.intrinsics.numpy()[0])
    check_map(front, p)
    with wp.Tape() as tape:
        front.fill(p)
        images = renderer.render(SCENE, p, RenderOptions(channels=("depth", "silhouette")))
    g = wp.array(np.random.default_rng(1).normal(size=images.silhouette.shape).astype(np.float32))
    tape.backward(grads={images.silhouette: g})
    p.zero_grad()
    with wp.Tape() as alone:
        images = renderer.render(SCENE, p, RenderOptions(channels=("depth", "silhouette")))
    alone.backward(grads={images.silhouette: g})
    every = p.intrinsics.grad.numpy()
    np.testing.assert_allclose(front.theta["lens"].grad.numpy(), every.sum(0), rtol=1e-4)
    assert np.abs(every).max(axis=1).min() > 0


def test_the_gradient_of_a_matrix_says_the_same_of_every_turn_as_that_of_its_tangent() -> None:
    rng = np.random.default_rng(2)
    renderer = Renderer()
    p = renderer.parameters(SCENE, [CAMERA, CAMERA], requires_grad=("camera_pose",))
    T = retract(np.eye(4), rng.normal(size=(2, 6)) * 0.01)
    R = wp.array(T[:, :3, :3], dtype=wp.mat33, requires_grad=True)
    t = wp.array(T[:, :3, 3], dtype=wp.vec3, requires_grad=True)
    with wp.Tape() as tape:
        fill_camera_poses(p, R, t)
        images = renderer.render(SCENE, p, RenderOptions(channels=("silhouette",)))
    g = rng.normal(size=images.silhouette.shape).astype(np.float32)
    tape.backward(grads={images.silhouette: wp.array(g)})
    tangent = p.camera_pose.grad.numpy().astype(float)
    np.testing.assert_allclose(t.grad.numpy(), tangent[:, :3], rtol=1e-6)
    np.testing.assert_array_equal(p.R_world_cam.numpy(), R.numpy())
    for w in np.eye(3):
        small = 1e-4 * w
        turned = (exp_so3(small) - np.eye(3)) @ T[:, :3, :3]
        slope = np.einsum("nij,nij->n", R.grad.numpy(), turned) / 1e-4
        np.testing.assert_allclose(slope, tangent[:, 3:] @ w, rtol=2e-3, atol=1e-3 * np.abs(tangent).max())


class Wrong:
    """A map with one thing wrong."""

    fills = ("pose",)

    def __init__(self, **theta: Any) -> None:
        self.theta = theta

    def fill(self, parameters) -> None:
        raise AssertionError("never reached")


def _unknown(grad: bool = True) -> wp.array:
    return wp.zeros(1, dtype=float, requires_grad=grad)


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no map": (lambda: _fit(3, ("pose",)), TypeError, "front must have theta, fills and fill"),
    "no array": (
        lambda: _fit(Wrong(a=1.0), ("pose",)),
        TypeError,
        "unknown 'a' must be a wp.array, got float",
    ),
    "no gradient": (
        lambda: _fit(Wrong(a=_unknown(False)), ("pose",)),
        ValueError,
        "unknown 'a' must be made with requires_grad=True",
    ),
    "a name that is taken": (
        lambda: _fit(Wrong(albedo=_unknown()), ("pose",)),
        ValueError,
        "unknown 'albedo' has the name of a parameter of scenes",
    ),
    "nothing to fill": (
        lambda: _fit(Wrong(a=_unknown()), ("albedo",)),
        ValueError,
        r"front fills \['pose'\], but the parameters were made with gradients for \['albedo'\] only",
    ),
    "one unknown twice": (
        lambda: Maps(Spin(0.0), Spin(0.0)),
        ValueError,
        r"different names, got \['angle'\] twice",
    ),
    "one parameter twice": (
        lambda: Maps(Wrong(), Spin(0.0)),
        ValueError,
        r"only one map may fill \['pose'\]",
    ),
    "a short lens": (
        lambda: TiedIntrinsics([1.0]),
        ValueError,
        r"a lens must have shape \(12,\), got \(1,\)",
    ),
    "poses of another shape": (
        lambda: fill_poses(
            Renderer().parameters(SCENE, CAMERA, requires_grad=("pose",)),
            wp.zeros((2, 1), dtype=wp.mat33),
            wp.zeros((2, 1), dtype=wp.vec3),
        ),
        ValueError,
        r"orientations of 'pose' must be .* of shape \(1, 1\), got",
    ),
    "poses without gradient": (
        lambda: fill_poses(
            Renderer().parameters(SCENE, CAMERA),
            wp.zeros((1, 1), dtype=wp.mat33),
            wp.zeros((1, 1), dtype=wp.vec3),
        ),
        ValueError,
        "must be made with requires_grad for 'pose'",
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_does_not_fit_is_refused_in_one_sentence(case: str) -> None:
    act, kind, text = CASES[case]
    with pytest.raises(kind, match=text):
        act()

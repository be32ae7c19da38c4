"""The material against integrals over the sphere, its own samples and central differences."""

import numpy as np
import pytest
import warp as wp
from scipy.stats import chi2

from dr_perception.render.shading.inputs import Lighting
from dr_perception.render.shading.material import Surface, density, evaluate, sample
from dr_perception.render.shading.shade import shade
from dr_perception.render.shading.shade_slope import shade_slope

MATERIALS = {
    "Lambert": (1.0, 0.0, 0.0),
    "plastic": (0.4, 0.0, 0.8),
    "sharp plastic": (0.25, 0.0, 0.5),
    "metal": (0.5, 1.0, 0.0),
    "mixed": (0.7, 0.4, 0.6),
}
"""Roughness, metallic, specular."""
BASE = (0.9, 0.5, 0.3)
NORMAL = np.array([0.36, -0.48, -0.8])


@wp.func
def _surface(values: wp.array[float]) -> Surface:
    s = Surface()
    s.normal = wp.vec3(values[0], values[1], values[2])
    s.eye = wp.vec3(values[3], values[4], values[5])
    s.base = wp.vec3(values[6], values[7], values[8])
    s.roughness = values[9]
    s.metallic = values[10]
    s.specular = values[11]
    return s


@wp.kernel
def evaluate_all(
    values: wp.array[float],
    light: wp.array[wp.vec3],
    # output
    color: wp.array[wp.vec3],
):
    i = wp.tid()
    color[i] = evaluate(_surface(values), light[i])


@wp.kernel(enable_backward=False)
def density_all(
    values: wp.array[float],
    light: wp.array[wp.vec3],
    # output
    result: wp.array[float],
):
    i = wp.tid()
    result[i] = density(_surface(values), light[i])


@wp.kernel(enable_backward=False)
def sample_all(
    values: wp.array[float],
    u: wp.array[wp.vec3],
    # output
    light: wp.array[wp.vec3],
):
    i = wp.tid()
    light[i] = sample(_surface(values), u[i])


@wp.kernel
def shade_all(
    values: wp.array[float],
    ambient: wp.array[wp.vec3],
    lights: wp.array2d[wp.vec3],
    colors: wp.array[wp.vec3],
    harmonics: wp.array[wp.vec3],
    R: wp.array[wp.mat33],
    # output
    color: wp.array[wp.vec3],
):
    color[0] = shade(_surface(values), 0, ambient, lights, colors, harmonics, R)


@wp.kernel(enable_backward=False)
def slope_all(
    values: wp.array[float],
    q: wp.vec3,
    ambient: wp.array[wp.vec3],
    lights: wp.array2d[wp.vec3],
    colors: wp.array[wp.vec3],
    harmonics: wp.array[wp.vec3],
    R: wp.array[wp.mat33],
    # output
    slope: wp.array[wp.vec3],
):
    lit = Lighting()
    lit.ambient = ambient
    lit.light_cam = lights
    lit.light_colors = colors
    lit.harmonics = harmonics
    lit.R_world_cam = R
    found = shade_slope(_surface(values), q, 0, lit, 1)
    slope[0] = found.normal
    slope[1] = found.eye
    slope[2] = found.base


def _eye(cosine: float) -> np.ndarray:
    """A direction at an angle to the normal."""
    across = np.cross(NORMAL, [0.0, 1.0, 0.0])
    return cosine * NORMAL + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)


def _values(name: str, eye: np.ndarray, base: tuple[float, float, float] = BASE) -> np.ndarray:
    return np.array([*NORMAL, *eye, *base, *MATERIALS[name]], np.float32)


def _evaluate(values: np.ndarray, lights: np.ndarray) -> np.ndarray:
    out = wp.zeros(len(lights), dtype=wp.vec3, device="cpu")
    inputs = [wp.array(values, dtype=float, device="cpu"), wp.array(lights, dtype=wp.vec3, device="cpu")]
    wp.launch(evaluate_all, dim=len(lights), inputs=inputs, outputs=[out], device="cpu")
    return out.numpy()


def _density(values: np.ndarray, lights: np.ndarray) -> np.ndarray:
    out = wp.zeros(len(lights), dtype=float, device="cpu")
    inputs = [wp.array(values, dtype=float, device="cpu"), wp.array(lights, dtype=wp.vec3, device="cpu")]
    wp.launch(density_all, dim=len(lights), inputs=inputs, outputs=[out], device="cpu")
    return out.numpy()


def _sample(values: np.ndarray, count: int) -> np.ndarray:
    u = np.random.default_rng(3).uniform(size=(count, 3)).astype(np.float32)
    out = wp.zeros(count, dtype=wp.vec3, device="cpu")
    inputs = [wp.array(values, dtype=float, device="cpu"), wp.array(u, dtype=wp.vec3, device="cpu")]
    wp.launch(sample_all, dim=count, inputs=inputs, outputs=[out], device="cpu")
    return out.numpy()


def _sphere(rows: int, columns: int) -> np.ndarray:
    """Centres of cells of equal area over the sphere."""
    z = (np.arange(rows) + 0.5) * 2.0 / rows - 1.0
    phi = (np.arange(columns) + 0.5) * 2.0 * np.pi / columns
    r = np.sqrt(1 - z**2)[:, None]
    x, y = r * np.cos(phi), r * np.sin(phi)
    return np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("name", MATERIALS)
def test_eye_and_light_can_be_exchanged(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (_eye(c) + 0.3 * rng.normal(size=3) for c in rng.uniform(0.2, 1.0, size=2))
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        if min(a @ NORMAL, b @ NORMAL) < 0.05:
            continue
        there = _evaluate(_values(name, a), b[None])[0] / (b @ NORMAL)
        back = _evaluate(_values(name, b), a[None])[0] / (a @ NORMAL)
        np.testing.assert_allclose(there, back, rtol=1e-4)


@pytest.mark.parametrize("cosine", [0.99, 0.6, 0.15])
@pytest.mark.parametrize("name", MATERIALS)
def test_density_integrates_to_one(name: str, cosine: float) -> None:
    total = _density(_values(name, _eye(cosine)), _sphere(2000, 2000)).mean(dtype=float) * 4 * np.pi
    assert total == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("cosine", [0.99, 0.6, 0.15])
@pytest.mark.parametrize("name", MATERIALS)
def test_samples_have_their_density(name: str, cosine: float) -> None:
    """Chi-square over 12 x 24 cells of the sphere, at one in a thousand over all cases."""
    values, count, rows, columns, fine = _values(name, _eye(cosine)), 40_000, 12, 24, 60
    drawn = _sample(values, count).astype(float)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0, atol=1e-4)
    row = np.clip(((drawn[:, 2] + 1) / 2 * rows).astype(int), 0, rows - 1)
    column = (np.mod(np.arctan2(drawn[:, 1], drawn[:, 0]) / (2 * np.pi), 1.0) * columns).astype(int)
    seen = np.bincount(row * columns + np.minimum(column, columns - 1), minlength=rows * columns)
    grid = _density(values, _sphere(rows * fine, columns * fine)).reshape(rows, fine, columns, fine)
    expected = grid.mean((1, 3), dtype=float).ravel() * 4 * np.pi / (rows * columns) * count
    often = expected > 8.0
    seen = np.append(seen[often], seen[~often].sum())
    expected = np.append(expected[often], max(count - expected[often].sum(), 1.0))
    statistic = float(((seen - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(1 - 1e-3 / 15, len(seen) - 1), statistic


@pytest.mark.parametrize("cosine", [1.0, 0.6, 0.2, 0.05])
@pytest.mark.parametrize("name", ["Lambert", "metal"])
def test_a_white_surface_reflects_no_more_than_it_gets(name: str, cosine: float) -> None:
    """Samples over their density integrate what is reflected; so does the grid."""
    values = _values(name, _eye(cosine), (1.0, 1.0, 1.0))
    drawn = _sample(values, 200_000)
    estimate = (_evaluate(values, drawn)[:, 0] / _density(values, drawn)).mean(dtype=float)
    grid = _evaluate(values, _sphere(1000, 1000))[:, 0].mean(dtype=float) * 4 * np.pi
    assert estimate == pytest.approx(grid, rel=0.01)
    assert grid < 1.0 + 1e-3


@pytest.mark.parametrize("name", MATERIALS)
def test_derivatives_equal_central_differences(name: str) -> None:
    """Of a weighted colour with respect to everything that a surface has, and of the light."""
    values, light = _values(name, _eye(0.6)), _eye(0.8) + np.array([0.1, 0.2, -0.1])
    light = (light / np.linalg.norm(light)).astype(np.float32)
    weights = np.array([0.3, 0.5, -0.7])
    inputs = [
        wp.array(values, dtype=float, device="cpu", requires_grad=True),
        wp.array(light[None], dtype=wp.vec3, device="cpu", requires_grad=True),
    ]
    out = wp.zeros(1, dtype=wp.vec3, device="cpu", requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(evaluate_all, dim=1, inputs=inputs, outputs=[out], device="cpu")
    tape.backward(grads={out: wp.array(weights[None].astype(np.float32), dtype=wp.vec3, device="cpu")})
    got = np.concatenate([inputs[0].grad.numpy(), inputs[1].grad.numpy()[0]])
    at, expected = np.concatenate([values, light]).astype(float), np.zeros(15)
    for i in range(15):
        step = 2e-3 * np.eye(15)[i]
        sides = [_evaluate((at + h)[:12].astype(np.float32), (at + h)[None, 12:]) for h in (step, -step)]
        expected[i] = (sides[0] - sides[1])[0].astype(float) @ weights / 4e-3
    free = np.ones(15, dtype=bool)
    if MATERIALS[name][1:] == (0.0, 0.0):
        free[10:12] = False  # where the specular part begins there is a step
    if name == "metal":
        free[10] = False  # a metal cannot be more than one
    assert np.abs(got - expected)[free].max() < 0.01 * np.abs(expected[free]).max()


@pytest.mark.parametrize("name", MATERIALS)
def test_derivative_by_hand_equals_that_of_the_tape(name: str) -> None:
    rng = np.random.default_rng(5)
    lights = np.stack([_eye(0.9), _eye(0.5) + 0.2 * rng.normal(size=3)])[None]
    lights = (lights / np.linalg.norm(lights, axis=-1, keepdims=True)).astype(np.float32)
    rows = [rng.uniform(0.1, 1.0, size=shape).astype(np.float32) for shape in ((1, 3), (2, 3), (9, 3))]
    values = wp.array(_values(name, _eye(0.6)), dtype=float, device="cpu", requires_grad=True)
    rest = [
        wp.array(rows[0], dtype=wp.vec3, device="cpu"),
        wp.array(lights, dtype=wp.vec3, device="cpu"),
        *(wp.array(r, dtype=wp.vec3, device="cpu") for r in rows[1:]),
        wp.array(np.eye(3, dtype=np.float32)[None], dtype=wp.mat33, device="cpu"),
    ]
    out = wp.zeros(1, dtype=wp.vec3, device="cpu", requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(shade_all, dim=1, inputs=[values, *rest], outputs=[out], device="cpu")
    q = wp.vec3(0.3, 0.5, -0.7)
    tape.backward(grads={out: wp.array([q], dtype=wp.vec3, device="cpu")})
    slope = wp.zeros(3, dtype=wp.vec3, device="cpu")
    wp.launch(slope_all, dim=1, inputs=[values, q, *rest], outputs=[slope], device="cpu")
    np.testing.assert_allclose(slope.numpy().ravel(), values.grad.numpy()[:9], rtol=1e-3, atol=1e-4)

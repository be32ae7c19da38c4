"""Every loss against central differences of its own value."""

import numpy as np
import pytest
import warp as wp

from dr_perception.losses import (
    L1,
    L2,
    Census,
    Charbonnier,
    DepthLoss,
    DepthNoise,
    GradientOrientation,
    Huber,
    Loss,
    NormalLoss,
    Pyramid,
    SilhouetteCrossEntropy,
    SilhouetteIoU,
)

SHAPE = (2, 9, 11)


def _depth(rng: np.random.Generator) -> np.ndarray:
    z = rng.uniform(0.5, 0.9, SHAPE)
    z[rng.uniform(size=SHAPE) < 0.2] = 0.0
    return z.astype(np.float32)


def _unit(rng: np.random.Generator) -> np.ndarray:
    n = rng.normal(size=(*SHAPE, 3))
    n[rng.uniform(size=SHAPE) < 0.2] = 0.0
    return n.astype(np.float32)


def _grey(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.05, 0.95, SHAPE).astype(np.float32)


def _color(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.05, 0.95, (*SHAPE, 3)).astype(np.float32)


WEIGHT = np.random.default_rng(7).uniform(0.0, 2.0, SHAPE)
NOISE = DepthNoise(constant=0.02, linear=0.01, quadratic=0.05)
CASES = {
    "l2": (L2(), _grey),
    "l2-color-weighted": (L2(WEIGHT), _color),
    "l1": (L1(), _grey),
    "huber": (Huber(delta=0.2), _color),
    "charbonnier": (Charbonnier(WEIGHT, delta=0.1), _grey),
    "depth": (DepthLoss(NOISE, delta=2.0), _depth),
    "depth-occluders": (DepthLoss(NOISE, WEIGHT, kind="l2", occluder_sigmas=3.0, missing_cost=1.0), _depth),
    "silhouette-iou": (SilhouetteIoU(WEIGHT), _grey),
    "silhouette-cross-entropy": (SilhouetteCrossEntropy(margin=0.02), _grey),
    "normal": (NormalLoss(WEIGHT), _unit),
    "pyramid-l2": (Pyramid(L2(), levels=3, weights=(1.0, 0.5, 0.25)), _color),
    "pyramid-depth": (Pyramid(DepthLoss(NOISE), levels=2), _depth),
    "orientation": (GradientOrientation(softness=0.1), _color),
    "orientation-grey-weighted": (GradientOrientation(WEIGHT, softness=0.1), _grey),
    "census": (Census(softness=0.2), _grey),
    "census-wide": (Census(radius=2, softness=0.2), _color),
}


def _value(loss: Loss, image: np.ndarray, reference: np.ndarray) -> float:
    return loss.value_and_gradient(image, reference)[0]


@pytest.mark.parametrize("name", CASES)
def test_gradient_equals_central_difference(name: str) -> None:
    """The directional derivative along random directions agrees to 0.2 % of the gradient's length."""
    loss, make = CASES[name]
    rng = np.random.default_rng(11)
    image, reference = make(rng), make(rng)
    _, gradient = loss.value_and_gradient(image, reference)
    assert gradient.shape == image.shape
    assert np.linalg.norm(gradient) > 0
    touched = image != 0  # a step must not turn "nothing there" into something
    step = 2e-3 if name != "l1" else 2e-4
    for _ in range(4):
        direction = np.where(touched, rng.normal(size=image.shape), 0.0)
        direction /= np.linalg.norm(direction)
        ahead = (image + step * direction).astype(np.float32)
        behind = (image - step * direction).astype(np.float32)
        difference = (_value(loss, ahead, reference) - _value(loss, behind, reference)) / (2 * step)
        slack = 2e-3 * float(np.linalg.norm(gradient))
        assert difference == pytest.approx(float(np.sum(gradient * direction)), abs=slack)


@pytest.mark.parametrize("name", CASES)
def test_no_loss_is_lower_than_at_the_reference(name: str) -> None:
    """An image equal to a hard reference is a minimum."""
    loss, make = CASES[name]
    rng = np.random.default_rng(3)
    reference = make(rng)
    if name.startswith("silhouette"):
        reference = (reference > 0.5).astype(np.float32)
    at_reference = _value(loss, reference, reference)
    assert at_reference <= _value(loss, make(rng), reference)
    if "cross-entropy" not in name:
        assert at_reference == pytest.approx(0.0, abs=1e-6)


def test_tape_chains_through_a_kernel_before_the_loss() -> None:
    """A loss on a tape passes its gradient to whatever made the image."""
    rng = np.random.default_rng(0)
    reference = wp.array(_grey(rng), dtype=wp.float32)
    image = wp.array(_grey(rng), dtype=wp.float32, requires_grad=True)
    doubled = wp.zeros_like(image, requires_grad=True)
    tape = wp.Tape()
    with tape:
        wp.launch(_double, dim=image.size, inputs=[image.flatten()], outputs=[doubled.flatten()])
        value = L2()(doubled, reference)
    tape.backward(loss=value)
    expected = 2.0 * (2.0 * image.numpy() - reference.numpy()) / image.size
    np.testing.assert_allclose(image.grad.numpy(), expected, atol=1e-7)


@wp.kernel
def _double(x: wp.array(dtype=float), y: wp.array(dtype=float)):  # type: ignore[no-untyped-def,valid-type]
    i = wp.tid()
    y[i] = 2.0 * x[i]

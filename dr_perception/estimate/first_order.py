"""First-order optimisers for image losses over named blocks of parameters: Adam and L-BFGS.

They know neither images nor renderers: the function they minimise maps blocks to a value and one gradient per
block. A pose is optimised on the manifold in the tangent (v, w) of DESIGN section 2 and stays a rigid
transform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.se3 import check_transform, hat, retract

Values = dict[str, NDArray[np.float64]]
#: Maps blocks to the value and the gradient of each block: the shape of a vector block, (..., 6) of a pose
# block.
Function = Callable[[Values], tuple[float, Mapping[str, NDArray[np.float64]]]]


@dataclass(frozen=True)
class Block:
    """One named block of parameters.

    Attributes:
        start: First value: any array, or poses of shape (..., 4, 4) when ``pose`` is set.
        scale: Size of a typical change, per number or one for all (for poses: six, for v [m] and w [rad]).
            Steps are measured in it, so blocks of different units go together.
        low: Lower bound of vector blocks.
        high: Upper bound of vector blocks.
        pose: Whether the block holds rigid transforms.
    """

    start: ArrayLike
    scale: ArrayLike = 1.0
    low: ArrayLike = -np.inf
    high: ArrayLike = np.inf
    pose: bool = False

    @property
    def tangent_shape(self) -> tuple[int, ...]:
        """Shape of the gradient of the block."""
        shape = np.shape(self.start)
        return (*shape[:-2], 6) if self.pose else shape


@dataclass(frozen=True)
class FirstOrderResult:
    """Outcome of a minimisation.

    Attributes:
        values: Best value of each block.
        value: Function value there.
        iterations: Steps taken.
        converged: Whether a tolerance stopped it rather than the limit of iterations.
        reason: What stopped it.
        history: Function value at every step, starting with the first.
    """

    values: Values
    value: float
    iterations: int
    converged: bool
    reason: str
    history: tuple[float, ...] = field(default=(), repr=False)


def adam(
    function: Function,
    blocks: Mapping[str, Block],
    *,
    iterations: int = 200,
    rate: float = 0.1,
    final_rate: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
    tolerance: float = 0.0,
) -> FirstOrderResult:
    """Minimise with Adam (Kingma and Ba 2015, algorithm 1) and an exponentially falling step.

    Args:
        function: Value and gradients.
        blocks: What to optimise.
        iterations: Number of steps.
        rate: First step in units of each block's scale.
        final_rate: Last step.
        betas: Decay of the first and second moment.
        tolerance: Stop when no number moved more than this, in units of scale.

    Returns:
        The best point seen.

    Raises:
        ValueError: On a value or gradient that is not finite, a gradient of the wrong shape, or bad settings.
    """
    if iterations < 1 or not 0 < final_rate <= rate:
        raise ValueError(
            f"expected iterations >= 1 and 0 < final_rate <= rate, got {iterations}, {rate}, {final_rate}"
        )
    values = {name: _first(name, block) for name, block in blocks.items()}
    moments = {
        name: (np.zeros(block.tangent_shape), np.zeros(block.tangent_shape)) for name, block in blocks.items()
    }
    history: list[float] = []
    best, reason = dict(values), "limit of iterations"
    for step in range(1, iterations + 1):
        value, gradients = _evaluate(function, values, blocks)
        if not history or value < min(history):
            best = dict(values)
        history.append(value)
        size = rate * (final_rate / rate) ** ((step - 1) / max(iterations - 1, 1))
        moved = 0.0
        for name, block in blocks.items():
            m, v = moments[name]
            g = gradients[name] * _array(block.scale)
            m += (1 - betas[0]) * (g - m)
            v += (1 - betas[1]) * (g * g - v)
            unit = (m / (1 - betas[0] ** step)) / (np.sqrt(v / (1 - betas[1] ** step)) + 1e-12)
            values[name] = _move(block, values[name], -size * unit * _array(block.scale))
            moved = max(moved, float(np.max(np.abs(size * unit), initial=0.0)))
        if moved < tolerance:
            reason = "step below tolerance"
            break
    value, _ = _evaluate(function, values, blocks)
    best = values if value < min(history) else best
    history.append(value)
    return FirstOrderResult(
        best, min(history), len(history) - 1, reason != "limit of iterations", reason, tuple(history)
    )


def lbfgs(
    function: Function,
    blocks: Mapping[str, Block],
    *,
    iterations: int = 100,
    gradient_tolerance: float = 1e-8,
    value_tolerance: float = 1e-10,
    memory: int = 10,
) -> FirstOrderResult:
    """Minimise with bounded limited-memory BFGS (Byrd et al. 1995, SciPy's L-BFGS-B).

    Poses move along ``retract(start, xi)`` of their start; gradients are pulled back to ``xi`` by the left
    Jacobian of SO(3), which is exact, so one run may rotate by up to half a turn.

    Args:
        function: Value and gradients.
        blocks: What to optimise.
        iterations: Largest number of iterations.
        gradient_tolerance: Stop when the scaled, projected gradient is smaller.
        value_tolerance: Stop when a step lowers the value by less than this fraction.
        memory: Pairs kept to approximate the Hessian.

    Raises:
        ValueError: On a value or gradient that is not finite, or a gradient of the wrong shape.
    """
    from scipy.optimize import Bounds, minimize

    start = {name: _first(name, block) for name, block in blocks.items()}
    history: list[float] = []

    def flat(y: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        steps = _split(y, blocks)
        values = {n: _move(b, start[n], steps[n] * _array(b.scale), clip=False) for n, b in blocks.items()}
        value, gradients = _evaluate(function, values, blocks)
        rows = [
            _pull_back(b, steps[n] * _array(b.scale), gradients[n]) * _array(b.scale)
            for n, b in blocks.items()
        ]
        history.append(value)
        return value, np.concatenate([row.ravel() for row in rows])

    low, high = _scaled_bounds(blocks, start)
    options: Any = {
        "maxiter": iterations,
        "gtol": gradient_tolerance,
        "ftol": value_tolerance,
        "maxcor": memory,
    }
    found = minimize(
        flat, np.zeros(len(low)), jac=True, method="L-BFGS-B", bounds=Bounds(low, high), options=options
    )
    steps = _split(found.x, blocks)
    values = {n: _move(b, start[n], steps[n] * _array(b.scale)) for n, b in blocks.items()}
    message = str(found.message)
    return FirstOrderResult(
        values, float(found.fun), int(found.nit), bool(found.success), message, tuple(history)
    )


def left_jacobian_so3(w: ArrayLike) -> NDArray[np.float64]:
    """Left Jacobian of SO(3), ``exp(w + d) = exp(J d) exp(w)`` to first order (Sola et al. 2018, eq. 145).

    Args:
        w: Rotation vectors [rad], shape (..., 3).

    Returns:
        Matrices, shape (..., 3, 3).
    """
    vector = np.asarray(w, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    b = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    K = hat(vector)
    return np.asarray(np.eye(3) + a * K + b * (K @ K))


def _first(name: str, block: Block) -> NDArray[np.float64]:
    value = np.array(block.start, dtype=np.float64)
    if not np.all(np.isfinite(value)):
        raise ValueError(f"block {name!r}: start must be finite, got {value}")
    if np.any(np.asarray(block.scale) <= 0):
        raise ValueError(f"block {name!r}: scale must be positive, got {block.scale}")
    if block.pose:
        for T in value.reshape(-1, 4, 4):
            check_transform(T, f"block {name!r}")
        return value
    return np.clip(value, block.low, block.high)


def _move(
    block: Block, value: NDArray[np.float64], step: NDArray[np.float64], clip: bool = True
) -> NDArray[np.float64]:
    if block.pose:
        return retract(value, step)
    return np.clip(value + step, block.low, block.high) if clip else value + step


def _pull_back(block: Block, step: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient with respect to the step that led here, from the gradient at the tangent here."""
    if not block.pose:
        return gradient
    J = left_jacobian_so3(step[..., 3:])
    rotation = np.einsum("...ji,...j->...i", J, gradient[..., 3:])
    return np.concatenate([gradient[..., :3], rotation], axis=-1)


def _array(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _evaluate(function: Function, values: Values, blocks: Mapping[str, Block]) -> tuple[float, Values]:
    value, gradients = function(dict(values))
    if not np.isfinite(value):
        raise ValueError(f"the function returned {value}, expected a finite number")
    out = {}
    for name, block in blocks.items():
        if name not in gradients:
            raise ValueError(f"the function returned no gradient for block {name!r}")
        gradient = np.asarray(gradients[name], dtype=np.float64)
        if gradient.shape != block.tangent_shape:
            raise ValueError(
                f"gradient of block {name!r}: expected {block.tangent_shape}, got {gradient.shape}"
            )
        if not np.all(np.isfinite(gradient)):
            raise ValueError(f"gradient of block {name!r} is not finite")
        out[name] = gradient
    return float(value), out


def _split(y: NDArray[np.float64], blocks: Mapping[str, Block]) -> Values:
    out, first = {}, 0
    for name, block in blocks.items():
        count = int(np.prod(block.tangent_shape))
        out[name] = y[first : first + count].reshape(block.tangent_shape)
        first += count
    return out


def _scaled_bounds(
    blocks: Mapping[str, Block], start: Values
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of the flat vector of scaled steps."""
    low, high = [], []
    for name, block in blocks.items():
        zero, scale = np.zeros(block.tangent_shape), _array(block.scale)
        origin = zero if block.pose else start[name]
        low.append(np.ravel((_array(-np.inf if block.pose else block.low) - origin) / scale + zero))
        high.append(np.ravel((_array(np.inf if block.pose else block.high) - origin) / scale + zero))
    return np.concatenate(low), np.concatenate(high)

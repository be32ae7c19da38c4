"""Several losses in one objective, with named terms that are reported apart; and sums over separate views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

from dr_perception.losses.base import Loss
from dr_perception.losses.reduction import add_scaled


class MultiView:
    """Weighted sum of one loss over views that are separate images, of sizes that may differ.

    Views of one size are better rendered as a batch ``(views, height, width)``, which every loss accepts as
    it is.

    Args:
        inner: The loss of one view, or one loss per view (when views have masks of their own).
        weights: Factor of each view; the mean over views when None.
    """

    def __init__(self, inner: Loss | Sequence[Loss], weights: Sequence[float] | None = None) -> None:
        self._inner = inner
        self._weights = None if weights is None else tuple(float(w) for w in weights)

    def __call__(self, images: Sequence[wp.array], references: Sequence[wp.array]) -> wp.array:
        """Return the weighted sum, shape (1,) float64.

        Raises:
            ValueError: When the numbers of images, references, losses or weights differ, or there is no view.
        """
        count = len(images)
        losses = [self._inner] * count if isinstance(self._inner, Loss) else list(self._inner)
        weights = [1.0 / max(count, 1)] * count if self._weights is None else list(self._weights)
        lengths = {
            "images": count,
            "references": len(references),
            "losses": len(losses),
            "weights": len(weights),
        }
        if count == 0 or len(set(lengths.values())) != 1:
            raise ValueError(
                f"MultiView: expected the same number of everything, at least one; got {lengths}"
            )
        terms = [loss(a, b) for loss, a, b in zip(losses, images, references, strict=True)]
        return weighted_sum(terms, weights)


@dataclass(frozen=True)
class Term:
    """One term of an objective.

    Attributes:
        loss: The loss.
        image: Which rendered image it looks at: ``"depth"``, ``"silhouette"``, ``"color"``, ``"normal"``.
        weight: Factor in the sum.
    """

    loss: Loss | MultiView
    image: str
    weight: float = 1.0


@dataclass(frozen=True)
class ObjectiveValue:
    """What an objective gives: everything stays on the device until it is asked for.

    Attributes:
        total: Weighted sum, float64 shape (1,); hand it to ``wp.Tape.backward(loss=...)``.
        terms: Unweighted value of each term by name, float64 shape (1,).
        weights: Factor of each term by name.
    """

    total: wp.array
    terms: Mapping[str, wp.array]
    weights: Mapping[str, float]

    def report(self) -> dict[str, float]:
        """Copy the values to the host: each term times its weight, and their sum as ``"total"``."""
        values = {name: self.weights[name] * float(term.numpy()[0]) for name, term in self.terms.items()}
        return {**values, "total": float(self.total.numpy()[0])}


class Objective:
    """A weighted sum of named losses over the images of one render.

    Args:
        terms: Name -> term.

    Raises:
        ValueError: When there is no term or a weight is negative or not finite.
    """

    def __init__(self, terms: Mapping[str, Term]) -> None:
        if not terms:
            raise ValueError("Objective: expected at least one term, got none")
        for name, term in terms.items():
            if not np.isfinite(term.weight) or term.weight < 0:
                raise ValueError(
                    f"Objective: weight of term {name!r} must be finite and not negative, got {term.weight}"
                )
        self.terms = dict(terms)

    def __call__(self, images: Any, references: Any) -> ObjectiveValue:
        """Evaluate all terms.

        Args:
            images: Rendered images, a mapping or an object with the attributes that the terms name.
            references: The images to compare with, likewise.
        """
        values = {
            n: t.loss(_pick(images, t.image, n), _pick(references, t.image, n)) for n, t in self.terms.items()
        }
        weights = {name: term.weight for name, term in self.terms.items()}
        total = weighted_sum(list(values.values()), list(weights.values()))
        return ObjectiveValue(total=total, terms=values, weights=weights)


def weighted_sum(terms: Sequence[wp.array], weights: Sequence[float]) -> wp.array:
    """Sum of scalar losses times weights on their device, float64 shape (1,)."""
    total = wp.zeros(1, dtype=wp.float64, device=terms[0].device, requires_grad=True)
    for term, weight in zip(terms, weights, strict=True):
        wp.launch(add_scaled, dim=1, inputs=[term, float(weight)], outputs=[total], device=total.device)
    return total


def _pick(images: Any, key: str, term: str) -> Any:
    image = images.get(key) if isinstance(images, Mapping) else getattr(images, key, None)
    if image is None:
        raise ValueError(f"Objective: term {term!r} needs the image {key!r}, which is missing")
    return image

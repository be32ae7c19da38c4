"""What a graph, or a part of it, says of some blocks when the others are left free.

The Schur complement of the normal equations, gradient included, at the values where they were formed
(Dellaert and Kaess 2017, section 5.2). A window of frames moves on by it: old blocks go, a belief about what
they met stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.blocks import Indices, Values
from dr_perception.estimate.elimination import others, unit_scale
from dr_perception.estimate.factors import Belief, Factors, Quadratic
from dr_perception.estimate.graph import Graph, Linearised

Array = NDArray[np.float64]

_OPEN = 1.0e-10
"""Share of the largest scaled eigenvalue below which a direction of an eliminated block counts as open."""


def eliminate(H: Array, g: Array, gone: Indices) -> tuple[Array, Array]:
    """Normal equations of the unknowns that remain when others are left to their best values.

    Directions of the eliminated unknowns that nothing measures carry nothing over and are left out.

    Args:
        H: Symmetric positive semidefinite (N, N).
        g: Gradient (N,).
        gone: Unknowns to eliminate.

    Returns:
        Matrix and gradient of the others, in their order.
    """
    rest = others(len(H), gone)
    E, C = H[gone[:, None], gone], H[gone[:, None], rest]
    half = _root_of_inverse(E)
    Y = half @ C
    return H[rest[:, None], rest] - Y.T @ Y, g[rest] - Y.T @ (half @ g[gone])


def _root_of_inverse(E: Array) -> Array:
    """``W`` (k, n) with ``W^T W`` the inverse of E (n, n) in the k directions that are known."""
    scale = unit_scale(E.diagonal())
    values, vectors = np.linalg.eigh(E * scale[:, None] * scale)
    known = values > _OPEN * values.max(initial=0.0)
    return np.asarray((scale[:, None] * vectors[:, known] / np.sqrt(values[known])).T)


def belief(
    graph: Graph, linearised: Linearised, keep: Iterable[str], groups: Iterable[int] | None = None
) -> Belief:
    """What factors of a graph say of some blocks together.

    Args:
        graph: The graph.
        linearised: Its normal equations.
        keep: The blocks.
        groups: Numbers of the groups of factors that count, all if None.
    """
    H, g = linearised.H, linearised.g
    if groups is not None:
        H, g = graph.assemble({i: linearised.terms[i] for i in groups})
    kept = set(keep)
    return _without(Belief(linearised.values, Quadratic(H[None], -g[None])), kept.__contains__)


def without(prior: Belief, gone: Iterable[str]) -> Belief:
    """What a belief says of the other blocks when some are left free."""
    names = set(gone)
    return _without(prior, lambda name: name not in names)


def _without(prior: Belief, stays: Callable[[str], bool]) -> Belief:
    layout = prior.mean.layout
    gone = [name for name in layout.names if not stays(name)]
    if not gone:
        return prior
    g = np.zeros(layout.size) if prior.quadratic.g is None else prior.quadratic.g[0]
    H, g = eliminate(prior.quadratic.H[0], g, layout.span(gone))
    return Belief(prior.mean.kept(layout.without(gone)), Quadratic(H[None], g[None]))


def marginalise(graph: Graph, values: Values, gone: Iterable[str]) -> Graph:
    """The graph without some blocks: factors that touch them become one belief about the others they touch.

    Args:
        graph: The graph.
        values: Where those factors are linearised, from now on for good.
        gone: The blocks.

    Raises:
        KeyError: If there is no such block.
    """
    gone = tuple(gone)
    leaving = np.zeros(graph.layout.size, dtype=bool)
    leaving[graph.layout.span(gone)] = True
    touching: list[Factors] = []
    staying: list[Factors] = []
    touched = leaving.copy()
    for group, columns in zip(graph.factors, graph.columns, strict=True):
        touches = np.asarray(leaving[columns].any(axis=1))
        touched[columns[touches]] = True
        for part, mask in ((touching, touches), (staying, ~touches)):
            if mask.any():
                part.append(group if mask.all() else group.select(np.asarray(mask)))
    rest = graph.layout.without(gone)
    if touching:
        names = [name for name in graph.layout.names if touched[graph.layout.span([name])].any()]
        near = values.kept(graph.layout.without(set(graph.layout.names) - set(names)))
        around = Graph(near.layout, touching)
        staying.append(belief(around, around.linearise(near), rest.names))
    return Graph(rest, staying)

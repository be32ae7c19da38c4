"""Kinematic trees: poses against products of transforms, Jacobians against differences, and bad trees."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dr_perception.geometry.kinematics import Joint, KinematicTree
from dr_perception.geometry.se3 import exp_so3, local, make_transform, perturb, random_rotation, retract


def lamp() -> KinematicTree:
    """Two arms, a slider on the second, and a finger that copies the first joint: given out of order."""
    offset = make_transform(exp_so3([0.3, -0.2, 0.5]), np.array([0.1, 0.02, -0.05]))
    return KinematicTree(
        [
            Joint("elbow", "revolute", "lower", "upper", offset, (0.0, 1.0, 1.0), -2.0, 2.0),
            Joint(
                "turn",
                "continuous",
                "foot",
                "lower",
                make_transform(np.eye(3), np.array([0, 0, 0.1])),
                (0, 0, 3),
            ),
            Joint("slide", "prismatic", "upper", "head", offset, (1.0, 0.0, 0.0), 0.0, 0.2),
            Joint("weld", "fixed", "head", "bulb", offset),
            Joint(
                "finger",
                "revolute",
                "lower",
                "tip",
                offset,
                (1, 0, 0),
                mimic="turn",
                multiplier=-0.5,
                offset=0.2,
            ),
        ]
    )


def test_links_come_after_their_parents_and_values_in_the_order_given() -> None:
    tree = lamp()
    assert tree.links[0] == "foot" and set(tree.links) == {"foot", "lower", "upper", "head", "bulb", "tip"}
    assert all(tree.parents[k] < k for k in range(1, len(tree.links)))
    assert tree.names == ("elbow", "turn", "slide")
    np.testing.assert_array_equal(tree.limits, [[-2, 2], [-np.inf, np.inf], [0, 0.2]])


def test_poses_are_products_of_what_lies_between() -> None:
    tree, q = lamp(), np.array([0.4, -1.3, 0.07])
    base = make_transform(exp_so3([0.1, 0.9, -0.4]), np.array([0.3, -0.1, 0.8]))
    T = dict(zip(tree.links, tree.link_poses(q, base), strict=True))
    offset = make_transform(exp_so3([0.3, -0.2, 0.5]), np.array([0.1, 0.02, -0.05]))
    lower = (
        base
        @ make_transform(np.eye(3), np.array([0, 0, 0.1]))
        @ make_transform(exp_so3([0, 0, -1.3]), np.zeros(3))
    )
    upper = lower @ offset @ make_transform(exp_so3(0.4 * np.array([0, 1, 1]) / math.sqrt(2)), np.zeros(3))
    head = upper @ offset @ make_transform(np.eye(3), np.array([0.07, 0, 0]))
    tip = lower @ offset @ make_transform(exp_so3([0.2 + 0.65, 0, 0]), np.zeros(3))
    for name, expected in {
        "lower": lower,
        "upper": upper,
        "head": head,
        "bulb": head @ offset,
        "tip": tip,
    }.items():
        np.testing.assert_allclose(T[name], expected, atol=1e-14)
    many = tree.link_poses(np.stack([q, 2 * q]), base)
    np.testing.assert_allclose(many[0], tree.link_poses(q, base), atol=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_jacobians_are_the_slopes_of_the_poses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = lamp()
    q = rng.uniform(-3.0, 3.0, 3)
    base = make_transform(random_rotation(rng), rng.normal(size=3))
    J, T, step = tree.jacobian(q, base), tree.link_poses(q, base), 1e-6
    for column in range(9):
        xi, dq = np.zeros(6), np.zeros(3)
        (xi if column < 6 else dq)[column if column < 6 else column - 6] = step
        moved = tree.link_poses(q + dq, retract(base, xi))
        np.testing.assert_allclose(local(T, moved) / step, J[:, :, column], atol=5e-6)


def test_no_turn_is_singular() -> None:
    """Three joints whose axes meet lock up in Euler angles; here the Jacobian alone loses rank there."""
    axes = [(0, 0, 1), (0, 1, 0), (0, 0, 1)]
    tree = KinematicTree(
        [Joint(f"j{k}", "continuous", f"l{k}", f"l{k + 1}", axis=a) for k, a in enumerate(axes)]
    )
    for q in ([0.0, 0.0, 0.0], [0.0, np.pi, 0.0], [np.pi, np.pi / 2, -np.pi]):
        J = tree.jacobian(q)
        assert np.isfinite(J).all() and np.abs(J).max() < 1.0 + 1e-12


def test_values_by_name_are_checked() -> None:
    tree = lamp()
    np.testing.assert_array_equal(tree.vector({"turn": 1, "slide": 3, "elbow": 2}), [2.0, 1.0, 3.0])
    for joints, text in (
        ({"turn": 1.0}, r"joints \['elbow', 'slide'\] have no value"),
        ({"turn": 1, "slide": 3, "elbow": 2, "knee": 0}, r"unknown joints \['knee'\]"),
        ({"turn": float("nan"), "slide": 3, "elbow": 2}, r"must be finite, got \[nan\] for \['turn'\]"),
    ):
        with pytest.raises(ValueError, match=text):
            tree.vector(joints)
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\), got \(2,\)"):
        tree.link_poses([0.0, 0.0])


BAD = {
    "a kind": (lambda: Joint("a", "ball", "x", "y"), r"joint 'a' must be one of .*, got 'ball'"),
    "a zero axis": (
        lambda: Joint("a", "revolute", "x", "y", axis=(0, 0, 0)),
        "axis must be three numbers, not all 0",
    ),
    "reversed limits": (
        lambda: Joint("a", "revolute", "x", "y", lower=1, upper=0),
        "limits must be in order, got 1 to 0",
    ),
    "limits of nan": (lambda: Joint("a", "revolute", "x", "y", lower=np.nan), "limits must be in order"),
    "a copy of itself": (lambda: Joint("a", "revolute", "x", "y", mimic="a"), "must not copy itself"),
    "a skewed frame": (
        lambda: Joint("a", "fixed", "x", "y", T_parent_joint=np.diag([1, 1, 2, 1.0])),
        "T_parent_joint of joint 'a'",
    ),
    "an endless copy": (
        lambda: Joint("a", "revolute", "x", "y", multiplier=np.inf),
        "must be finite, got inf",
    ),
    "two parents": (
        lambda: KinematicTree([Joint("a", "fixed", "x", "y"), Joint("b", "fixed", "z", "y")]),
        r"children of joints must have names of their own, got \['y'\] more than once",
    ),
    "a name twice": (
        lambda: KinematicTree([Joint("a", "fixed", "x", "y"), Joint("a", "fixed", "y", "z")]),
        r"joints must have names of their own, got \['a'\]",
    ),
    "a loop": (
        lambda: KinematicTree([Joint("a", "fixed", "x", "y"), Joint("b", "fixed", "y", "x")]),
        "one root link; a loop of joints has none",
    ),
    "a loop beside the root": (
        lambda: KinematicTree(
            [Joint("a", "fixed", "r", "s"), Joint("b", "fixed", "x", "y"), Joint("c", "fixed", "y", "x")]
        ),
        r"links \['x', 'y'\] must hang on the root 'r'",
    ),
    "two roots": (
        lambda: KinematicTree([Joint("a", "fixed", "x", "y"), Joint("b", "fixed", "z", "w")]),
        r"one root link; got \['x', 'z'\]",
    ),
    "a copy of nothing": (
        lambda: KinematicTree([Joint("a", "revolute", "x", "y", mimic="b")]),
        "joint 'a' copies 'b', which must be one of those with a value",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_bad_tree_is_refused_in_one_sentence(case: str) -> None:
    act, text = BAD[case]
    with pytest.raises(ValueError, match=text):
        act()


def test_one_link_is_a_tree() -> None:
    tree = KinematicTree([], "only")
    T = perturb(np.eye(4), 0.1, 0.2, np.random.default_rng(0))
    np.testing.assert_array_equal(tree.link_poses([], T), T[None])
    np.testing.assert_array_equal(tree.jacobian([], T), np.eye(6)[None])

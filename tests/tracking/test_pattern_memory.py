"""What a pattern says of a pose in doubt, beside how it showed before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from dr_perception.tracking.confidence import Confidence
from dr_perception.tracking.pattern_memory import PatternMemory

POSSIBLE = 100.0


def remembered(shown: list[float]) -> PatternMemory:
    memory = PatternMemory()
    for share in shown:
        memory.learn(share, POSSIBLE)
    return memory


@pytest.mark.parametrize("share", [-0.05, 0.0, 0.04, 0.1, 0.2, 0.3])
def test_odds_are_the_ratio_of_two_densities(share: float) -> None:
    before = [0.3, 0.28, 0.32, 0.25]
    mean = np.mean(before)
    # The variance is learned beside the mean, each look against the mean before it.
    means = np.concatenate([[0.0], np.cumsum(before)[:-1] / np.arange(1, 4)])
    variance = np.mean((np.array(before) - means) ** 2)
    noise = (3.0 / POSSIBLE) ** 2
    as_before = norm.pdf(share, mean, np.sqrt(variance + (0.3 * mean) ** 2 + noise))
    otherwise = norm.pdf(share, 0.0, np.sqrt(0.04**2 + noise))
    expected = min(0.99 * as_before / otherwise + 0.01, 1.0)
    np.testing.assert_allclose(remembered(before).odds(share, POSSIBLE), expected, rtol=1e-6)


def test_a_pattern_that_showed_and_does_not_any_more_speaks_against_a_pose() -> None:
    assert remembered([0.3] * 20).odds(0.0, POSSIBLE) < 0.05
    assert remembered([0.3] * 20).odds(0.28, POSSIBLE) == 1.0


@pytest.mark.parametrize("before", [[], [0.01] * 20])
def test_nothing_is_said_where_none_showed_before(before: list[float]) -> None:
    assert remembered(before).odds(0.0, POSSIBLE) > 0.5


def test_a_view_without_a_pattern_says_nothing_and_teaches_nothing() -> None:
    memory = remembered([0.3] * 20)
    assert memory.odds(0.0, 2.0) == 1.0
    for _ in range(20):
        memory.learn(0.0, 2.0)
    assert memory.odds(0.0, POSSIBLE) < 0.05


def test_what_a_pose_that_slipped_shows_is_not_learned() -> None:
    memory = remembered([0.3] * 20)
    for _ in range(30):
        memory.learn(-0.03, POSSIBLE)
    assert memory.odds(0.0, POSSIBLE) < 0.05


def test_looks_at_one_pose_are_averaged_and_those_of_another_forgotten() -> None:
    memory = remembered([0.3] * 20)
    first = memory.odds(0.0, POSSIBLE)
    assert memory.odds(0.3, POSSIBLE) < remembered([0.3] * 20).odds(0.3, POSSIBLE)
    memory.begin()
    np.testing.assert_allclose(memory.odds(0.0, POSSIBLE), first)


def test_a_pattern_that_is_missing_lowers_the_odds_of_a_regained_pose() -> None:
    values = []
    for share in (0.3, 0.0):
        confidence = Confidence()
        for _ in range(20):
            confidence.look(0.3, POSSIBLE)
        assert confidence.value == 1.0, "a pose that was given is not doubted"
        confidence.update(None, unexpected=True, challenged=False)
        assert confidence.value == 0.5
        confidence.look(share, POSSIBLE)
        values.append(confidence.value)
    assert values[0] == 0.5 and values[1] < 0.05

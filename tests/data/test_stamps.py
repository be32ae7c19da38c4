"""Pairing of stamps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dr_perception.data.stamps import match_stamps, nearest_stamp

STAMPS = st.lists(st.integers(0, 200), max_size=20)


@given(STAMPS, STAMPS, st.integers(0, 30))
def test_pairs_use_each_stamp_once_and_stay_within_the_tolerance(
    first: list[int], second: list[int], tol: int
) -> None:
    pairs = match_stamps(first, second, tol)
    assert all(abs(first[i] - second[k]) <= tol for i, k in pairs)
    assert len({i for i, _ in pairs}) == len({k for _, k in pairs}) == len(pairs)
    assert [first[i] for i, _ in pairs] == sorted(first[i] for i, _ in pairs)


@given(STAMPS, STAMPS, st.integers(0, 30))
def test_equal_stamps_are_always_paired_with_each_other(
    first: list[int], second: list[int], tol: int
) -> None:
    paired = {(first[i], second[k]) for i, k in match_stamps(first, second, tol)}
    assert all((stamp, stamp) in paired for stamp in set(first) & set(second))


@given(STAMPS, STAMPS, st.integers(0, 30))
def test_no_pair_within_the_tolerance_is_left_over(first: list[int], second: list[int], tol: int) -> None:
    pairs = match_stamps(first, second, tol)
    rest_a = set(first) - {first[i] for i, _ in pairs}
    rest_b = set(second) - {second[k] for _, k in pairs}
    assert not any(abs(a - b) <= tol for a in rest_a for b in rest_b)


def test_nearest_partner_wins() -> None:
    assert match_stamps([100], [93, 104], 10) == [(0, 1)]


@given(STAMPS.map(sorted), st.integers(0, 200), st.none() | st.integers(0, 30))
def test_nearest_stamp_is_nearest(stamps: list[int], wanted: int, tolerance: int | None) -> None:
    found = nearest_stamp(stamps, wanted, tolerance)
    within = [abs(s - wanted) for s in stamps if tolerance is None or abs(s - wanted) <= tolerance]
    assert (found is None) == (not within)
    if found is not None:
        assert abs(stamps[found] - wanted) == min(within)

# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""Kernels of the point-pair-feature vote (Drost et al. 2010, "Model globally, match locally").

Two oriented points are described by their distance and three angles, which no rigid motion changes. Every
reference point of the scene pairs up with the points within a diameter; each pair finds the model pairs that
look like it in a table, and each of these votes for the model point that the reference is and for the turn
about its normal.
"""

import warp as wp

NUM_ANGLES = 30
"""Steps of the turn about the normal."""
DISTANCE_BINS = 20
ANGLE_BINS = 14
NUM_BINS = DISTANCE_BINS * ANGLE_BINS * ANGLE_BINS * ANGLE_BINS

_NUM_ANGLES = wp.constant(NUM_ANGLES)
_DISTANCE_BINS = wp.constant(DISTANCE_BINS)
_ANGLE_BINS = wp.constant(ANGLE_BINS)
_PI = wp.constant(3.14159265358979)
_MIN_SHARE = wp.constant(0.08)


@wp.struct
class PairTable:
    """Pairs of model points sorted by feature: those of bin b are ``first[b] <= k < first[b + 1]``."""

    first: wp.array(dtype=int)
    point: wp.array(dtype=int)
    turn: wp.array(dtype=float)
    reach_m: float


@wp.func
def frame_of(n: wp.vec3) -> wp.mat33:
    """Rotation that takes a unit normal to the x axis."""
    helper = wp.vec3(0.0, 0.0, 1.0)
    if wp.abs(n[2]) > 0.8:
        helper = wp.vec3(1.0, 0.0, 0.0)
    u = wp.normalize(wp.cross(helper, n))
    w = wp.cross(n, u)
    return wp.mat33(n[0], n[1], n[2], u[0], u[1], u[2], w[0], w[1], w[2])


@wp.func
def _angle_bin(cosine: float) -> int:
    a = wp.acos(wp.clamp(cosine, -1.0, 1.0)) / _PI
    return wp.min(wp.int32(a * float(_ANGLE_BINS)), _ANGLE_BINS - 1)


@wp.func
def pair_bin(n_a: wp.vec3, n_b: wp.vec3, d: wp.vec3, length: float, reach: float) -> int:
    """Bin of the feature of two oriented points, ``d`` leading from the first to the second.

    -1 if too close or too far.
    """
    share = length / reach
    if share < _MIN_SHARE or share >= 1.0:
        return -1
    u = d / length
    b = wp.int32(share * float(_DISTANCE_BINS))
    b = b * _ANGLE_BINS + _angle_bin(wp.dot(n_a, u))
    b = b * _ANGLE_BINS + _angle_bin(wp.dot(n_b, u))
    return b * _ANGLE_BINS + _angle_bin(wp.dot(n_a, n_b))


@wp.func
def turn_to_plane(R: wp.mat33, d: wp.vec3) -> float:
    """Angle about x that brings a point into the half plane z = 0, y > 0 of an oriented point's frame."""
    u = R * d
    return wp.atan2(-u[2], u[1])


@wp.kernel(enable_backward=False)
def describe_model_pairs(
    points: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    reach_m: float,
    # output
    bins: wp.array2d[int],
    turns: wp.array2d[float],
):
    """Bin and turn of every ordered pair of model points."""
    i, j = wp.tid()
    d = points[j] - points[i]
    b = int(-1)
    if i != j:
        b = pair_bin(normals[i], normals[j], d, wp.length(d), reach_m)
    bins[i, j] = b
    turns[i, j] = turn_to_plane(frame_of(normals[i]), d)


@wp.kernel(enable_backward=False)
def vote(
    points: wp.array2d[wp.vec3],
    normals: wp.array2d[wp.vec3],
    usable: wp.array2d[wp.uint8],
    references: wp.array[wp.vec2i],
    cells_per_tangent: float,
    table: PairTable,
    # output
    votes: wp.array3d[float],
):
    """Vote for each reference (x, y on the grid of scene points).

    ``cells_per_tangent`` is the focal length in grid cells.
    """
    r = wp.tid()
    at = references[r]
    p = points[at[1], at[0]]
    n = normals[at[1], at[0]]
    R = frame_of(n)
    window = wp.int32(wp.ceil(cells_per_tangent * table.reach_m / wp.max(p[2] - 0.5 * table.reach_m, 0.05)))
    for y in range(wp.max(at[1] - window, 0), wp.min(at[1] + window + 1, points.shape[0])):
        for x in range(wp.max(at[0] - window, 0), wp.min(at[0] + window + 1, points.shape[1])):
            if usable[y, x] != wp.uint8(0):
                d = points[y, x] - p
                length = wp.length(d)
                if length < table.reach_m:
                    b = pair_bin(n, normals[y, x], d, length, table.reach_m)
                    if b >= 0:
                        turn = turn_to_plane(R, d)
                        for k in range(table.first[b], table.first[b + 1]):
                            alpha = (table.turn[k] - turn) / (2.0 * _PI)
                            alpha = alpha - wp.floor(alpha)
                            a = wp.min(wp.int32(alpha * float(_NUM_ANGLES)), _NUM_ANGLES - 1)
                            votes[r, table.point[k], a] = votes[r, table.point[k], a] + 1.0


@wp.kernel(enable_backward=False)
def find_peaks(
    peaks_per_reference: int,
    # output
    votes: wp.array3d[float],
    peaks: wp.array2d[wp.vec3i],
):
    """Highest cells of each accumulator, neighbours in angle included: (model point, angle, votes).

    Clears the accumulator.
    """
    r = wp.tid()
    for m in range(peaks_per_reference):
        best = wp.vec3i(0, 0, 0)
        for i in range(votes.shape[1]):
            for a in range(_NUM_ANGLES):
                after = (a + 1) % _NUM_ANGLES
                before = (a + _NUM_ANGLES - 1) % _NUM_ANGLES
                v = wp.int32(2.0 * votes[r, i, a] + votes[r, i, before] + votes[r, i, after])
                if v > best[2]:
                    best = wp.vec3i(i, a, v)
        peaks[r, m] = best
        for k in range(-2, 3):
            votes[r, best[0], (best[1] + k + _NUM_ANGLES) % _NUM_ANGLES] = 0.0
    for i in range(votes.shape[1]):
        for a in range(_NUM_ANGLES):
            votes[r, i, a] = 0.0

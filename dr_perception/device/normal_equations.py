"""Sums of a Gauss-Newton step over many rows: ``H = sum w J^T J``, ``g = sum w J^T r``, cost and counts.

Every modality reduces to rows of the same form. A point ``X`` of the model moves by ``v + w x (X - t)`` under
the tangent vector ``(v, w)``; a measurement sees that motion along a direction ``a`` (a normal, an image
gradient pulled back through the projection). So ``J = (a, (X - t) x a)`` and a row needs only ``a``, the arm
``X - t``, the residual and its weight.
"""

import warp as wp

NUM_SUMS = 41
"""Floats per problem.

21 of the upper triangle of H (row by row), 6 of g, the cost, counts of rows by kind.
"""

GRADIENT = wp.constant(21)
COST = wp.constant(27)
DEPTH_ROWS = wp.constant(28)
"""Surface samples with a depth measured."""
DEPTH_INLIERS = wp.constant(29)
DEPTH_HIDDEN = wp.constant(30)
"""Samples with something measured well in front of them."""
DEPTH_BEYOND = wp.constant(31)
"""Samples that the measurement sees through: the model is where nothing is."""
LINE_ROWS = wp.constant(32)
LINE_INLIERS = wp.constant(33)
COLOR_ROWS = wp.constant(34)
COLOR_INLIERS = wp.constant(35)
DEPTH_CHI2 = wp.constant(36)
"""Sum of squared normalised residuals of inliers; likewise below."""
LINE_CHI2 = wp.constant(37)
COLOR_CHI2 = wp.constant(38)
LINE_HIDDEN = wp.constant(39)
"""Contour samples with something measured well in front of them."""
EVIDENCE = wp.constant(40)
"""How much less the rows cost than outliers would; samples seen through the model count against it."""

Sums = wp.types.vector(length=NUM_SUMS, dtype=wp.float32)


@wp.func
def add_row(sums: Sums, direction: wp.vec3, arm: wp.vec3, residual: float, weight: float) -> Sums:
    """Add the row ``weight * (residual - J xi)^2`` with ``J = (direction, arm x direction)``."""
    m = wp.cross(arm, direction)
    d0 = weight * direction[0]
    d1 = weight * direction[1]
    d2 = weight * direction[2]
    m0 = weight * m[0]
    m1 = weight * m[1]
    m2 = weight * m[2]
    sums[0] += d0 * direction[0]
    sums[1] += d0 * direction[1]
    sums[2] += d0 * direction[2]
    sums[3] += d0 * m[0]
    sums[4] += d0 * m[1]
    sums[5] += d0 * m[2]
    sums[6] += d1 * direction[1]
    sums[7] += d1 * direction[2]
    sums[8] += d1 * m[0]
    sums[9] += d1 * m[1]
    sums[10] += d1 * m[2]
    sums[11] += d2 * direction[2]
    sums[12] += d2 * m[0]
    sums[13] += d2 * m[1]
    sums[14] += d2 * m[2]
    sums[15] += m0 * m[0]
    sums[16] += m0 * m[1]
    sums[17] += m0 * m[2]
    sums[18] += m1 * m[1]
    sums[19] += m1 * m[2]
    sums[20] += m2 * m[2]
    sums[21] += d0 * residual
    sums[22] += d1 * residual
    sums[23] += d2 * residual
    sums[24] += m0 * residual
    sums[25] += m1 * residual
    sums[26] += m2 * residual
    return sums


@wp.func
def add_sums(problem: int, sums: Sums, total: wp.array2d[float]):
    """Add one thread's sums to those of its problem."""
    for k in range(NUM_SUMS):
        wp.atomic_add(total, problem, k, sums[k])

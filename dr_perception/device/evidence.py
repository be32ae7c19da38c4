"""Evidence: what the rows of one modality say of a pose, as sums.

Normal equations ``H = sum w J^T J`` and ``g = sum w J^T r``, the robust cost, and counts. Every modality
reduces to rows of the same form. A point ``X`` of the model moves by ``v + w x (X - t)`` under the tangent
vector ``(v, w)``; a measurement sees that motion along a direction ``a`` (a normal, an image gradient pulled
back through the projection). So ``J = (a, (X - t) x a)`` and a row needs only ``a``, the arm ``X - t``, the
residual and its weight.

Evidence stands in arrays (P, M, `NUM_SUMS`) by problem and modality, so that what each modality says alone is
not lost in their sum.
"""

import warp as wp

NUM_SUMS = 34
"""Floats of the evidence of one modality.

21 of the upper triangle of H (row by row), 6 of g, the cost, counts of rows by kind.
"""

GRADIENT = wp.constant(21)
COST = wp.constant(27)
ROWS = wp.constant(28)
"""Samples that were measured."""
INLIERS = wp.constant(29)
HIDDEN = wp.constant(30)
"""Samples with something measured well in front of them: they say nothing."""
CONTRADICTED = wp.constant(31)
"""Samples that the measurement sees through: the model is where nothing is."""
CHI2 = wp.constant(32)
"""Sum of squared normalised residuals of inliers."""
GAIN = wp.constant(33)
"""How much less the rows cost than outliers would; contradicted samples count against it."""

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
def add_sums(problem: int, modality: int, sums: Sums, total: wp.array3d[float]):
    """Add one thread's sums to those of its problem and modality."""
    for k in range(NUM_SUMS):
        wp.atomic_add(total, problem, modality, k, sums[k])


@wp.func
def joint_sums(total: wp.array3d[float], problem: int) -> Sums:
    """The evidence of all modalities of a problem together."""
    joint = Sums()
    for m in range(total.shape[1]):
        for k in range(NUM_SUMS):
            joint[k] = joint[k] + total[problem, m, k]
    return joint

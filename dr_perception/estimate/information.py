"""From the sums of a solved pose to what is known of it: credible information and covariance.

In double precision, as Warp functions for single poses.
"""

import warp as wp

from dr_perception.device.evidence import Sums
from dr_perception.device.spd import positive_part

wp.set_module_options({"max_unroll": 1})

DIRECTION_ERROR_RAD = 0.015
"""Standard deviation of the directions of rows, nearly a degree: facets, and what was simplified away.

Judged by how much rows seem to see of the spin of a body of revolution, it is 0.006 for normals, 0.016 for
outlines and for gradients of brightness.
"""


@wp.func
def orthonormal(R32: wp.mat33) -> wp.mat33d:
    """Nearest rotation in double precision: one Newton step takes the rounding of single precision out."""
    R = wp.mat33d(R32)
    return wp.float64(1.5) * R - wp.float64(0.5) * (R * wp.transpose(R) * R)


@wp.func
def unpacked(sums: Sums) -> wp.spatial_matrixd:
    """Information matrix (6, 6) that sums hold."""
    H = wp.spatial_matrixd()
    k = int(0)
    for i in range(6):
        for j in range(i, 6):
            H[i, j] = wp.float64(sums[k])
            H[j, i] = wp.float64(sums[k])
            k += 1
    return H


@wp.func
def credible(
    spread: wp.mat33d, direction_error_rad: wp.float64, R: wp.mat33d, information: wp.spatial_matrixd
) -> wp.spatial_matrixd:
    """Take out of an information matrix what errors of the model alone would put in.

    With directions uncertain by a small angle, ``sum w J^T J`` exceeds its value without errors by
    ``sum w Cov(J)`` on average (errors in variables; Fuller 1987, section 2.2), so that even a turn that
    nothing fixes seems to be measured. The solver does not follow it either, see
    `dr_perception.estimate.levenberg_marquardt.credible_gradient`.

    Args:
        spread: Second moments of the surface about the centre [m^2], in the model's frame.
        direction_error_rad: Standard deviation of the directions.
        R: Rotation of the model's frame in that of the information.
        information: About the centre.
    """
    if wp.trace(spread) == wp.float64(0.0):
        return information
    error = direction_error_rad * direction_error_rad
    excess = error * (information[0, 0] + information[1, 1] + information[2, 2])
    turned = R * spread * wp.transpose(R)
    for i in range(3):
        for j in range(3):
            information[3 + i, 3 + j] = information[3 + i, 3 + j] - excess * turned[i, j]
    # Turns are counted in radii of the surface, so that eigenvalues compare.
    radius = wp.sqrt(wp.float64(0.5) * wp.trace(spread))
    scale = wp.float64(1.0) / radius
    scaled = information
    for i in range(6):
        for j in range(6):
            scaled[i, j] = scaled[i, j] * wp.pow(scale, wp.float64(i // 3 + j // 3))
    scaled = positive_part(scaled)
    for i in range(6):
        for j in range(6):
            scaled[i, j] = scaled[i, j] * wp.pow(radius, wp.float64(i // 3 + j // 3))
    return scaled


@wp.func
def about_origin(lever: wp.vec3d, covariance: wp.spatial_matrixd) -> wp.spatial_matrixd:
    """Covariance with the origin moved by ``lever`` [m], along the camera's axes."""
    # The new origin moves by v + w x lever.
    J = wp.identity(n=6, dtype=wp.float64)
    K = wp.skew(lever)
    for i in range(3):
        for j in range(3):
            J[i, 3 + j] = -K[i, j]
    return J * covariance * wp.transpose(J)

"""Symmetric 6 x 6 matrices in double precision: inverse and nearest positive semidefinite matrix.

Loops are kept as loops: unrolled, these functions would take long to compile and be no faster.
"""

import warp as wp

wp.set_module_options({"max_unroll": 1})

_SWEEPS = wp.constant(8)


@wp.func
def cholesky(A: wp.spatial_matrixd, least: wp.float64) -> wp.spatial_matrixd:
    """Lower factor ``L`` with ``L L^T = A``; pivots are not let below ``least``."""
    L = wp.spatial_matrixd()
    for j in range(6):
        for i in range(j, 6):
            s = A[i, j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            if i == j:
                L[j, j] = wp.sqrt(wp.max(s, least))
            else:
                L[i, j] = s / L[j, j]
    return L


@wp.func
def is_positive(A: wp.spatial_matrixd) -> bool:
    """Whether all pivots of the Cholesky factorisation are positive."""
    L = wp.spatial_matrixd()
    for j in range(6):
        for i in range(j, 6):
            s = A[i, j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            if i == j:
                if s <= wp.float64(0.0):
                    return False
                L[j, j] = wp.sqrt(s)
            else:
                L[i, j] = s / L[j, j]
    return True


@wp.func
def inverse_spd(A: wp.spatial_matrixd) -> wp.spatial_matrixd:
    """Inverse of a positive definite matrix, by its Cholesky factor."""
    largest = wp.float64(0.0)
    for i in range(6):
        largest = wp.max(largest, A[i, i])
    L = cholesky(A, largest * wp.float64(1.0e-15) + wp.float64(1.0e-300))
    B = wp.spatial_matrixd()  # inverse of L
    for j in range(6):
        B[j, j] = wp.float64(1.0) / L[j, j]
        for i in range(j + 1, 6):
            s = wp.float64(0.0)
            for k in range(j, i):
                s -= L[i, k] * B[k, j]
            B[i, j] = s / L[i, i]
    return wp.transpose(B) * B


@wp.func
def _rotated(
    A: wp.spatial_matrixd, p: int, q: int, cosine: wp.float64, sine: wp.float64
) -> wp.spatial_matrixd:
    """Columns p and q turned into each other."""
    for k in range(6):
        a = A[k, p]
        b = A[k, q]
        A[k, p] = cosine * a - sine * b
        A[k, q] = sine * a + cosine * b
    return A


@wp.func
def positive_part(A: wp.spatial_matrixd) -> wp.spatial_matrixd:
    """Nearest positive semidefinite matrix (Frobenius norm).

    Negative eigenvalues become zero; Jacobi's rotations (Golub and Van Loan 2013, section 8.5).
    """
    if is_positive(A):
        return A
    V = wp.identity(n=6, dtype=wp.float64)
    D = A
    size = wp.float64(0.0)
    for i in range(6):
        size += wp.abs(A[i, i])
    for _sweep in range(_SWEEPS):
        for p in range(5):
            for q in range(p + 1, 6):
                if wp.abs(D[p, q]) > size * wp.float64(1.0e-17):
                    theta = (D[q, q] - D[p, p]) / (wp.float64(2.0) * D[p, q])
                    t = wp.float64(1.0) / (wp.abs(theta) + wp.sqrt(theta * theta + wp.float64(1.0)))
                    if theta < wp.float64(0.0):
                        t = -t
                    cosine = wp.float64(1.0) / wp.sqrt(t * t + wp.float64(1.0))
                    D = _rotated(D, p, q, cosine, t * cosine)
                    D = wp.transpose(_rotated(wp.transpose(D), p, q, cosine, t * cosine))
                    V = _rotated(V, p, q, cosine, t * cosine)
    W = V
    for j in range(6):
        value = wp.max(D[j, j], wp.float64(0.0))
        for i in range(6):
            W[i, j] = W[i, j] * value
    return W * wp.transpose(V)

"""Brightness of an image at places on a surface, and the light that relates it to the surface's own.

To first order of spherical harmonics (Basri and Jacobs 2003) a matte surface of brightness ``M`` with normal
``n`` appears as ``M (l0 + l . n) + b``: five numbers an object and frame.
"""

import warp as wp

from dr_perception.geometry.camera_warp import CameraParams

Light = wp.types.vector(length=5, dtype=wp.float32)
LightSquare = wp.types.matrix(shape=(5, 5), dtype=wp.float32)


@wp.func
def _luma(c: wp.vec3ub) -> float:
    return 0.299 * float(c[0]) + 0.587 * float(c[1]) + 0.114 * float(c[2])


@wp.func
def luma_at(image: wp.array2d[wp.vec3ub], u: float, v: float) -> float:
    """Bilinear brightness; the caller keeps the place inside the image by a pixel."""
    x = wp.int32(wp.floor(u))
    y = wp.int32(wp.floor(v))
    fx = u - float(x)
    fy = v - float(y)
    top = (1.0 - fx) * _luma(image[y, x]) + fx * _luma(image[y, x + 1])
    bottom = (1.0 - fx) * _luma(image[y + 1, x]) + fx * _luma(image[y + 1, x + 1])
    return (1.0 - fy) * top + fy * bottom


@wp.func
def is_well_inside(uv: wp.vec2, camera: CameraParams) -> bool:
    """Whether a place keeps three pixels from the border."""
    right = float(camera.width) - 4.0
    bottom = float(camera.height) - 4.0
    return uv[0] >= 3.0 and uv[1] >= 3.0 and uv[0] <= right and uv[1] <= bottom


@wp.func
def is_visible_at(
    p: wp.vec3, uv: wp.vec2, camera: CameraParams, depth: wp.array2d[float], hidden_m: float
) -> bool:
    """Whether a point falls well inside the image and nothing is measured in front of it."""
    if p[2] <= 0.0 or not is_well_inside(uv, camera):
        return False
    z = depth[wp.int32(uv[1] + 0.5), wp.int32(uv[0] + 0.5)]
    return z == 0.0 or z > p[2] - hidden_m


@wp.func
def is_measured_at(
    p: wp.vec3, uv: wp.vec2, camera: CameraParams, depth: wp.array2d[float], margin_m: float
) -> bool:
    """Whether the depths measured at a point's pixel and two pixels around it are those of the point."""
    if p[2] <= 0.0 or not is_well_inside(uv, camera):
        return False
    x = wp.int32(uv[0] + 0.5)
    y = wp.int32(uv[1] + 0.5)
    measured = bool(True)
    for k in range(5):
        dx = wp.where(k == 1, 2, wp.where(k == 2, -2, 0))
        dy = wp.where(k == 3, 2, wp.where(k == 4, -2, 0))
        if wp.abs(depth[y + dy, x + dx] - p[2]) > margin_m:
            measured = False
    return measured


@wp.func
def shade_basis(brightness: float, normal: wp.vec3) -> Light:
    """What the five numbers of a light are multiplied with; ``normal`` in the camera's frame."""
    return Light(brightness, brightness * normal[0], brightness * normal[1], brightness * normal[2], 255.0)


@wp.func
def light_gain(light: Light, normal: wp.vec3) -> float:
    """How a light scales the brightness of a surface; ``normal`` in the camera's frame."""
    return light[0] + light[1] * normal[0] + light[2] * normal[1] + light[3] * normal[2]


@wp.func
def eliminate(A: LightSquare, b: Light) -> Light:
    """Solution of a positive definite system, by Gaussian elimination."""
    for k in range(5):
        pivot = 1.0 / A[k, k]
        for i in range(k + 1, 5):
            factor = A[i, k] * pivot
            for j in range(k, 5):
                A[i, j] = A[i, j] - factor * A[k, j]
            b[i] = b[i] - factor * b[k]
    x = Light()
    for m in range(5):
        i = 4 - m
        s = b[i]
        for j in range(i + 1, 5):
            s -= A[i, j] * x[j]
        x[i] = s / A[i, i]
    return x


@wp.func
def solve_light(A: LightSquare, b: Light) -> Light:
    """Least-squares light from its normal equations.

    A weak pull to light from everywhere keeps unlit directions at zero.
    """
    for j in range(5):
        A[j, j] = A[j, j] * 1.0001 + 1.0e3
    return eliminate(A, b)

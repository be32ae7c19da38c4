"""Texture look-up: bilinear, v up, edges repeated outwards; texels are linear RGB.

One texel per pixel is read: where a texture is much finer than the pixels the image aliases, and its
derivative is that of
the aliased image. Pre-filter such a texture, or render larger and average.
"""

import numpy as np
import warp as wp
from numpy.typing import NDArray


@wp.func
def sample_texture(texels: wp.array[wp.vec3], texture: wp.vec3i, uv: wp.vec2) -> wp.vec3:
    """Linear RGB at a texture coordinate. ``texture`` is (first texel, rows, columns)."""
    x = uv[0] * float(texture[2]) - 0.5
    y = (1.0 - uv[1]) * float(texture[1]) - 0.5
    x0 = wp.floor(x)
    y0 = wp.floor(y)
    fx = x - x0
    fy = y - y0
    left = wp.clamp(wp.int32(x0), 0, texture[2] - 1)
    right = wp.clamp(wp.int32(x0) + 1, 0, texture[2] - 1)
    top = texture[0] + wp.clamp(wp.int32(y0), 0, texture[1] - 1) * texture[2]
    bottom = texture[0] + wp.clamp(wp.int32(y0) + 1, 0, texture[1] - 1) * texture[2]
    upper = (1.0 - fx) * texels[top + left] + fx * texels[top + right]
    lower = (1.0 - fx) * texels[bottom + left] + fx * texels[bottom + right]
    return (1.0 - fy) * upper + fy * lower


@wp.func
def texture_slope(texels: wp.array[wp.vec3], texture: wp.vec3i, uv: wp.vec2, q: wp.vec3) -> wp.vec2:
    """Gradient of ``q . sample_texture`` with respect to the texture coordinate."""
    x = uv[0] * float(texture[2]) - 0.5
    y = (1.0 - uv[1]) * float(texture[1]) - 0.5
    x0 = wp.floor(x)
    y0 = wp.floor(y)
    left = wp.clamp(wp.int32(x0), 0, texture[2] - 1)
    right = wp.clamp(wp.int32(x0) + 1, 0, texture[2] - 1)
    top = texture[0] + wp.clamp(wp.int32(y0), 0, texture[1] - 1) * texture[2]
    bottom = texture[0] + wp.clamp(wp.int32(y0) + 1, 0, texture[1] - 1) * texture[2]
    top_left = wp.dot(q, texels[top + left])
    top_right = wp.dot(q, texels[top + right])
    bottom_left = wp.dot(q, texels[bottom + left])
    bottom_right = wp.dot(q, texels[bottom + right])
    fx = x - x0
    fy = y - y0
    by_x = (1.0 - fy) * (top_right - top_left) + fy * (bottom_right - bottom_left)
    by_y = (1.0 - fx) * (bottom_left - top_left) + fx * (bottom_right - top_right)
    return wp.vec2(by_x * float(texture[2]), -by_y * float(texture[1]))


def srgb_to_linear(srgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode 8-bit sRGB (IEC 61966-2-1) to linear values in [0, 1], any shape."""
    x = np.arange(256) / 255.0
    table = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[srgb]


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Encode linear values as 8-bit sRGB, clipped to [0, 1], any shape."""
    x = np.clip(linear, 0.0, 1.0)
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1.0 / 2.4) - 0.055)
    return np.round(255.0 * encoded).astype(np.uint8)

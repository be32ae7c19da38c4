"""Derivative of the shading model with respect to what a moving object changes, written by hand.

The gradient of `shade.shade` for one given weighting of the three colour channels: with respect to normal,
direction to the eye and base colour. It is what the chain to poses needs (`pose_gradient`), at a small part
of the cost of the adjoint that Warp derives for every input of the shading
kernels.
"""

import warp as wp

from dr_perception.render.shading.inputs import Lighting
from dr_perception.render.shading.material import Surface
from dr_perception.render.shading.shade import _harmonics


@wp.struct
class ShadingSlope:
    """Gradient of a weighted colour."""

    normal: wp.vec3
    eye: wp.vec3
    base: wp.vec3


@wp.func
def _harmonics_slope(n: wp.vec3, q: wp.vec3, c: wp.array[wp.vec3]) -> wp.vec3:
    """Gradient of ``q . harmonics(n)`` with respect to the normal, in the axes of the scene."""
    xy = 1.0925484 * wp.dot(q, c[4])
    yz = 1.0925484 * wp.dot(q, c[5])
    xz = 1.0925484 * wp.dot(q, c[7])
    square = 1.0925484 * wp.dot(q, c[8])
    return wp.vec3(
        0.4886025 * wp.dot(q, c[3]) + n[1] * xy + n[2] * xz + n[0] * square,
        0.4886025 * wp.dot(q, c[1]) + n[0] * xy + n[2] * yz - n[1] * square,
        0.4886025 * wp.dot(q, c[2]) + n[1] * yz + n[0] * xz + 1.8923496 * n[2] * wp.dot(q, c[6]),
    )


@wp.func
def _specular_slope(
    s: Surface, light: wp.vec3, f0: wp.vec3, n_l: float, q: wp.vec3, slope: ShadingSlope, with_eye: int
) -> ShadingSlope:
    """Add the gradient of ``q . specular``; ``q`` holds the weights times the lamp's colour."""
    middle = s.eye + light
    length = wp.length(middle)
    half = middle / length
    n_v = wp.dot(s.normal, s.eye)
    n_h = wp.max(wp.dot(s.normal, half), 0.0)
    v_h = wp.max(wp.dot(s.eye, half), 0.0)
    alpha = wp.max(s.roughness * s.roughness, 1.0e-3)
    a2 = alpha * alpha
    lobe = n_h * n_h * (a2 - 1.0) + 1.0
    k = 0.5 * alpha
    to_light = 1.0 / (n_l * (1.0 - k) + k)
    to_eye = 1.0 / (wp.max(n_v, 1.0e-3) * (1.0 - k) + k)
    m = 1.0 - v_h
    m4 = m * m * m * m
    facets = a2 / (lobe * lobe)
    rest = 0.25 * to_light * to_eye * n_l
    strength = facets * rest
    q_f0 = wp.dot(q, f0)
    q_sum = q[0] + q[1] + q[2]
    fresnel = q_f0 + (q_sum - q_f0) * m4 * m
    by_n_h = -4.0 * n_h * (a2 - 1.0) / lobe * strength * fresnel
    # n_l / (n_l (1 - k) + k) has the slope k / (n_l (1 - k) + k)^2.
    by_n_l = facets * 0.25 * to_eye * k * to_light * to_light * fresnel
    by_n_v = wp.where(n_v > 1.0e-3, -(1.0 - k) * to_eye * strength * fresnel, 0.0)
    slope.normal += by_n_h * half + by_n_l * light + by_n_v * s.eye
    slope.base += (s.metallic * strength * (1.0 - m4 * m)) * q
    if with_eye != 0:
        by_v_h = -5.0 * m4 * (q_sum - q_f0) * strength
        g_half = by_n_h * s.normal + by_v_h * s.eye
        slope.eye += by_n_v * s.normal + by_v_h * half + (g_half - wp.dot(g_half, half) * half) / length
    return slope


@wp.func
def shade_slope(
    s: Surface,
    q: wp.vec3,
    camera: int,
    lights: Lighting,
    with_eye: int,
) -> ShadingSlope:
    """Gradient of ``q . shade(s)``; the one with respect to the eye only if ``with_eye``."""
    diffuse = (1.0 - s.metallic) * s.base
    f0 = wp.vec3(0.08 * s.specular * (1.0 - s.metallic)) + s.metallic * s.base
    slope = ShadingSlope()
    light = lights.ambient[0]
    if lights.harmonics.shape[0] > 0:
        R = lights.R_world_cam[camera]
        n_world = R * s.normal
        light = light + _harmonics(n_world, lights.harmonics)
        slope.normal += wp.transpose(R) * _harmonics_slope(
            n_world, wp.cw_mul(q, diffuse + f0), lights.harmonics
        )
    slope.base += wp.cw_mul(q, light)
    for k in range(lights.light_colors.shape[0]):
        direction = lights.light_cam[camera, k]
        n_l = wp.dot(s.normal, direction)
        if n_l > 0.0:
            weighted = wp.cw_mul(q, lights.light_colors[k])
            slope.normal += wp.dot(weighted, diffuse) * direction
            slope.base += ((1.0 - s.metallic) * n_l) * weighted
            if s.metallic > 0.0 or s.specular > 0.0:
                slope = _specular_slope(s, direction, f0, n_l, weighted, slope, with_eye)
    return slope

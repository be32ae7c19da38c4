"""The material of `render` and `rays`: what a surface point reflects, and how to draw directions for it.

Diffuse: Lambert. Specular: microfacets with the GGX distribution (Walter et al. 2007, eq. 33), the separable
Smith term in the form of Karis 2013 and Schlick's Fresnel approximation (1994). Metallic workflow: a
dielectric reflects ``0.08 * specular`` at normal incidence and a metal its base colour; without both there is
no specular part at all.

Directions are drawn from a mixture of the cosine lobe and of the microfacets that the eye sees (Heitz 2018);
`density` is the density of that mixture per solid angle over the whole sphere: a few reflected directions
point below the surface, where `evaluate` is zero. But for its cosine that is symmetric in eye and light.
Lambert and metals reflect no more than they get; white plastic does, since its diffuse part does not give up
what the specular one takes: 4 to 8 % at normal incidence, up to 31 % at grazing angles.

Everything here but the drawing is differentiable by ``wp.Tape``; `shade_slope` has the derivative by hand.
"""

import warp as wp

_PI = wp.constant(3.14159265358979)
_LEAST_ALPHA = wp.constant(1.0e-3)
"""Sharpest lobe that single precision carries: at its peak the distribution is 3e5."""


@wp.struct
class Surface:
    """A surface point in the camera frame: unit normal, unit direction to the eye, and material."""

    normal: wp.vec3
    eye: wp.vec3
    base: wp.vec3
    roughness: float
    metallic: float
    specular: float


@wp.func
def diffuse_color(s: Surface) -> wp.vec3:
    """Linear RGB of the diffuse part."""
    return (1.0 - s.metallic) * s.base


@wp.func
def normal_reflectance(s: Surface) -> wp.vec3:
    """Specular reflectance at normal incidence, linear RGB."""
    return wp.vec3(0.08 * s.specular * (1.0 - s.metallic)) + s.metallic * s.base


@wp.func
def _alpha(s: Surface) -> float:
    return wp.max(s.roughness * s.roughness, _LEAST_ALPHA)


@wp.func
def _specular(s: Surface, light: wp.vec3, f0: wp.vec3, n_l: float) -> wp.vec3:
    """Specular reflectance times pi times the cosine."""
    half = wp.normalize(s.eye + light)
    n_v = wp.max(wp.dot(s.normal, s.eye), 1.0e-3)
    n_h = wp.max(wp.dot(s.normal, half), 0.0)
    v_h = wp.max(wp.dot(s.eye, half), 0.0)
    alpha = _alpha(s)
    a2 = alpha * alpha
    lobe = n_h * n_h * (a2 - 1.0) + 1.0
    k = 0.5 * alpha
    visibility = 0.25 / ((n_l * (1.0 - k) + k) * (n_v * (1.0 - k) + k))
    m = 1.0 - v_h
    m2 = m * m
    fresnel = f0 + (wp.vec3(1.0) - f0) * (m2 * m2 * m)
    return (a2 / (lobe * lobe) * visibility * n_l) * fresnel


@wp.func
def reflected(s: Surface, light: wp.vec3, diffuse: wp.vec3, f0: wp.vec3) -> wp.vec3:
    """Colour under a light whose radiance on a white Lambertian surface that faces it is one.

    Args:
        s: The surface point.
        light: Unit direction to the light, camera frame.
        diffuse: Its `diffuse_color`.
        f0: Its `normal_reflectance`.
    """
    n_l = wp.max(wp.dot(s.normal, light), 0.0)
    color = n_l * diffuse
    if n_l > 0.0:
        if s.metallic > 0.0 or s.specular > 0.0:
            color += _specular(s, light, f0, n_l)
    return color


@wp.func
def evaluate(s: Surface, light: wp.vec3) -> wp.vec3:
    """Reflectance times the cosine of the light [1/sr]: radiance to the eye by radiance from ``light``."""
    return reflected(s, light, diffuse_color(s), normal_reflectance(s)) / _PI


@wp.func
def _specular_share(s: Surface) -> float:
    """How often the specular lobe is drawn: its part of what a mirror would reflect of it."""
    if s.metallic == 0.0 and s.specular == 0.0:
        return 0.0
    m = 1.0 - wp.max(wp.dot(s.normal, s.eye), 0.0)
    fresnel = m * m * m * m * m
    f0, d = normal_reflectance(s), diffuse_color(s)
    mean = (f0[0] + f0[1] + f0[2]) / 3.0
    mean += (1.0 - mean) * fresnel
    return mean / wp.max(mean + (d[0] + d[1] + d[2]) / 3.0, 1.0e-6)


@wp.func
def density(s: Surface, light: wp.vec3) -> float:
    """Density of `sample` at a direction [1/sr]; the eye must be above the surface."""
    share = _specular_share(s)
    total = (1.0 - share) * wp.max(wp.dot(s.normal, light), 0.0) / _PI
    half = wp.normalize(s.eye + light)
    n_h = wp.dot(s.normal, half)
    if share > 0.0 and n_h > 0.0 and wp.dot(s.eye, half) > 0.0:
        a2 = _alpha(s) * _alpha(s)
        n_v = wp.max(wp.dot(s.normal, s.eye), 0.0)
        lobe = n_h * n_h * (a2 - 1.0) + 1.0
        # Smith's masking of the eye over 4 n_v, written so that it stays finite at grazing angles
        masked = 0.5 / (n_v + wp.sqrt(a2 + (1.0 - a2) * n_v * n_v))
        total += share * a2 / (_PI * lobe * lobe) * masked
    return total


@wp.func
def _across(n: wp.vec3) -> wp.vec3:
    """A unit vector at right angles to a unit vector."""
    axis = wp.vec3(1.0, 0.0, 0.0)
    if wp.abs(n[0]) > 0.7:
        axis = wp.vec3(0.0, 1.0, 0.0)
    return wp.normalize(wp.cross(n, axis))


@wp.func
def _visible_facet(v: wp.vec3, alpha: float, u: wp.vec2) -> wp.vec3:
    """Normal of a microfacet that the eye sees, about the axis z (Heitz 2018)."""
    stretched = wp.normalize(wp.vec3(alpha * v[0], alpha * v[1], v[2]))
    first = _across(stretched)
    second = wp.cross(stretched, first)
    # the disk is halved along what is at right angles to z, so its first axis has to lie in the surface
    flat = stretched[0] * stretched[0] + stretched[1] * stretched[1]
    if flat > 1.0e-12:
        first = wp.vec3(-stretched[1], stretched[0], 0.0) / wp.sqrt(flat)
        second = wp.cross(stretched, first)
    radius = wp.sqrt(u[0])
    x = radius * wp.cos(2.0 * _PI * u[1])
    lean = 0.5 * (1.0 + stretched[2])
    y = (1.0 - lean) * wp.sqrt(wp.max(1.0 - x * x, 0.0)) + lean * radius * wp.sin(2.0 * _PI * u[1])
    up = wp.sqrt(wp.max(1.0 - x * x - y * y, 0.0))
    facet = x * first + y * second + up * stretched
    return wp.normalize(wp.vec3(alpha * facet[0], alpha * facet[1], wp.max(facet[2], 0.0)))


@wp.func
def sample(s: Surface, u: wp.vec3) -> wp.vec3:
    """A direction of density `density`, from three numbers in [0, 1); the eye must be above the surface."""
    first = _across(s.normal)
    second = wp.cross(s.normal, first)
    if u[2] < _specular_share(s):
        v = wp.vec3(wp.dot(first, s.eye), wp.dot(second, s.eye), wp.dot(s.normal, s.eye))
        facet = _visible_facet(v, _alpha(s), wp.vec2(u[0], u[1]))
        half = facet[0] * first + facet[1] * second + facet[2] * s.normal
        return 2.0 * wp.dot(s.eye, half) * half - s.eye
    radius = wp.sqrt(u[0])
    x = radius * wp.cos(2.0 * _PI * u[1])
    y = radius * wp.sin(2.0 * _PI * u[1])
    return x * first + y * second + wp.sqrt(wp.max(1.0 - u[0], 0.0)) * s.normal

"""A small physically based model of what a lit surface point looks like, in linear RGB.

Diffuse: Lambert. Specular: microfacets with the GGX distribution (Walter et al. 2007, eq. 33), the separable
Smith term in the
form of Karis 2013 and Schlick's Fresnel approximation (1994). Metallic workflow: a dielectric reflects ``0.08
* specular`` at
normal incidence and a metal its base colour. Lights have no distance and cast no shadow here (see the ray
caster); a light's
colour is the radiance of a white Lambertian surface that faces it. Ambient light and spherical harmonics
reach every point
without occlusion; a harmonic light is given by the nine coefficients of that same radiance over the normal
(Ramamoorthi and
Hanrahan 2001, order 2, already convolved with the cosine lobe), in the axes of the scene.
"""

import warp as wp


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
def _specular(s: Surface, light: wp.vec3, f0: wp.vec3, n_l: float) -> wp.vec3:
    """Specular reflectance times pi times the cosine."""
    half = wp.normalize(s.eye + light)
    n_v = wp.max(wp.dot(s.normal, s.eye), 1.0e-3)
    n_h = wp.max(wp.dot(s.normal, half), 0.0)
    v_h = wp.max(wp.dot(s.eye, half), 0.0)
    alpha = wp.max(s.roughness * s.roughness, 1.0e-3)
    a2 = alpha * alpha
    lobe = n_h * n_h * (a2 - 1.0) + 1.0
    k = 0.5 * alpha
    visibility = 0.25 / ((n_l * (1.0 - k) + k) * (n_v * (1.0 - k) + k))
    m = 1.0 - v_h
    m2 = m * m
    fresnel = f0 + (wp.vec3(1.0) - f0) * (m2 * m2 * m)
    return (a2 / (lobe * lobe) * visibility * n_l) * fresnel


@wp.func
def _harmonics(n: wp.vec3, c: wp.array[wp.vec3]) -> wp.vec3:
    """Real spherical harmonics to order 2, (l, m) = 00, 1-1, 10, 11, 2-2, 2-1, 20, 21, 22."""
    total = 0.2820948 * c[0]
    total += 0.4886025 * (n[1] * c[1] + n[2] * c[2] + n[0] * c[3])
    total += 1.0925484 * (n[0] * n[1] * c[4] + n[1] * n[2] * c[5] + n[0] * n[2] * c[7])
    total += 0.3153916 * (3.0 * n[2] * n[2] - 1.0) * c[6]
    total += 0.5462742 * (n[0] * n[0] - n[1] * n[1]) * c[8]
    return total


@wp.func
def shade(
    s: Surface,
    camera: int,
    ambient: wp.array[wp.vec3],
    light_cam: wp.array2d[wp.vec3],
    light_colors: wp.array[wp.vec3],
    harmonics: wp.array[wp.vec3],
    R_world_cam: wp.array[wp.mat33],
) -> wp.vec3:
    """Radiance towards the eye, linear RGB."""
    diffuse = (1.0 - s.metallic) * s.base
    f0 = wp.vec3(0.08 * s.specular * (1.0 - s.metallic)) + s.metallic * s.base
    light = ambient[0]
    if harmonics.shape[0] > 0:
        light = light + _harmonics(R_world_cam[camera] * s.normal, harmonics)
    color = wp.cw_mul(diffuse + f0, light)
    for k in range(light_colors.shape[0]):
        n_l = wp.dot(s.normal, light_cam[camera, k])
        if n_l > 0.0:
            color += n_l * wp.cw_mul(diffuse, light_colors[k])
            if s.metallic > 0.0 or s.specular > 0.0:
                color += wp.cw_mul(_specular(s, light_cam[camera, k], f0, n_l), light_colors[k])
    return color

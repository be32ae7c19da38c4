"""What a lit surface point looks like, in linear RGB: the lights of `render` and `rays` on a `material`.

Lights have no distance and cast no shadow here (see the ray caster); a light's colour is the radiance of a
white Lambertian surface that faces it. Ambient light and spherical harmonics reach every point without
occlusion; a harmonic light is given by the nine coefficients of that same radiance over the normal
(Ramamoorthi and Hanrahan 2001, order 2, already convolved with the cosine lobe), in the axes of the scene.
"""

import warp as wp

from dr_perception.render.shading.material import Surface, diffuse_color, normal_reflectance, reflected


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
def from_everywhere(
    s: Surface,
    reflectance: wp.vec3,
    camera: int,
    ambient: wp.array[wp.vec3],
    harmonics: wp.array[wp.vec3],
    R_world_cam: wp.array[wp.mat33],
) -> wp.vec3:
    """Colour under ambient light and harmonics, which nothing blocks."""
    light = ambient[0]
    if harmonics.shape[0] > 0:
        light = light + _harmonics(R_world_cam[camera] * s.normal, harmonics)
    return wp.cw_mul(reflectance, light)


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
    diffuse = diffuse_color(s)
    f0 = normal_reflectance(s)
    color = from_everywhere(s, diffuse + f0, camera, ambient, harmonics, R_world_cam)
    for k in range(light_colors.shape[0]):
        color += wp.cw_mul(reflected(s, light_cam[camera, k], diffuse, f0), light_colors[k])
    return color

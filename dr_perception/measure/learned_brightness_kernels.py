"""Kernels that learn the brightness of a surface and say whether it has a pattern worth comparing."""

import warp as wp

from dr_perception.device.poses import Poses, place, pose_of
from dr_perception.geometry.camera_warp import project
from dr_perception.measure.brightness import (
    Light,
    LightSquare,
    is_measured_at,
    is_visible_at,
    light_gain,
    luma_at,
    shade_basis,
    solve_light,
)
from dr_perception.measure.images import Images
from dr_perception.view.surface_samples import VisibleSurface, surface_size

_GREY = wp.constant(128.0)
_LEAST_SAMPLES = wp.constant(40.0)
_LARGEST_RESIDUAL = wp.constant(48.0)
_MOST_UNEXPLAINED = wp.constant(0.5)
"""Share of the variance of brightness, beyond shading, that the pattern may leave to be worth comparing."""
_STATE_GAIN = wp.constant(0.3)
_LEAST_FACING = wp.constant(0.4)
_LEAST_GAIN = wp.constant(0.25)
_MOST_SIGHTINGS = wp.constant(30.0)
_INDEPENDENT_SIGHTINGS = wp.constant(2.0)
"""More sightings make a texel no better: what is left is mostly highlights and shadows, not noise."""
_LEAST_NOISE = wp.constant(4.0)
"""Levels of 255 by which one sighting of a texel is off at least."""


@wp.struct
class Texels:
    """Points and unit normals (T,) on the faces of a model, with their brightness and how often it was seen.

    Brightness is NaN where nothing was seen.
    """

    points: wp.array[wp.vec3]
    normals: wp.array[wp.vec3]
    brightness: wp.array[float]
    sightings: wp.array[float]


@wp.struct
class Learning:
    """State of learning.

    light: of the newest frame that shows enough of what is known. contrast: mean squared residual [levels^2]
    that shading alone leaves of what is seen. plain, left: the same of what is known, and that of the lit
    pattern. These are means over the last frames, of which ``frames`` were compared. part: which of the known
    texels the newest frame teaches.
    """

    light: Light
    contrast: float
    plain: float
    left: float
    part: int
    frames: int


@wp.struct
class LearningRules:
    """What is learned from.

    margin_m: a depth that differs from the surface's by more belongs to something else. least_contrast:
    levels of 255 by which brightness must scatter beyond shading to be a pattern. parts: a frame teaches
    every so-many-th of the texels that are known already.
    """

    margin_m: float
    least_contrast: float
    parts: int


@wp.func
def plain_basis(normal: wp.vec3) -> Light:
    """`shade_basis` of a surface of even brightness, whose offset cannot be told from its shade."""
    basis = shade_basis(_GREY, normal)
    basis[4] = 0.0
    return basis


@wp.func
def _bounded_square(residual: float) -> float:
    return wp.min(residual * residual, _LARGEST_RESIDUAL * _LARGEST_RESIDUAL)


@wp.func
def _blended(old: float, total: wp.vec2, gain: float) -> float:
    """Running mean with a new sum and its count; the first one counts in full."""
    if total[1] == 0.0:
        return old
    weight = wp.where(old == 0.0, 1.0, gain)
    return old + weight * (total[0] / total[1] - old)


@wp.kernel(enable_backward=False)
def assess_pattern(
    surface: VisibleSurface,
    poses: Poses,
    images: Images,
    rules: LearningRules,
    # output
    states: wp.array[Learning],
    enabled: wp.array[int],
):
    """Fit the light of the frame to the pattern, and to a surface of one brightness, and compare them.

    The pattern is enabled while shading alone leaves more than ``least_contrast`` levels of 255 (root mean
    square) and the pattern less than half of their variance. While nothing is known, the surface counts as
    one of even brightness, so that shade is not learned for pattern.
    """
    camera = images.lens[0]
    pose = pose_of(poses, 0)
    A = LightSquare()
    b = Light()
    A_plain = LightSquare()
    b_plain = Light()
    known = float(0.0)
    n = surface_size(surface, 0)
    for i in range(n):
        sample = surface.samples[0, i]
        p = place(pose, sample.point)
        uv = project(camera, p)
        if is_visible_at(p, uv, camera, images.depth, rules.margin_m):
            value = luma_at(images.color, uv[0], uv[1])
            plain = plain_basis(pose.R * sample.normal)
            A_plain += wp.outer(plain, plain)
            b_plain += value * plain
            if sample.brightness >= 0.0:
                basis = shade_basis(sample.brightness, pose.R * sample.normal)
                A += wp.outer(basis, basis)
                b += value * basis
                known += 1.0
    s = states[0]
    s.part = (s.part + 1) % rules.parts
    light_plain = solve_light(A_plain, b_plain)
    if known > _LEAST_SAMPLES:
        s.light = solve_light(A, b)
    elif s.frames == 0:
        s.light = light_plain
    contrast = wp.vec2()
    plain_known = wp.vec2()
    left = wp.vec2()
    for i in range(n):
        sample = surface.samples[0, i]
        p = place(pose, sample.point)
        uv = project(camera, p)
        if is_visible_at(p, uv, camera, images.depth, rules.margin_m):
            value = luma_at(images.color, uv[0], uv[1])
            normal = pose.R * sample.normal
            plain_square = _bounded_square(value - wp.dot(light_plain, plain_basis(normal)))
            contrast += wp.vec2(plain_square, 1.0)
            if sample.brightness >= 0.0:
                plain_known += wp.vec2(plain_square, 1.0)
                expected = wp.dot(s.light, shade_basis(sample.brightness, normal))
                left += wp.vec2(_bounded_square(value - expected), 1.0)
    s.contrast = _blended(s.contrast, contrast, _STATE_GAIN)
    if known > _LEAST_SAMPLES:
        gain = wp.max(_STATE_GAIN, 1.0 / float(s.frames + 1))
        s.plain = _blended(s.plain, plain_known, gain)
        s.left = _blended(s.left, left, gain)
        s.frames += 1
    least2 = rules.least_contrast * rules.least_contrast
    patterned = s.plain > least2 and s.left < _MOST_UNEXPLAINED * s.plain
    enabled[0] = wp.where(patterned, 1, 0)
    states[0] = s


@wp.kernel(enable_backward=False)
def learn_texels(
    poses: Poses,
    images: Images,
    rules: LearningRules,
    states: wp.array[Learning],
    # output
    texels: Texels,
):
    """Blend what the frame shows into the texels that face the camera and are measured there.

    Of those that are known already, every ``parts``-th learns; none do while shading explains what is seen.
    """
    i = wp.tid()
    if states[0].contrast < 0.5 * rules.least_contrast * rules.least_contrast:
        return
    known = texels.sightings[i] > 0.0
    if known and i % rules.parts != states[0].part:
        return
    light = states[0].light
    camera = images.lens[0]
    pose = pose_of(poses, 0)
    p = place(pose, texels.points[i])
    normal = pose.R * texels.normals[i]
    if p[2] <= 0.0 or -wp.dot(normal, p) < _LEAST_FACING * wp.length(p):
        return
    uv = project(camera, p)
    if not is_measured_at(p, uv, camera, images.depth, rules.margin_m):
        return
    gain = light_gain(light, normal)
    if gain < _LEAST_GAIN * light[0]:
        return
    seen = wp.clamp((luma_at(images.color, uv[0], uv[1]) - 255.0 * light[4]) / gain, 0.0, 510.0)
    sightings = wp.min(texels.sightings[i] + 1.0, _MOST_SIGHTINGS)
    texels.sightings[i] = sightings
    if sightings == 1.0:
        texels.brightness[i] = seen
    else:
        texels.brightness[i] = texels.brightness[i] + (seen - texels.brightness[i]) / sightings


@wp.kernel(enable_backward=False)
def slope_texels(
    neighbour: wp.array2d[int],
    weight: wp.array2d[wp.vec3],
    rules: LearningRules,
    states: wp.array[Learning],
    texels: Texels,
    # output
    gradient: wp.array[wp.vec3],
):
    """Gradient of brightness at texels that are known, over those neighbours that are.

    Of those that have one already, every ``parts``-th gets a new one.

    It is shrunk by the share that noise of the texels has in its square on average (positive-part James and
    Stein 1961), so that a surface without a pattern has no gradient, however little was seen of it.
    """
    i = wp.tid()
    has_one = wp.dot(gradient[i], gradient[i]) >= 0.0  # not so for NaN
    if texels.sightings[i] == 0.0 or (has_one and i % rules.parts != states[0].part):
        return
    here = texels.brightness[i]
    total = wp.vec3()
    all_weights = wp.vec3()
    scatter = float(0.0)
    for k in range(neighbour.shape[1]):
        j = neighbour[i, k]
        there = texels.brightness[j]
        if there >= 0.0:
            w = weight[i, k]
            total += (there - here) * w
            all_weights += w
            scatter += wp.dot(w, w) / wp.min(texels.sightings[j], _INDEPENDENT_SIGHTINGS)
    scatter += wp.dot(all_weights, all_weights) / wp.min(texels.sightings[i], _INDEPENDENT_SIGHTINGS)
    noise = wp.max(states[0].left, _LEAST_NOISE * _LEAST_NOISE)
    gradient[i] = wp.max(1.0 - noise * scatter / wp.max(wp.dot(total, total), 1.0e-12), 0.0) * total

# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""How well the pattern on a model explains an image at a pose, by what light and camera leave of it.

The surface that the nearest stored view shows is cut into patches. In each, the image is the model's colours
times one gain, plus an offset of each channel, plus noise, none of them known: exposure, white balance, shade
and a lamp that shines on a patch do not matter. A patch counts by how much better that explains it than its
own mean does, as a log likelihood ratio; where a pattern is expected and another or none is seen, it counts
against the pose. Saturated pixels are unknown, and a patch may always be covered by a glare or a sticker
(`_ODD`), so that no patch counts far against.
"""

import warp as wp

from dr_perception.device.poses import Poses, place, pose_of
from dr_perception.geometry.camera_warp import CameraParams, project
from dr_perception.hypothesis.judge_kernels import ViewTable, nearest_view
from dr_perception.hypothesis.palette import Palette, add_patch, palette_evidence
from dr_perception.measure.images import Images

# Unrolled, the patches would take as long to compile as all other kernels of this room.
wp.set_module_options({"max_unroll": 1})

Looks = wp.types.vector(length=4, dtype=wp.float32)
"""What a pose shows: log likelihood ratios `PATTERN` and `COLORS`, and how plainly: `POSSIBLE`, `SHOWN`."""
PATTERN = wp.constant(0)
"""Of how colours change within patches."""
COLORS = wp.constant(1)
"""Of what colours they are, see `dr_perception.hypothesis.palette`."""
POSSIBLE = wp.constant(2)
"""What that of the pattern would be if the image showed just that: how much of a pattern the view has."""
SHOWN = wp.constant(3)
"""Share of that which shows."""

PATCHES = 4
"""Patches along each side of a view: of 2 to 6, what ranked poses of six real sets best."""
_PATCHES = wp.constant(PATCHES * PATCHES)
_FEWEST = wp.constant(4.0)
_SIGMA = wp.constant(10.0)
"""Noise of a colour in grey levels of 255, with what a decimated model leaves out; 5 and 20 rank as well."""
_SHARED = wp.constant(2.0)
"""Samples that carry the information of one: they lie closer than the errors of poses and textures."""
_LEAST_GAIN = wp.constant(0.2)
_MOST_GAIN = wp.constant(2.5)
"""Gains of a texture that a camera shows: darker or brighter than these are no pattern of the model's."""
_ODD = wp.constant(0.1)
"""Chance of a patch that looks like nothing of the model though it is there."""
_SATURATED = wp.constant(250.0)
_MOST = wp.constant(20.0)
"""Log likelihood ratio of all patches beyond which nothing is learned: a model's errors are shared by all."""


@wp.func
def _mean_color(image: wp.array2d[wp.vec3ub], x: int, y: int) -> wp.vec3:
    """Mean colour of the pixels around one; the caller keeps them inside the image."""
    total = wp.vec3()
    for k in range(9):
        c = image[y + k / 3 - 1, x + k % 3 - 1]
        total += wp.vec3(float(c[0]), float(c[1]), float(c[2]))
    return total / 9.0


@wp.func
def _seen_pixel(p: wp.vec3, camera: CameraParams, depth: wp.array2d[float], hidden_m: float) -> wp.vec2i:
    """Pixel of a point, (-1, -1) where it is not seen."""
    nowhere = wp.vec2i(-1, -1)
    if p[2] <= 0.01:
        return nowhere
    uv = project(camera, p)
    x = wp.int32(wp.floor(uv[0] + 0.5))
    y = wp.int32(wp.floor(uv[1] + 0.5))
    if x < 1 or y < 1 or x >= camera.width - 1 or y >= camera.height - 1:
        return nowhere
    z = depth[y, x]
    if z > 0.0 and z <= p[2] - hidden_m:
        return nowhere
    return wp.vec2i(x, y)


@wp.func
def patch_evidence(n: float, mm: float, vv: float, mv: float) -> float:
    """Log likelihood ratio of a patch of ``n`` samples, from (co)variances of model and image.

    Each is a mean over samples and channels, in squared grey levels.
    """
    gain = wp.clamp(mv / (mm + 1.0e-6), _LEAST_GAIN, _MOST_GAIN)
    left = wp.max(vv - 2.0 * gain * mv + gain * gain * mm, 0.0)
    noise = _SIGMA * _SIGMA
    ratio = 0.5 * n / _SHARED * wp.log((vv + noise) / (left + noise))
    return wp.log((1.0 - _ODD) * wp.exp(wp.min(ratio, 50.0)) + _ODD)


@wp.kernel(enable_backward=False)
def judge_looks(
    poses: Poses,
    views: ViewTable,
    images: Images,
    hidden_m: float,
    has_color: wp.array[int],
    # output
    looks: wp.array[Looks],
):
    """What the pattern and colours of every pose say (P,); 0 where there are none, or no colour image."""
    problem = wp.tid()
    looks[problem] = Looks()
    if has_color[0] == 0 or views.colors.shape[0] == 0:
        return
    camera = images.lens[0]
    pose = pose_of(poses, problem)
    view = nearest_view(views, wp.normalize(-(wp.transpose(pose.R) * pose.t)))
    total = float(0.0)
    possible = float(0.0)
    palette = Palette()
    for patch in range(_PATCHES):
        n = float(0.0)
        m1 = wp.vec3()
        v1 = wp.vec3()
        mm = float(0.0)
        vv = float(0.0)
        mv = float(0.0)
        for k in range(views.patches[view, patch], views.patches[view, patch + 1]):
            sample = views.by_patch[view, k]
            at = _seen_pixel(place(pose, views.points[view, sample]), camera, images.depth, hidden_m)
            if at[0] < 0:
                continue
            seen = _mean_color(images.color, at[0], at[1])
            if wp.max(wp.max(seen[0], seen[1]), seen[2]) >= _SATURATED:
                continue
            expected = 255.0 * views.colors[view, sample]
            n += 1.0
            m1 += expected
            v1 += seen
            mm += wp.dot(expected, expected)
            vv += wp.dot(seen, seen)
            mv += wp.dot(expected, seen)
        if n >= _FEWEST:
            m1 = m1 / n
            v1 = v1 / n
            palette = add_patch(palette, m1, v1)
            mm = (mm / n - wp.dot(m1, m1)) / 3.0
            vv = (vv / n - wp.dot(v1, v1)) / 3.0
            mv = (mv / n - wp.dot(m1, v1)) / 3.0
            total += patch_evidence(n, mm, vv, mv)
            possible += patch_evidence(n, mm, mm, mm)
    bounded = wp.clamp(total, -0.5 * _MOST, _MOST)
    looks[problem] = Looks(bounded, palette_evidence(palette), possible, total / wp.max(possible, 1.0))

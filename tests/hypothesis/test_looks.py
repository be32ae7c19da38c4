"""What a pattern says of a pose, whatever light and camera make of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import warp as wp
from scipy.stats import multivariate_normal

from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.geometry import Camera, Frame, Mesh, ObjectModel, exp_so3, make_transform
from dr_perception.hypothesis.looks_kernels import COLORS, PATTERN, POSSIBLE, SHOWN, Looks, judge_looks
from dr_perception.hypothesis.mirror import MirroredLooks
from dr_perception.hypothesis.tables import search_model
from dr_perception.measure.frame_buffers import FrameBuffers

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
CAMERA = Camera(200, 160, 300.0, 300.0, 99.5, 79.5)
CPU = wp.get_device("cpu")
T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.4]))
TURNED = make_transform(exp_so3(np.array([0.0, 0.0, np.pi])), np.array([0.0, 0.0, 0.4]))


def plate(pattern: Pattern) -> ObjectModel:
    """A coloured plate with its pattern towards the camera."""
    n = 33
    x, y = np.meshgrid(np.linspace(-0.06, 0.06, n), np.linspace(-0.05, 0.05, n))
    front = np.column_stack([x.ravel(), y.ravel(), np.full(n * n, -0.005)])
    back = front + np.array([0.0, 0.0, 0.01])
    i, j = (a.ravel() for a in np.meshgrid(np.arange(n - 1), np.arange(n - 1)))
    k = j * n + i
    quads = np.concatenate([np.column_stack([k, k + n, k + 1]), np.column_stack([k + 1, k + n, k + n + 1])])
    faces = np.concatenate([quads, n * n + quads[:, ::-1]]).astype(np.int32)
    colors = np.tile(pattern(front[:, 0], front[:, 1]), (2, 1)).astype(np.uint8)
    return ObjectModel("plate", Mesh(np.concatenate([front, back]), faces, vertex_colors=colors))


def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Colours (N, 3) at places on the plate, alike nowhere."""
    waves = [np.sin(90.0 * x + 1.0) * np.cos(70.0 * y), np.sin(110.0 * y + 60.0 * x), np.cos(120.0 * x - 0.5)]
    return np.column_stack([110.0 + 70.0 * wave for wave in waves])


def blocks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Colours (N, 3) of another pattern, which is not like any mirror image of its own."""
    colors = np.random.default_rng(2).uniform(30.0, 220.0, (7, 6, 3))
    i, j = (x + 0.06) / 0.12 * 6.0, (y + 0.05) / 0.1 * 5.0
    return colors[np.clip(np.rint(i), 0, 6).astype(int), np.clip(np.rint(j), 0, 5).astype(int)]


def image(
    gain: float = 1.0, offset: tuple[float, float, float] = (0.0, 0.0, 0.0), shown: Pattern = pattern
) -> np.ndarray:
    """The plate at `T`, in some light, before grey."""
    u, v = np.meshgrid(np.arange(200), np.arange(160))
    x, y = (u - 99.5) / 300.0 * 0.395, (v - 79.5) / 300.0 * 0.395
    seen = gain * shown(x.ravel(), y.ravel()).reshape(160, 200, 3) + offset
    outside = (np.abs(x) > 0.06) | (np.abs(y) > 0.05)
    seen[outside] = 90.0
    return np.clip(seen, 0.0, 255.0)


MODEL = plate(pattern)


def looks(
    pose: np.ndarray, color: np.ndarray, depth: np.ndarray | None = None, model: ObjectModel = MODEL
) -> float:
    """What the pattern says of a pose (4, 4)."""
    return float(judged(pose, color, depth, model)[int(PATTERN)])


def judged(
    pose: np.ndarray, color: np.ndarray, depth: np.ndarray | None = None, model: ObjectModel = MODEL
) -> np.ndarray:
    """All that is said of the looks of a pose (4, 4): `Looks` (4,)."""
    out = wp.zeros(1, dtype=Looks, device=CPU)
    poses = PoseArrays(1, CPU)
    poses.set(pose[None])
    depth = np.zeros((160, 200), np.float32) if depth is None else depth
    frame = FrameBuffers(CAMERA, CPU)
    frame.begin(Frame(color.astype(np.uint8), depth, CAMERA, 0))
    frame.upload((0, 0, CAMERA.width, CAMERA.height))
    views = search_model(model, 1e-3, CPU).views
    inputs = [poses.struct, views, frame.images, 0.02, wp.full(1, 1, dtype=int, device=CPU)]
    wp.launch(judge_looks, 1, inputs=inputs, outputs=[out], device=CPU)
    return np.asarray(out.numpy()[0])


BLOCKS = plate(blocks)


def mirrored_looks(color: np.ndarray | None, pose: np.ndarray = T) -> float:
    """What the best mirror image of the pattern says of a pose (4, 4)."""
    frame = FrameBuffers(CAMERA, CPU)
    frame.begin(Frame(color, np.zeros((160, 200), np.float32), CAMERA, 0))
    frame.upload((0, 0, CAMERA.width, CAMERA.height))
    return MirroredLooks(search_model(BLOCKS, 1e-3, CPU).views, frame, 0.02).best(pose)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_pattern_shows_what_the_model_does_not(axis: int) -> None:
    """The plate mirrored in either plane in which its shape is alike; one mirror image is no turned other."""
    flipped = np.ascontiguousarray(np.flip(image(shown=blocks), 1 - axis)).astype(np.uint8)
    # The image's middle is half a pixel off the axis on either side, so that flipping keeps it.
    assert mirrored_looks(flipped) > looks(T, flipped, model=BLOCKS) + 5.0
    # Through the plate it is its own mirror image, back and front being coloured alike.
    assert mirrored_looks(image(shown=blocks).astype(np.uint8)) <= looks(T, image(shown=blocks), model=BLOCKS)
    assert mirrored_looks(None) == 0.0


@pytest.mark.parametrize("gain", [0.35, 1.0])
@pytest.mark.parametrize("offset", [(0.0, 0.0, 0.0), (60.0, 20.0, 5.0)])
def test_light_does_not_matter(gain: float, offset: tuple[float, float, float]) -> None:
    color = image(gain, offset)
    assert looks(T, color) > 10.0
    assert looks(TURNED, color) < 5.0


def test_a_saturated_or_glaring_half_leaves_the_other() -> None:
    color = image()
    color[:, :100] = 255.0
    assert looks(T, color) > 5.0
    color[:, :100] = 200.0  # a reflection, not saturated
    assert looks(T, color) > 0.0


def test_what_something_nearer_hides_says_nothing() -> None:
    depth = np.full((160, 200), 0.4, np.float32)
    color = image()
    color[:, 60:] = 255.0 - color[:, 60:]
    shown = looks(T, color, depth)
    depth[:, 60:] = 0.3
    assert shown < 0.0 < looks(T, color, depth)
    assert looks(T, color, np.full((160, 200), 0.3, np.float32)) == 0.0


def test_a_pattern_where_none_is_seen_counts_against_but_not_far() -> None:
    assert -10.0 <= looks(T, np.full((160, 200, 3), 120.0)) < -2.0


def halves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Colours (N, 3) of a plate that is blue on one side and yellow on the other."""
    return np.where(x[:, None] < 0.0, [60.0, 80.0, 200.0], [210.0, 190.0, 60.0])


HALVES = plate(halves)


def colors(color: np.ndarray, pose: np.ndarray = T, model: ObjectModel = HALVES) -> float:
    """What the colours say of a pose (4, 4)."""
    return float(judged(pose, color, model=model)[int(COLORS)])


def test_colors_tell_a_thing_from_one_of_other_colors() -> None:
    """In dim, reddish light that leaves them half as saturated as well."""
    shown = image(shown=halves)
    dim = np.clip(
        0.5 * (0.5 * shown + 0.5 * shown.mean(axis=-1, keepdims=True)) * [1.2, 1.0, 0.9], 0.0, 255.0
    )
    for seen in (shown, dim):
        assert colors(seen) > 3.0
        assert colors(seen, TURNED) < -3.0
    white = np.full((160, 200, 3), 230.0)
    assert colors(white) < -3.0
    assert colors(white, model=plate(lambda x, y: np.full((len(x), 3), 200.0))) > 0.0


def test_colors_that_cannot_be_seen_say_nothing() -> None:
    assert colors(np.full((160, 200, 3), 255.0)) == 0.0
    depth = np.full((160, 200), 0.3, np.float32)
    assert judged(T, image(shown=halves), depth, HALVES)[int(COLORS)] == 0.0


def test_colors_are_as_likely_as_their_gaussians_say() -> None:
    """Against dense covariances over all patches and both ratios."""
    seen = np.full((160, 200, 3), [90.0, 110.0, 140.0])
    model = plate(lambda x, y: np.full((len(x), 3), [150.0, 120.0, 100.0]))
    views = search_model(model, 1e-3, CPU).views
    facing = int(np.argmax(views.directions.numpy() @ [0.0, 0.0, -1.0]))
    n = int((np.diff(views.patches.numpy()[facing]) >= 4).sum())
    m, s = ratios([150.0, 120.0, 100.0]), ratios([90.0, 110.0, 140.0])
    m, s = np.repeat(m, n), np.repeat(s, n)
    channel = np.kron(np.eye(2), np.ones((n, n)))
    own = 0.15**2 * np.eye(2 * n) + 0.3**2 * np.outer(m, m) + 0.2**2 * channel
    other = 0.18**2 * np.eye(2 * n) + 0.28**2 * channel
    expected = multivariate_normal.logpdf(s, 0.65 * m, own) - multivariate_normal.logpdf(s, 0.0 * m, other)
    assert colors(seen, model=model) == pytest.approx(expected, abs=0.05)


def ratios(color: list[float]) -> np.ndarray:
    """Logarithms of red and of blue over green."""
    red, green, blue = (channel + 20.0 for channel in color)
    return np.log([red / green, blue / green])


def test_the_share_that_shows_is_that_of_a_perfect_image() -> None:
    right, faint, wrong = (judged(T, seen) for seen in (image(), 0.1 * image() + 100.0, image(shown=blocks)))
    possible, shown = int(POSSIBLE), int(SHOWN)
    assert right[shown] > 0.5 > 0.3 > faint[shown], "the plate is drawn from texels, a little blurred"
    assert wrong[shown] < 0.05
    assert len({float(one[possible]) for one in (right, faint, wrong)}) == 1, "it is of the model alone"
    np.testing.assert_allclose(wrong[shown], wrong[int(PATTERN)] / wrong[possible], rtol=1e-4)

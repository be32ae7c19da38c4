"""Pixels are shared out among the pieces of outline in them: blended values are convex combinations."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from numpy.typing import NDArray
from render_cases import CAMERA, LENSES, box, enlarged, lens, pose, torus

from dr_perception.geometry import Camera, Mesh, make_transform, random_rotation
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene
from dr_perception.render.outline.piece import Candidate, Piece
from dr_perception.render.outline.shares import shadow_area, share_pixels, wedge_of

WIDE = {
    "plumb_bob": Camera(96, 72, 80.0, 80.0, 47.5, 35.5, (-0.28, 0.09, 0.001, -0.002, -0.01)),
    "equidistant": Camera(96, 72, 42.0, 43.0, 47.0, 36.0, (0.02, -0.01, 0.003, -0.001), "equidistant"),
}
"""Lenses that bend edges by pixels."""
MESHES = {
    "box": box((0.08, 0.05, 0.03)),
    "torus": torus(0.04, 0.012, 32, 16),
    "rod": box((0.1, 0.003, 0.003)),
}


def _poses(count: int, seed: int) -> NDArray:
    """Poses of something of 100 mm, some of them beyond the border of the image."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((-0.3, -0.25, 1.0), (0.3, 0.25, 1.0), (count, 3)) * rng.uniform(
        0.1, 0.25, (count, 1)
    )
    return np.array([[make_transform(random_rotation(rng), place)] for place in places])


@wp.kernel
def _wedges(
    starts: wp.array[wp.vec2],
    ends: wp.array[wp.vec2],
    # output
    firsts: wp.array[float],
    widths: wp.array[float],
    areas: wp.array[float],
):
    i = wp.tid()
    w = wedge_of(starts[i], ends[i])
    firsts[i] = w.first
    widths[i] = w.width
    areas[i] = shadow_area(w)


def _segments(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Segments (count, 2, 2) in the unit square about the origin; in pairs that meet if they are even."""
    ends = rng.uniform(-0.5, 0.5, (count, 2, 2)).astype(np.float32)
    if count % 2 == 0:
        ends[1::2, 0] = ends[::2, 1]
    return ends


def _hits(segments: NDArray, points: NDArray) -> NDArray[np.float64]:
    """Where the way from the origin to each point crosses each segment, inf where it does not."""
    a, e = segments[:, 0][:, None], (segments[:, 1] - segments[:, 0])[:, None]
    p = points[None]
    det = p[..., 0] * e[..., 1] - p[..., 1] * e[..., 0]
    at = (a[..., 0] * e[..., 1] - a[..., 1] * e[..., 0]) / det
    along = (a[..., 0] * p[..., 1] - a[..., 1] * p[..., 0]) / det
    return np.where((at > 0) & (at < 1) & (along >= 0) & (along <= 1), at, np.inf)


def _share(segments: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Shares of one pixel that its pieces get, the shadows of each alone, and which are still sloped."""
    count = len(segments)
    start, end = (wp.array(segments[:, k], dtype=wp.vec2, device="cpu") for k in range(2))
    firsts, widths, areas = (wp.zeros(count, dtype=float, device="cpu") for _ in range(3))
    wp.launch(_wedges, count, [start, end], [firsts, widths, areas], device="cpu")
    along = segments[:, 1] - segments[:, 0]
    pieces = np.zeros(count, Piece.numpy_dtype())
    pieces["outward"] = np.stack([along[:, 1], -along[:, 0]], 1)
    pieces["middle"] = segments.mean(1)
    pieces["direction"], pieces["width"] = firsts.numpy(), widths.numpy()
    pieces["area"] = pieces["cover"] = areas.numpy()
    pieces["sloped"] = 1
    pieces["face_out"] = pieces["back_face"] = pieces["next"] = -1
    pieces["candidate"] = np.arange(count)
    candidates = np.zeros(count, Candidate.numpy_dtype())
    candidates["next"] = np.arange(count) - 1
    shared = wp.array(pieces, dtype=Piece, device="cpu")
    wp.launch(
        share_pixels,
        count,
        [
            wp.array([[[count - 1]]], dtype=int, device="cpu"),
            wp.array(candidates, dtype=Candidate, device="cpu"),
            wp.array([count], dtype=int, device="cpu"),
            wp.array([[[-1]]], dtype=int, device="cpu"),
            wp.array(np.arange(count, dtype=np.int32), dtype=int, device="cpu"),
        ],
        [shared],
        device="cpu",
    )
    return shared.numpy()["area"], areas.numpy(), shared.numpy()["sloped"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_part_of_a_pixel_is_given_away_once(count: int) -> None:
    """Pieces get what lies between them and the next ones, by sampling, if they do not cross."""
    rng = np.random.default_rng(count)
    grid = (np.arange(120) + 0.5) / 120 - 0.5
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    checked = 0
    for _ in range(60):
        segments = _segments(count, rng)
        shares, shadows, sloped = _share(segments)
        hits = _hits(segments, points)
        hidden = np.isfinite(hits).any(0)
        np.testing.assert_allclose(shadows, np.isfinite(hits).mean(1), atol=5e-3)
        assert (shares >= 0.0).all() and shares.sum() <= 1.0 + 1e-6
        last = np.where(np.isfinite(hits), hits, -1.0).argmax(0)
        expected = np.array([(hidden & (last == k)).mean() for k in range(count)])
        checked += not _any_cross(segments)
        if not _any_cross(segments):
            np.testing.assert_allclose(shares, expected, atol=5e-3)
            before = np.array([((hits < hit) & np.isfinite(hit)).any(0).mean() for hit in hits])
            assert not sloped[(before > 5e-3) | (hidden.mean() > 0.51)].any()
            assert sloped[(before == 0.0) & (hidden.mean() < 0.49)].all()
    assert checked >= 3


def _any_cross(segments: NDArray) -> bool:
    """Whether two segments cross elsewhere than at their ends."""
    a, e = segments[:, 0].astype(np.float64), (segments[:, 1] - segments[:, 0]).astype(np.float64)
    d = a[None] - a[:, None]
    det = e[:, None, 0] * e[None, :, 1] - e[:, None, 1] * e[None, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = (d[..., 0] * e[None, :, 1] - d[..., 1] * e[None, :, 0]) / det
        v = (d[..., 0] * e[:, None, 1] - d[..., 1] * e[:, None, 0]) / det
    return bool(((u > 1e-6) & (u < 1 - 1e-6) & (v > 1e-6) & (v < 1 - 1e-6)).any())


@pytest.mark.parametrize("camera", [*WIDE, "pinhole"])
@pytest.mark.parametrize(
    "mesh", [box((0.08, 0.05, 0.03)), torus(0.04, 0.012, 32, 16), box((0.1, 0.003, 0.003))]
)
def test_blended_images_stay_among_what_they_mix(mesh: Mesh, camera: str) -> None:
    """Before, outlines that cross and centres next to bent edges gave 1.5, -0.5 and negative colours."""
    material = Material(albedo=(1.0, 0.5, 0.2), crease_angle_rad=0.0)
    poses = _poses(24, 3)
    renderer, scene = Renderer("cpu"), Scene([Instance(mesh, poses[0, 0], material)])
    parameters = renderer.parameters(scene, WIDE.get(camera, lens("pinhole")), poses=poses)
    images = renderer.render(scene, parameters, RenderOptions(antialias_depth=True))
    coverage, depth = images.silhouette.numpy(), images.depth.numpy()
    assert coverage.min() >= 0.0 and coverage.max() <= 1.0 + 1e-5
    assert images.color.numpy().min() >= -1e-6 and depth.min() >= 0.0
    assert np.linalg.norm(images.normal.numpy(), axis=-1).max() <= 1.0 + 1e-5


@pytest.mark.parametrize("name", WIDE)
def test_bent_edges_cover_what_they_cover(name: str) -> None:
    """Centres that an edge passes near are on the side on which the rasteriser has them."""
    camera, samples = WIDE[name], 4
    poses, options = _poses(60, 5), RenderOptions(channels=("silhouette",))
    renderer, scene = Renderer("cpu", 1e4), Scene.of(box((0.12, 0.08, 0.05)), poses[0, 0])
    parameters = renderer.parameters(scene, enlarged(camera, samples), poses=poses)
    fine = renderer.render(scene, parameters, options).silhouette.numpy()
    parameters = renderer.parameters(scene, camera, poses=poses)
    coverage = renderer.render(scene, parameters, options).silhouette.numpy()
    expected = fine.reshape(len(poses), camera.height, samples, camera.width, samples).mean((2, 4))
    assert np.abs(coverage - expected).max() < 0.08
    assert np.sqrt(((coverage - expected) ** 2).mean()) < 2e-3


def _plate(columns: int, rows: int, half: float = 0.05) -> Mesh:
    """A square plate about the origin, turned to -z, of so many metres from its middle to its sides."""
    x, y = np.meshgrid(np.linspace(-half, half, columns + 1), np.linspace(-half, half, rows + 1))
    vertices = np.stack([x, y, 0.0 * x], -1).reshape(-1, 3)
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1)
    a, b, c, d = corner, corner + 1, corner + columns + 2, corner + columns + 1
    return Mesh(vertices, np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)]))


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "before another"])
@pytest.mark.parametrize("cells", [1, 20])
def test_an_edge_through_centres_covers_half_of_their_pixels(cells: int, behind: bool) -> None:
    """The grid of the rasteriser has 1/256 px: what it decides about the centre must not be decided twice."""
    camera, z = Camera(64, 48, 100.0, 100.0, 32.0, 24.0), 0.5
    offsets = np.linspace(-0.008, 0.008, 65)
    poses = np.tile(np.eye(4), (len(offsets), 2, 1, 1))
    poses[:, 0, :3, 3] = np.stack(
        [offsets * z / 100.0, np.full(len(offsets), 0.0013), np.full(len(offsets), z)], 1
    )
    poses[:, 1, :3, 3] = (0.0, 0.0, 0.9 if behind else -1.0)
    dark, bright = Material(albedo=(0.0, 0.0, 0.0)), Material(albedo=(1.0, 1.0, 1.0))
    lights = Lights(ambient=(1.0, 1.0, 1.0), directions=(), colors=())
    plates = [Instance(_plate(cells, cells), np.eye(4), bright), Instance(_plate(4, 4, 0.3), np.eye(4), dark)]
    renderer, scene = Renderer("cpu"), Scene(plates, lights)
    images = renderer.render(scene, renderer.parameters(scene, camera, poses=poses))
    for column, sign in ((22, -1.0), (42, 1.0)):
        color = images.color.numpy()[:, 17:32, column, 0]
        assert np.abs(color - (0.5 + sign * offsets[:, None])).max() < 0.02
        if not behind:
            coverage = images.silhouette.numpy()[:, 17:32, column]
            assert np.abs(coverage - (0.5 + sign * offsets[:, None])).max() < 0.02


def test_colours_stay_positive_where_they_change_within_a_pixel() -> None:
    rng, plate, renderer = np.random.default_rng(1), _plate(20, 20), Renderer("cpu")
    for _ in range(6):
        colors = (255 * (rng.random((len(plate.vertices), 3)) > 0.5)).astype(np.uint8)
        scene = Scene([Instance(Mesh(plate.vertices, plate.faces, vertex_colors=colors))])
        poses = [[make_transform(random_rotation(rng), np.array([0.0, 0.0, 0.8]))] for _ in range(12)]
        parameters = renderer.parameters(scene, CAMERA, poses=poses)
        hard = renderer.render(scene, parameters, RenderOptions(antialias=False)).color.numpy()
        assert hard.min() >= -0.02  # centres lie outside of their faces by what the grid rounds
        assert renderer.render(scene, parameters).color.numpy().min() >= hard.min() - 1e-6


def test_a_lens_that_folds_back_draws_nothing_twice() -> None:
    """r (1 - 0.28 r^2) falls beyond 1.09, where it puts what is out of view into the image again."""
    camera = Camera(96, 72, 80.0, 80.0, 47.5, 35.5, (-0.28, 0.0, 0.0, 0.0))
    renderer, scene = Renderer("cpu"), Scene.of(box(), np.eye(4))
    poses = np.array(
        [[make_transform(np.eye(3), np.array([x, 0.05, 1.0]))] for x in np.arange(1.2, 2.0, 0.1)]
    )
    images = renderer.render(scene, renderer.parameters(scene, camera, poses=poses))
    assert (images.silhouette.numpy() == 0.0).all() and (images.color.numpy() == 0.0).all()


@pytest.mark.parametrize("name", LENSES)
def test_colour_next_to_an_outline_goes_on_as_it_changes(name: str) -> None:
    """A face with an even change of colour keeps it up to its edges."""
    corners = np.array([[-0.05, -0.04, 0.0], [0.05, -0.04, 0.0], [0.05, 0.04, 0.0], [-0.05, 0.04, 0.0]])
    ramp = np.array([[0, 0, 0], [255, 255, 255], [255, 255, 255], [0, 0, 0]], dtype=np.uint8)
    plate = Mesh(corners, np.array([[0, 2, 1], [0, 3, 2]]), vertex_colors=ramp)
    T = pose(1.5, (0.2, -0.3, 0.1))
    camera, samples = lens(name), 12
    fine = enlarged(camera, samples)
    renderer, scene = Renderer("cpu", 1e4), Scene.of(plate, T)
    hard = renderer.render(scene, fine, RenderOptions(channels=("color",), antialias=False)).numpy()["color"]
    color = renderer.render(scene, camera, RenderOptions(channels=("color",))).numpy()["color"]
    expected = hard.reshape(camera.height, samples, camera.width, samples, 3).mean((1, 3))
    assert np.sqrt(((color - expected) ** 2).mean()) < 3.2e-4

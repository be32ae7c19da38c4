"""Points that a model view yields: on the mesh, visible, on the outline; convex, hollow and thin meshes."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import box, torus
from view_cases import contour, make_view, surface

from dr_perception.body.model_buffers import ModelBuffers
from dr_perception.geometry import Mesh, bounding_sphere, make_transform, random_rotation, transform_points
from dr_perception.view.contour import INNER, OPEN, OUTER
from dr_perception.view.model_view import PoseArrays
from dr_perception.view.others import PosedBody

MESHES = {"box": box(), "torus": torus(), "plate": box((0.12, 0.08, 0.003)), "rod": box((0.15, 0.008, 0.008))}


def centered(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices - bounding_sphere(mesh)[0], mesh.faces)


def raycaster(*meshes: Mesh):
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    for mesh in meshes:
        scene.add_triangles(
            o3d.core.Tensor(mesh.vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
        )
    return scene


def first_hits(scene, eye, targets):
    """Distance of the first hit over that of the target, for rays from an eye to targets; inf for none."""
    import open3d as o3d

    directions = targets - eye
    rays = np.concatenate([np.broadcast_to(eye, targets.shape), directions], axis=-1).astype(np.float32)
    return scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()


def surface_distance(scene, points):
    import open3d as o3d

    return scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()


def random_pose(seed: int, z: float = 0.4):
    rng = np.random.default_rng(seed)
    return make_transform(random_rotation(rng), np.array([*rng.uniform(-0.1, 0.1, 2), z]))


def eye_of(T):
    return -T[:3, :3].T @ T[:3, 3]


@pytest.mark.parametrize("name", list(MESHES))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_surface_samples_lie_on_the_visible_surface(name: str, seed: int) -> None:
    mesh, T = centered(MESHES[name]), random_pose(seed)
    view, _ = make_view(mesh, T[None], surface_stride_px=2, surface_margin_px=1)
    view.render()
    found = surface(view)
    scene = raycaster(mesh)
    assert len(found) > 20
    assert surface_distance(scene, found["point"]).max() < 1e-5
    np.testing.assert_allclose(first_hits(scene, eye_of(T), found["point"]), 1.0, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(found["normal"], axis=1), 1.0, atol=1e-5)
    assert (np.einsum("ij,ij->i", found["normal"], eye_of(T) - found["point"]) > 0.0).all()


@pytest.mark.parametrize("name", list(MESHES))
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_contour_samples_lie_on_the_outline(name: str, seed: int) -> None:
    """Just inside, the ray hits about there; just outside, it misses or hits clearly farther away."""
    mesh, T = centered(MESHES[name]), random_pose(seed)
    view, _ = make_view(mesh, T[None], max_contour_samples=4000)
    view.render()
    found = contour(view)
    scene, eye = raycaster(mesh), eye_of(T)
    assert len(found) > 40
    assert surface_distance(scene, found["point"]).max() < 1e-5
    np.testing.assert_allclose(np.linalg.norm(found["outward"], axis=1), 1.0, atol=1e-4)
    pixel = T[2, 3] / float(view.renders.cameras.numpy()["fx"][0])
    inside = first_hits(scene, eye, found["point"] - 0.5 * pixel * found["outward"])
    outside = first_hits(scene, eye, found["point"] + 0.5 * pixel * found["outward"])
    # A faceted outline is a polygon: its concave corners put a few samples half a pixel off.
    assert (np.abs(inside - 1.0) < 0.06).mean() > 0.98
    assert (outside > 1.003).mean() > 0.98
    outer = found["kind"] == 0
    assert np.isinf(outside[outer]).mean() > 0.98
    if name != "torus":
        assert outer.all(), "a convex body has no outline in front of itself"


def test_contour_samples_surround_a_convex_body() -> None:
    """The area of the polygon through the samples is that of the silhouette."""
    from scipy.spatial import ConvexHull

    mesh, T = centered(MESHES["box"]), random_pose(3)
    view, _ = make_view(mesh, T[None], max_contour_samples=4000, contour_spacing_px=1.0)
    view.render()
    p = transform_points(T, contour(view)["point"].astype(np.float64))
    corners = transform_points(T, mesh.vertices)
    areas = [ConvexHull(q[:, :2] / q[:, 2:]).volume for q in (p, corners)]
    assert areas[0] == pytest.approx(areas[1], rel=0.01)


def test_the_hole_of_a_ring_has_an_outline_of_its_own() -> None:
    mesh = centered(MESHES["torus"])
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.4]))
    view, _ = make_view(mesh, T[None], max_contour_samples=4000)
    view.render()
    found = contour(view)
    radius = np.linalg.norm(found["point"][:, :2], axis=1)
    assert (radius < 0.04).sum() > 20 and (radius > 0.08).sum() > 20
    radial = np.einsum("ij,ij->i", found["outward"][:, :2], found["point"][:, :2])
    assert (radial[radius < 0.04] < 0).all() and (radial[radius > 0.08] > 0).all()


def test_poses_of_a_batch_are_rendered_independently() -> None:
    mesh = centered(MESHES["torus"])
    T = np.stack([random_pose(seed, z) for seed, z in enumerate((0.3, 0.6, 1.5, 0.25))])
    batch, _ = make_view(mesh, T)
    batch.render()
    for i in range(len(T)):
        alone, _ = make_view(mesh, T[i][None])
        alone.render()
        np.testing.assert_array_equal(batch.pull_counts()[:, i], alone.pull_counts()[:, 0])
        np.testing.assert_array_equal(surface(batch, i), surface(alone))
        np.testing.assert_array_equal(contour(batch, i), contour(alone))


def test_the_number_of_samples_does_not_depend_on_the_distance() -> None:
    mesh = centered(MESHES["box"])
    counts = []
    for z in (0.4, 0.8, 3.0):
        view, _ = make_view(mesh, make_transform(random_pose(1)[:3, :3], np.array([0.0, 0.0, z]))[None])
        view.render()
        counts.append(view.pull_counts()[0, 0])
    assert max(counts) < 1.5 * min(counts)


def test_rendering_again_starts_afresh() -> None:
    mesh = centered(MESHES["box"])
    view, poses = make_view(mesh, random_pose(0)[None])
    view.render()
    first = surface(view).copy()
    poses.set(random_pose(1)[None])
    view.render()
    poses.set(random_pose(0)[None])
    view.render()
    np.testing.assert_array_equal(surface(view), first)


def test_samples_behind_another_object_are_left_out() -> None:
    mesh = centered(MESHES["box"])
    T = random_pose(1)
    T[:2, 3] = 0.0
    cover = box((0.3, 0.3, 0.01))
    T_cover = make_transform(np.eye(3), np.array([0.15, 0.0, 0.2]))
    view, _ = make_view(mesh, T[None])
    cover_poses = PoseArrays(1, "cpu")
    cover_poses.set(T_cover[None])
    posed = PosedBody(ModelBuffers(cover), cover_poses)
    view.render()
    free = surface(view).copy()
    for launch in view.draw_launches():
        launch()
    posed.place()
    view.draw_others([posed])
    for launch in view.sample_launches():
        launch()
    left = surface(view)
    assert 0 < len(left) < len(free)
    hides = raycaster(Mesh(transform_points(T_cover, cover.vertices), cover.faces))
    p = transform_points(T, left["point"].astype(np.float64))
    assert not (first_hits(hides, np.zeros(3), p) < 1.0).any()
    both = transform_points(T, free["point"].astype(np.float64))
    assert (first_hits(hides, np.zeros(3), both) < 1.0).sum() > 20
    edge = transform_points(T, contour(view)["point"].astype(np.float64))
    assert not (first_hits(hides, np.zeros(3), edge) < 1.0).any()


def test_an_open_mesh_shows_its_inside() -> None:
    """A bowl without a lid, seen from above: nothing may be culled."""
    mesh = box()
    lidless = Mesh(mesh.vertices, mesh.faces[(mesh.vertices[mesh.faces][..., 2] > -0.02).any(1)])
    assert len(lidless.faces) == 10
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.4]))
    view, _ = make_view(centered(lidless), T[None])
    view.render()
    found = surface(view)
    assert (found["point"][:, 2] > 0.0).sum() > 50
    assert isinstance(view.surface.samples, wp.array)


def test_steep_surfaces_are_sampled_from_near_and_steps_are_not() -> None:
    """Seen from near a plane is steep, by as much to both sides; a step is steep to one."""
    slab = centered(box((0.4, 0.3, 0.02)))
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.3]))
    tilt = np.radians(35.0)
    T[:3, :3] = [[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]]
    view, _ = make_view(slab, [T])
    view.render()
    sampled, _, covered = view.pull_counts()[:, 0]
    assert sampled > 0.8 * covered
    low, high = box((0.1, 0.1, 0.02)), box((0.05, 0.1, 0.02))
    two = Mesh(
        np.concatenate([low.vertices, high.vertices + np.array([0.025, 0.0, -0.03])]),
        np.concatenate([low.faces, high.faces + len(low.vertices)]),
    )
    view, _ = make_view(two, [make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))])
    view.render()
    pixel_m = 0.5 / view.renders.cameras.numpy()["fx"][0]
    from_step = np.abs(surface(view)["point"][:, 0])
    assert from_step.min() > 1.0 * pixel_m


@pytest.mark.parametrize(("width_m", "some"), [(0.004, True), (0.02, True), (0.0004, False)])
def test_rods_keep_samples(width_m: float, some: bool) -> None:
    rod = centered(box((0.18, width_m, width_m)))
    view, _ = make_view(rod, [make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))])
    view.render()
    assert (view.pull_counts()[0, 0] >= 20) == some


def test_contours_say_what_lies_beyond_them() -> None:
    """Outside the body, before another part of it, or at an open edge of its mesh."""
    mesh = box()
    lidless = Mesh(mesh.vertices, mesh.faces[(mesh.vertices[mesh.faces][..., 2] > -0.02).any(1)])
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.4]))
    view, _ = make_view(centered(lidless), T[None], max_contour_samples=4000)
    view.render()
    rim = contour(view)
    open_ = rim["point"][:, 2] < rim["point"][:, 2].min() + 1e-4
    assert open_.any() and set(rim["kind"][open_]) == {int(OPEN)}
    view, _ = make_view(centered(mesh), random_pose(1)[None], max_contour_samples=4000)
    view.render()
    assert set(contour(view)["kind"]) == {int(OUTER)}
    slanted = make_transform(
        np.array([[1.0, 0, 0], [0, np.cos(1.2), -np.sin(1.2)], [0, np.sin(1.2), np.cos(1.2)]]),
        [0.0, 0.0, 0.4],
    )
    view, _ = make_view(centered(MESHES["torus"]), slanted[None], max_contour_samples=4000)
    view.render()
    found = contour(view)
    scene, eye = raycaster(centered(MESHES["torus"])), eye_of(slanted)
    pixel = slanted[2, 3] / float(view.renders.cameras.numpy()["fx"][0])
    beyond = np.isfinite(first_hits(scene, eye, found["point"] + 1.5 * pixel * found["outward"]))
    assert 0.1 < beyond.mean() < 0.9, "or the test would see one kind alone"
    assert (beyond == (found["kind"] == int(INNER))).mean() > 0.95

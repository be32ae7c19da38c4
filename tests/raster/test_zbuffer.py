"""The z-buffer against Open3D's ray casting, and its promises about coverage."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp
from render_cases import box, torus
from scipy.spatial import ConvexHull, Delaunay

from dr_perception.geometry import Mesh, make_transform, random_rotation, transform_points
from dr_perception.raster.project import IdealCamera, transform_vertices
from dr_perception.raster.renders import Renders
from dr_perception.raster.types import DEFAULT_NEAR_M, Viewport
from dr_perception.raster.zbuffer import clear_keys, key_inverse_z, rasterize_pinhole, resolve_faces

WIDTH, HEIGHT, FOCAL, CENTER = 120, 90, 110.0, (61.3, 43.8)


@wp.kernel(enable_backward=False)
def resolve_depth(
    keys: wp.array3d(dtype=wp.uint64),
    # output
    inverse_z: wp.array3d(dtype=float),
):
    view, y, x = wp.tid()
    inverse_z[view, y, x] = key_inverse_z(keys[view, y, x])


class Canvas:
    """Z-buffers of some views of one size."""

    def __init__(self, num_views: int = 1) -> None:
        n = num_views
        cameras = np.zeros(n, dtype=IdealCamera.numpy_dtype())
        cameras["fx"], cameras["fy"], cameras["cx"], cameras["cy"] = FOCAL, FOCAL, *CENTER
        views = np.zeros(n, dtype=Viewport.numpy_dtype())
        views["width"], views["height"] = WIDTH, HEIGHT
        self.keys = wp.zeros((n, HEIGHT, WIDTH), dtype=wp.uint64, device="cpu")
        self.renders = Renders()
        self.renders.cameras = wp.array(cameras, dtype=IdealCamera, device="cpu")
        self.renders.viewports = wp.array(views, dtype=Viewport, device="cpu")
        self.renders.keys = self.keys
        wp.launch(clear_keys, self.keys.shape, [self.keys], device="cpu")

    def draw(self, vertices, faces, T, instance=None, first_face=0, cull=0) -> None:
        """Draw with poses ``T`` (views, instances, 4, 4)."""
        T = np.asarray(T)
        if T.ndim < 4:
            T = T.reshape(-1, 1, 4, 4)
        n, count = len(T), len(vertices)
        index = np.zeros(count) if instance is None else instance
        p_cam = wp.zeros((n, count), dtype=wp.vec3, device="cpu")
        screen = wp.zeros((n, count), dtype=wp.vec2, device="cpu")
        vertices_obj = wp.array(np.asarray(vertices, dtype=np.float32), dtype=wp.vec3, device="cpu")
        poses = [
            wp.array(np.ascontiguousarray(T[..., :3, :3], dtype=np.float32), dtype=wp.mat33, device="cpu"),
            wp.array(np.ascontiguousarray(T[..., :3, 3], dtype=np.float32), dtype=wp.vec3, device="cpu"),
        ]
        instances = wp.array(np.asarray(index, dtype=np.int32), device="cpu")
        wp.launch(
            transform_vertices,
            (n, count),
            [vertices_obj, instances, *poses, self.renders.cameras, DEFAULT_NEAR_M],
            [p_cam, screen],
            device="cpu",
        )
        triangles = wp.array(np.asarray(faces, dtype=np.int32), dtype=wp.vec3i, device="cpu")
        inputs = [p_cam, screen, triangles, DEFAULT_NEAR_M, cull, first_face]
        wp.launch(rasterize_pinhole, (n, len(faces)), inputs, [self.renders], device="cpu")

    def faces(self):
        """Face index (views, H, W), -1 where empty."""
        out = wp.zeros(self.keys.shape, dtype=int, device="cpu")
        wp.launch(resolve_faces, self.keys.shape, [self.keys], [out], device="cpu")
        return out.numpy()

    def depth(self):
        """Depth in metres (views, H, W), inf where empty."""
        out = wp.zeros(self.keys.shape, dtype=float, device="cpu")
        wp.launch(resolve_depth, self.keys.shape, [self.keys], [out], device="cpu")
        with np.errstate(divide="ignore"):
            return 1.0 / out.numpy().astype(np.float64)


def cast(vertices_cam, faces, shift=(0.0, 0.0)):
    """Depth (H, W) and face (H, W), -1 for none, by casting a ray through every pixel plus a shift [px]."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.asarray(vertices_cam, dtype=np.float32)),
        o3d.core.Tensor(np.asarray(faces, dtype=np.uint32)),
    )
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    directions = np.stack(
        [
            (u + shift[0] - CENTER[0]) / FOCAL,
            (v + shift[1] - CENTER[1]) / FOCAL,
            np.ones_like(u, dtype=float),
        ],
        -1,
    )
    # Rays begin on the near plane.
    rays = np.concatenate([directions * DEFAULT_NEAR_M, directions], axis=-1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor(rays))
    face = hit["primitive_ids"].numpy().astype(np.int64)
    face[face == 0xFFFFFFFF] = -1
    return hit["t_hit"].numpy().astype(np.float64) + DEFAULT_NEAR_M, face


def unambiguous(vertices_cam, faces):
    """Pixels at which rays shifted by 1/100 pixel to four sides see the same as the centre, and that."""
    depth, face = cast(vertices_cam, faces)
    same = np.ones(face.shape, dtype=bool)
    for shift in ((0.01, 0.0), (-0.01, 0.0), (0.0, 0.01), (0.0, -0.01)):
        same &= cast(vertices_cam, faces, shift)[1] == face
    return same, depth, face


def random_pose(rng, z):
    return make_transform(random_rotation(rng), np.array([*rng.uniform(-0.05, 0.05, 2), z]))


@pytest.mark.parametrize("name", ["box", "torus", "soup"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coverage_and_depth_agree_with_ray_casting(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    soup = Mesh(rng.uniform(-0.1, 0.1, (90, 3)), np.arange(90).reshape(-1, 3))
    mesh = {"box": box(), "torus": torus(), "soup": soup}[name]
    T = random_pose(rng, 0.35)
    canvas = Canvas()
    canvas.draw(mesh.vertices, mesh.faces, T[None], cull=int(name != "soup"))
    sure, depth, face = unambiguous(transform_points(T, mesh.vertices), mesh.faces)
    assert sure.mean() > 0.9 and (face >= 0).sum() > 300
    np.testing.assert_array_equal((canvas.faces()[0] >= 0)[sure], (face >= 0)[sure])
    seen = sure & (face >= 0)
    assert (canvas.faces()[0] == face)[seen].mean() > 0.999
    np.testing.assert_allclose(canvas.depth()[0][seen], depth[seen], atol=2e-5)


@pytest.mark.parametrize("seed", range(5))
def test_triangles_through_the_near_plane_are_cut_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.uniform([-0.2, -0.2, -0.25], [0.2, 0.2, 0.4], (60, 3))
    faces = np.arange(60).reshape(-1, 3)
    z = vertices[faces][..., 2]
    assert ((z.min(1) < DEFAULT_NEAR_M) & (z.max(1) > DEFAULT_NEAR_M)).sum() > 5
    canvas = Canvas()
    canvas.draw(vertices, faces, np.eye(4)[None])
    sure, depth, face = unambiguous(vertices, faces)
    seen = sure & (face >= 0) & (depth < 2.0)
    # Next to the near plane a hundredth of a pixel is too coarse to say what is ambiguous.
    assert ((canvas.faces()[0] >= 0) == (face >= 0))[sure].mean() > 0.999
    seen &= canvas.faces()[0] >= 0
    error = np.abs(canvas.depth()[0][seen] - depth[seen])
    assert np.quantile(error, 0.999) < 1e-4


def test_faces_that_share_an_edge_cover_every_pixel_exactly_once() -> None:
    """Random fine triangles of a polygon, drawn each for itself: each pixel is covered by one."""
    rng = np.random.default_rng(4)
    uv = np.concatenate([[[9, 9], [100, 7], [103, 80], [7, 78]], rng.uniform(12, 75, (60, 2))])
    uv[10:20] = np.rint(uv[10:20])
    faces = Delaunay(uv).simplices
    vertices = np.column_stack([(uv - CENTER) / FOCAL, np.ones(len(uv))])
    together = np.zeros((HEIGHT, WIDTH), dtype=int)
    for face in faces:
        canvas = Canvas()
        canvas.draw(vertices, [face], np.eye(4)[None])
        together += canvas.faces()[0] >= 0
    hull = ConvexHull(uv).equations
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    distance = (np.stack([u, v], -1) @ hull[:, :2].T + hull[:, 2]).max(-1)
    assert together.max() == 1
    assert (together[distance < -0.02] == 1).all()
    assert (together[distance > 0.02] == 0).all()


def test_the_order_of_faces_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    mesh, T = torus(), random_pose(rng, 0.3)
    order = rng.permutation(len(mesh.faces))
    a, b = Canvas(), Canvas()
    a.draw(mesh.vertices, mesh.faces, T[None])
    b.draw(mesh.vertices, mesh.faces[order], T[None])
    np.testing.assert_array_equal(a.depth(), b.depth())
    shuffled = b.faces()
    same = np.where(shuffled >= 0, order[shuffled], -1) == a.faces()
    # Faces that meet at a pixel at the same depth may change places.
    assert same.mean() > 0.999


def test_meshes_in_buffers_of_their_own_share_a_z_buffer() -> None:
    rng = np.random.default_rng(6)
    near, far = torus(), box()
    T_near, T_far = random_pose(rng, 0.3), random_pose(rng, 0.38)
    both, one, other = Canvas(), Canvas(), Canvas()
    both.draw(far.vertices, far.faces, T_far[None], first_face=len(near.faces))
    both.draw(near.vertices, near.faces, T_near[None])
    one.draw(near.vertices, near.faces, T_near[None])
    other.draw(far.vertices, far.faces, T_far[None])
    np.testing.assert_array_equal(both.depth(), np.minimum(one.depth(), other.depth()))
    from_far = other.depth() < one.depth()
    np.testing.assert_array_equal((both.faces() >= len(near.faces)), from_far)
    assert from_far.any() and (one.faces() >= 0).any()


def test_instances_of_one_buffer_take_their_own_poses() -> None:
    rng = np.random.default_rng(7)
    mesh = box()
    T = np.stack([random_pose(rng, z) for z in (0.3, 0.4)])
    together, apart = Canvas(), Canvas()
    n = len(mesh.vertices)
    vertices = np.concatenate([mesh.vertices] * 2)
    faces = np.concatenate([mesh.faces, mesh.faces + n])
    together.draw(vertices, faces, T[None], instance=np.repeat([0, 1], n))
    for i in range(2):
        apart.draw(mesh.vertices, mesh.faces, T[i][None], first_face=i * len(mesh.faces))
    np.testing.assert_array_equal(together.keys.numpy(), apart.keys.numpy())


def test_views_of_a_batch_are_independent() -> None:
    rng = np.random.default_rng(8)
    mesh = torus()
    T = np.stack([random_pose(rng, 0.3) for _ in range(4)])
    batch = Canvas(4)
    batch.draw(mesh.vertices, mesh.faces, T)
    for i in range(4):
        alone = Canvas()
        alone.draw(mesh.vertices, mesh.faces, T[i][None])
        np.testing.assert_array_equal(batch.keys.numpy()[i], alone.keys.numpy()[0])

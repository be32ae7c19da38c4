"""Images against an independent ray caster, and what happens at the borders of what can be drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from render_cases import CAMERA, LENSES, box, lens, pose, torus

from dr_perception.geometry import Camera, Mesh
from dr_perception.render import Images, Instance, Lights, Material, Renderer, RenderOptions, Scene, render


def cast(mesh: Mesh, T: NDArray, camera: Camera, samples: int = 1) -> NDArray:
    """Depth by Open3D at samples x samples points of every pixel, 0 where nothing is."""
    o3d = pytest.importorskip("open3d")
    scene = o3d.t.geometry.RaycastingScene()
    vertices = mesh.vertices @ T[:3, :3].T + T[:3, 3]
    scene.add_triangles(
        o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    s = (np.arange(samples) + 0.5) / samples - 0.5
    x = (np.arange(camera.width)[:, None] + s).reshape(-1)
    y = (np.arange(camera.height)[:, None] + s).reshape(-1)
    uv = np.stack(np.meshgrid(x, y), -1)
    d = np.concatenate([camera.unproject(uv, np.ones(uv.shape[:-1]))], -1)
    rays = np.concatenate([np.zeros_like(d), d], -1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
    return np.where(np.isfinite(hit), hit, 0.0)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("mesh", [box(), torus()], ids=["box", "torus"])
def test_depth_agrees_with_ray_casting(mesh: Mesh, name: str) -> None:
    camera, T = lens(name), pose()
    depth = render(Scene.of(mesh, T), camera, options=RenderOptions(channels=("depth",))).numpy()["depth"]
    expected = cast(mesh, T, camera)
    both = (depth > 0) & (expected > 0)
    assert both.sum() > 500
    # At grazing pixels a rounding of the ray moves the depth; a centre on an edge may fall on either side of
    # it.
    assert np.quantile(np.abs(depth - expected)[both], 0.995) < 1e-4
    assert ((depth > 0) != (expected > 0)).sum() <= 2


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("mesh", [box(), torus()], ids=["box", "torus"])
def test_coverage_is_the_area_that_is_covered(mesh: Mesh, name: str) -> None:
    camera, T = lens(name), pose()
    coverage = render(Scene.of(mesh, T), camera, options=RenderOptions(channels=("silhouette",))).numpy()[
        "silhouette"
    ]
    samples = 16
    fine = (cast(mesh, T, camera, samples) > 0).astype(float)
    expected = fine.reshape(camera.height, samples, camera.width, samples).mean((1, 3))
    outline_px = ((expected > 0) & (expected < 1)).sum()
    assert abs(coverage.sum() - expected.sum()) < 0.005 * outline_px
    assert np.sqrt(((coverage - expected) ** 2).mean()) < 0.01


def test_objects_hide_each_other() -> None:
    near, far = Instance(box(), pose(0.3, x=-0.03)), Instance(torus(), pose(0.4, x=0.03))
    images = render(Scene([far, near]), CAMERA)
    alone = render(Scene([near]), CAMERA)
    instance = images.numpy()["instance"]
    seen = alone.numpy()["instance"] == 0
    assert (instance[seen] == 1).all()
    assert (instance == 0).sum() > 100
    np.testing.assert_allclose(images.numpy()["depth"][seen], alone.numpy()["depth"][seen], rtol=1e-6)


def test_crop_is_a_part_of_the_image() -> None:
    scene = Scene.of(torus(), pose())
    for name in ("pinhole", "plumb_bob"):
        whole = render(scene, lens(name)).numpy()
        part = render(scene, lens(name), options=RenderOptions(crop=(20, 10, 50, 40))).numpy()
        for channel, image in part.items():
            inside = whole[channel][10:50, 20:70][1:-1, 1:-1]
            np.testing.assert_allclose(image[1:-1, 1:-1], inside, atol=2e-3, err_msg=channel)


def test_views_are_hypotheses_times_cameras() -> None:
    poses = np.array([[pose(0.3)], [pose(0.4)], [pose(0.3, x=0.02)]])
    cameras = [lens("pinhole"), lens("plumb_bob")]
    renderer = Renderer("cpu")
    scene = Scene.of(box(), pose())
    images = renderer.render(scene, renderer.parameters(scene, cameras, poses=poses))
    assert images.depth is not None and images.depth.shape == (6, CAMERA.height, CAMERA.width)
    for view in range(6):
        single = render(Scene.of(box(), poses[view // 2, 0]), cameras[view % 2])
        np.testing.assert_allclose(images.numpy(view)["color"], single.numpy()["color"], atol=1e-5)


def test_a_moved_camera_sees_what_a_moved_object_shows() -> None:
    T_world_cam = pose(0.05, (0.1, -0.2, 0.3), 0.02, -0.01)
    T_world_obj = T_world_cam @ pose()
    lights = Lights(directions=np.zeros((0, 3)), colors=np.zeros((0, 3)))
    moved = render(Scene.of(torus(), T_world_obj, lights=lights), CAMERA, T_world_cam).numpy()
    plain = render(Scene.of(torus(), pose(), lights=lights), CAMERA).numpy()
    np.testing.assert_allclose(moved["depth"], plain["depth"], atol=2e-5)
    np.testing.assert_allclose(moved["silhouette"], plain["silhouette"], atol=2e-3)


def test_a_flat_white_surface_shows_the_light() -> None:
    lights = Lights(ambient=(0.1, 0.2, 0.3), directions=((0, 0, -1),), colors=((0.5, 0.4, 0.3),))
    image = render(Scene.of(box(), pose(w=(0, 0, 0)), lights=lights), CAMERA).numpy()["color"]
    np.testing.assert_allclose(image[36, 46], (0.6, 0.6, 0.6), atol=1e-6)


def test_normals_point_to_the_camera() -> None:
    normal = render(Scene.of(torus(), pose()), CAMERA, options=RenderOptions(antialias=False)).numpy()[
        "normal"
    ]
    rays = np.concatenate([CAMERA.rays(), np.ones((CAMERA.height, CAMERA.width, 1))], -1)
    length = np.linalg.norm(normal, axis=-1)
    assert set(np.round(length, 4).ravel().tolist()) == {0.0, 1.0}
    assert ((normal * rays).sum(-1)[length > 0] < 0.1).all()


@pytest.mark.parametrize(("z", "x"), [(-0.3, 0.0), (0.3, 2.0)])
def test_what_is_not_in_view_draws_nothing(z: float, x: float) -> None:
    images = render(Scene.of(box(), pose(z, x=x)), CAMERA).numpy()
    assert (
        (images["instance"] == -1).all()
        and (images["depth"] == 0).all()
        and (images["silhouette"] == 0).all()
    )


def test_a_surface_through_the_near_plane_is_cut() -> None:
    depth = render(Scene.of(box((0.2, 0.2, 2.0)), pose(0.5, (0, 0, 0))), CAMERA).numpy()["depth"]
    assert (depth[depth > 0] >= 0.0099).all() and (depth > 0).any()


def test_an_object_smaller_than_a_pixel_keeps_its_area() -> None:
    z = 30.0
    coverage = render(Scene.of(box(), pose(z, w=(0, 0, 0))), CAMERA).numpy()["silhouette"]
    nearest = z - 0.025
    np.testing.assert_allclose(coverage.sum(), 0.1 * 0.07 * CAMERA.fx * CAMERA.fy / nearest**2, rtol=1e-3)


def test_empty_scene_and_empty_crop() -> None:
    images = render(Scene(background=(0.1, 0.2, 0.3)), CAMERA).numpy()
    np.testing.assert_allclose(
        images["color"], np.broadcast_to((0.1, 0.2, 0.3), images["color"].shape), rtol=1e-6
    )
    empty = render(Scene.of(box(), pose()), CAMERA, options=RenderOptions(crop=(0, 0, 0, 0)))
    assert empty.numpy()["depth"].shape == (0, 0)


def test_bad_input_is_named() -> None:
    mesh = box()
    bad = mesh.vertices.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="index 3"):
        Mesh(bad, mesh.faces)
    with pytest.raises(ValueError, match="vertex indices"):
        Mesh(mesh.vertices, mesh.faces + 5)
    with pytest.raises(ValueError, match="zero surface area"):
        Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="corner_uv"):
        Mesh(mesh.vertices, mesh.faces, texture=np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="T_world_obj"):
        Scene.of(mesh, 2.0 * np.eye(4))
    with pytest.raises(ValueError, match=r"unknown names \[\'colour\'\]"):
        RenderOptions(channels=("colour",))
    with pytest.raises(ValueError, match="leaves the image"):
        render(Scene.of(mesh, pose()), CAMERA, options=RenderOptions(crop=(0, 0, 97, 10)))
    with pytest.raises(ValueError, match="roughness"):
        Material(roughness=1.5)
    with pytest.raises(ValueError, match=r"unknown names \[\'poses\'\]"):
        Renderer("cpu").parameters(Scene.of(mesh, pose()), CAMERA, requires_grad=("poses",))
    with pytest.raises(ValueError, match="colour was not rendered"):
        Images().color_uint8()

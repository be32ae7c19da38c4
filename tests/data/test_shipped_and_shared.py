"""The recording that ships with the repository, and the reference data beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dr_perception.data.bop import BopScene
from dr_perception.data.models import load_model, load_models
from dr_perception.data.source import open_sequence

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"

BOP_MODELS = {
    "bench/open": 4,
    "real/icbin_frames": 1,
    "real/visp_rbt_sequence": 2,
    "real/ycbv_frames": 17,
    "real/roboreg_xarm7_realsense": 8,
}
UNITS = {
    "realsense_box_cad": "mm",
    "trimesh_1002_tray_bottom": "mm",
    "trimesh_angle_block": "inch",
    "trimesh_cycloidal": "inch",
    "trimesh_featuretype": "inch",
    "trimesh_idler_riser": "inch",
    "trimesh_plate_holes": "mm",
    "vcb_breaker_handle": "cm",
}
TEXTURED = {"pyrender_fuze_bottle", "ycb_extra_large_clamp", "ycb_hammer", "ycb_padlock"}
TEXTURED |= {"ycb_phillips_screwdriver", "ycb_pudding_box"}


def test_demo_is_complete_and_small() -> None:
    source = open_sequence(DEMO / "tabletop")
    models = load_models(DEMO / "models")
    assert len(source) == 48
    assert source.object_ids.keys() == models.keys() == {"mug", "bracket", "textured_box"}
    for index, frame in enumerate(source):
        assert frame.color is not None and frame.depth is not None
        assert frame.camera is source.camera
        poses = source.ground_truth(index)
        assert poses is not None and poses.keys() == models.keys()
    assert models["textured_box"].mesh.texture is not None
    assert models["mug"].mesh.vertex_colors is not None
    assert sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file()) < 10_000_000


def test_demo_poses_agree_with_its_depth() -> None:
    """Rays cast at the models at their reference poses end where the sensor measured, to 2 mm (median)."""
    import open3d

    source = open_sequence(DEMO / "tabletop")
    models = load_models(DEMO / "models")
    frame = next(iter(source))
    poses = source.ground_truth(0)
    assert poses is not None
    scene = open3d.t.geometry.RaycastingScene()
    for name, model in models.items():
        points = model.mesh.vertices @ poses[name][:3, :3].T + poses[name][:3, 3]
        scene.add_triangles(points.astype(np.float32), model.mesh.faces.astype(np.uint32))
    rays = np.zeros((*frame.camera.rays().shape[:2], 6), np.float32)
    rays[..., 3:5], rays[..., 5] = frame.camera.rays(), 1.0
    hits = scene.cast_rays(rays)
    measured = frame.depth_m()
    for number, name in enumerate(models):
        seen = (hits["geometry_ids"].numpy() == number) & (measured > 0)
        assert np.count_nonzero(seen) > 2000
        assert np.median(np.abs(hits["t_hit"].numpy() - measured)[seen]) < 0.002, name


def test_demo_equals_the_scene_it_was_cut_from(shared_dir: Path) -> None:
    source = open_sequence(DEMO / "tabletop")
    scene = BopScene(shared_dir / "data" / "bench" / "open" / "000005", image_ids=range(48))
    for index, (got, wanted) in enumerate(zip(source, scene, strict=True)):
        assert got.color is not None and wanted.color is not None and np.array_equal(got.color, wanted.color)
        assert got.depth is not None and wanted.depth is not None and np.array_equal(got.depth, wanted.depth)
        assert got.camera == wanted.camera
        poses, expected = source.ground_truth(index), scene.ground_truth(index)
        assert poses is not None and expected is not None
        assert all(np.allclose(poses[name], expected[name], atol=1e-9) for name in expected)


@pytest.mark.parametrize("data_set", BOP_MODELS)
def test_models_of_every_data_set_load_with_their_stated_diameter(shared_dir: Path, data_set: str) -> None:
    from dr_perception.data.models import model_name, read_models_info

    folder = shared_dir / "data" / data_set / "models"
    models = load_models(folder)
    assert len(models) == BOP_MODELS[data_set]
    for number, entry in read_models_info(folder).items():
        model = models[model_name(number, entry)]
        assert model.diameter_m == pytest.approx(1e-3 * entry["diameter"], rel=0.01)
        assert (model.mesh.texture is not None) == (
            data_set == "real/ycbv_frames" or entry.get("textured", False)
        )


def test_all_single_meshes_load(shared_dir: Path) -> None:
    folders = sorted((shared_dir / "data" / "meshes").iterdir())
    assert len(folders) == 17
    for folder in folders:
        unit = UNITS.get(folder.name, "m")
        files = [file for file in folder.iterdir() if file.suffix.lower() in (".obj", ".stl", ".ply")]
        assert files
        for file in files:
            model = load_model(file, unit=unit)
            assert 0.02 < model.diameter_m < 0.5
            assert folder.name not in TEXTURED or model.mesh.texture is not None


SCENES = ["bench/open/000005", "bench/open/000006", "real/icbin_frames/000001", "real/ycbv_frames/000150"]
SCENES += ["real/visp_rbt_sequence/000001", "real/roboreg_xarm7_realsense/000001"]


@pytest.mark.parametrize("scene", SCENES)
def test_reference_scenes_deliver_frames_masks_and_poses(shared_dir: Path, scene: str) -> None:
    source = BopScene(shared_dir / "data" / scene)
    frame = next(iter(source))
    poses = source.ground_truth(0)
    assert frame.color is not None and frame.depth is not None and poses
    assert all(T[2, 3] > 0 for T in poses.values())
    masks = source.masks(0)
    name = next(iter(masks))
    assert name in poses and masks[name].shape == frame.depth.shape and masks[name].any()

"""BOP scene folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dr_perception.data.bop import BopScene
from dr_perception.data.source import FrameSource, open_sequence
from dr_perception.geometry.se3 import make_transform, random_rotation

SIZE = (12, 16)
IMAGES = (3, 7)
K = [20.0, 0.0, 7.5, 0.0, 21.0, 5.5, 0.0, 0.0, 1.0]


def pose_entry(T: np.ndarray, rotation: str, translation: str) -> dict[str, Any]:
    return {rotation: T[:3, :3].reshape(-1).tolist(), translation: (1000 * T[:3, 3]).tolist()}


class Scene:
    """A scene of two images with three instances of two objects."""

    def __init__(self, folder: Path, color: str = "rgb") -> None:
        rng = np.random.default_rng(0)
        self.path = folder / "000042"
        for name in (color, "depth", "mask_visib"):
            (self.path / name).mkdir(parents=True)
        self.T_cam_world = [make_transform(random_rotation(rng), rng.normal(size=3)) for _ in IMAGES]
        self.T_cam_obj = [
            [make_transform(random_rotation(rng), rng.normal(size=3)) for _ in range(3)] for _ in IMAGES
        ]
        self.color = [rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in IMAGES]
        self.depth = [rng.integers(0, 65536, SIZE, dtype=np.uint16) for _ in IMAGES]
        self.mask = rng.integers(0, 2, SIZE).astype(bool)
        self.camera, self.truth = {}, {}
        for k, number in enumerate(IMAGES):
            cv2.imwrite(str(self.path / color / f"{number:06d}.png"), self.color[k][..., ::-1])
            cv2.imwrite(str(self.path / "depth" / f"{number:06d}.png"), self.depth[k])
            w2c = pose_entry(self.T_cam_world[k], "cam_R_w2c", "cam_t_w2c")
            self.camera[str(number)] = {"cam_K": K, "depth_scale": 0.1, **w2c}
            poses = [pose_entry(T, "cam_R_m2c", "cam_t_m2c") for T in self.T_cam_obj[k]]
            self.truth[str(number)] = [{**p, "obj_id": i} for p, i in zip(poses, (5, 2, 5), strict=True)]
        cv2.imwrite(str(self.path / "mask_visib" / "000007_000002.png"), 255 * self.mask.astype(np.uint8))
        models = folder / "models"
        models.mkdir()
        (models / "models_info.json").write_text(json.dumps({"2": {"diameter": 1.0}, "5": {"name": "cup"}}))
        self.save()

    def save(self) -> None:
        (self.path / "scene_camera.json").write_text(json.dumps(self.camera))
        (self.path / "scene_gt.json").write_text(json.dumps(self.truth))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_frames_are_what_the_files_say(scene: Scene) -> None:
    source = open_sequence(scene.path)
    assert isinstance(source, FrameSource)
    assert (source.scene_id, list(source.image_ids), len(source)) == (42, [3, 7], 2)
    assert source.name.endswith("/000042")
    for k, frame in enumerate(source):
        assert frame.color is not None and np.array_equal(frame.color, scene.color[k])
        assert frame.depth is not None and frame.depth.dtype == np.uint16
        assert np.array_equal(frame.depth, scene.depth[k])
        assert frame.depth_scale_m == pytest.approx(0.0001)
        assert frame.stamp_ns == round(IMAGES[k] * 1e9 / 30)
        assert frame.T_world_cam is not None
        assert np.allclose(frame.T_world_cam, np.linalg.inv(scene.T_cam_world[k]))
        assert (frame.camera.width, frame.camera.height) == (16, 12)
        assert frame.camera.K.reshape(-1).tolist() == K
    assert source.camera.fy == 21.0
    assert source.stamps_ns == [frame.stamp_ns for frame in source]


def test_instances_are_named_by_model_and_numbered(scene: Scene) -> None:
    source = open_sequence(scene.path)
    assert source.object_ids == {"cup": 5, "obj_000002": 2, "cup_2": 5}
    for k in range(2):
        poses = source.ground_truth(k)
        assert poses is not None and list(poses) == ["cup", "obj_000002", "cup_2"]
        assert all(
            np.allclose(T, wanted) for T, wanted in zip(poses.values(), scene.T_cam_obj[k], strict=True)
        )


def test_scene_without_ground_truth(scene: Scene) -> None:
    (scene.path / "scene_gt.json").unlink()
    source = BopScene(scene.path)
    assert source.ground_truth(0) is None
    assert source.object_ids == {}


def test_masks_are_read_when_asked_for(scene: Scene) -> None:
    source = BopScene(scene.path)
    masks = source.masks(1)
    assert list(masks) == ["cup_2"]
    assert masks["cup_2"].dtype == bool and np.array_equal(masks["cup_2"], scene.mask)
    assert next(iter(source)).masks is None
    *_, last = BopScene(scene.path, masks=True)
    assert last.masks is not None and np.array_equal(last.masks["cup_2"], scene.mask)


def test_grey_images(tmp_path: Path) -> None:
    source = open_sequence(Scene(tmp_path, color="gray").path)
    assert next(iter(source)).color is not None


def test_equal_intrinsics_share_one_camera(scene: Scene) -> None:
    first, second = BopScene(scene.path)
    assert first.camera is second.camera


def test_chosen_images_and_rate(scene: Scene) -> None:
    source = BopScene(scene.path, image_ids=[7], rate_hz=10.0)
    (frame,) = source
    assert frame.stamp_ns == 700_000_000
    with pytest.raises(ValueError, match=r"has no image \[8\]"):
        BopScene(scene.path, image_ids=[8])
    with pytest.raises(ValueError, match="rate_hz must be positive"):
        BopScene(scene.path, rate_hz=0.0)


def test_missing_files_are_named(scene: Scene) -> None:
    (scene.path / "depth" / "000007.png").unlink()
    with pytest.raises(FileNotFoundError, match="000007"):
        BopScene(scene.path)
    (scene.path / "scene_camera.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"scene_camera\.json"):
        BopScene(scene.path)


def test_broken_entries_name_file_and_image(scene: Scene) -> None:
    scene.truth["7"][0]["cam_R_m2c"] = [1.0] * 9
    scene.camera["3"].pop("cam_K")
    scene.save()
    source = BopScene(scene.path)
    with pytest.raises(ValueError, match=r"scene_gt\.json, image 7, cup"):
        source.ground_truth(1)
    with pytest.raises(ValueError, match=r"scene_camera\.json, image 3 has no cam_K"):
        next(iter(source))
    (scene.path / "scene_gt.json").write_text("[")
    with pytest.raises(ValueError, match=r"scene_gt\.json is not valid"):
        BopScene(scene.path)


def test_images_of_different_size_name_image_and_sizes(scene: Scene) -> None:
    cv2.imwrite(str(scene.path / "depth" / "000003.png"), np.zeros((6, 8), np.uint16))
    with pytest.raises(ValueError, match=r"image 3: .*depth image.*8x6"):
        next(iter(BopScene(scene.path)))


def test_undecodable_image_is_named(scene: Scene) -> None:
    (scene.path / "rgb" / "000003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"rgb/000003\.png .*cannot be decoded"):
        next(iter(BopScene(scene.path)))

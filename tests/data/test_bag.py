"""rosbag2 recordings: what is written is read, topics are found, and damage costs only what is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dr_perception.data.bag_messages import BagMessages, header_stamp_ns, typestore
from dr_perception.data.bag_writer import BagWriter
from dr_perception.data.image_codec import decode_compressed_color, encode_jpeg
from dr_perception.data.rosbag2 import RosbagSource
from dr_perception.data.source import DamagedSequenceError, FrameSource, open_sequence
from dr_perception.geometry.frame import Frame

from .conftest import CAMERA, PERIOD_NS, START_NS, Recording, make_recording, random_pose

STORAGES = {"mcap": ".mcap", "sqlite3": ".db3"}


def write_bag(path: Path, recording: Recording, **options: Any) -> Path:
    with BagWriter(path, **options) as writer:
        for frame, poses in zip(recording.frames, recording.poses, strict=True):
            writer.write(frame, poses)
    return path


def storage_file(folder: Path) -> Path:
    return next(file for file in folder.iterdir() if file.suffix in STORAGES.values())


def assert_same_frames(source: FrameSource, recording: Recording, jpeg: bool = False) -> None:
    assert len(source) == len(recording)
    assert source.stamps_ns == recording.stamps_ns
    for got, wanted in zip(source, recording, strict=True):
        assert (got.stamp_ns, got.camera, got.frame_id) == (wanted.stamp_ns, wanted.camera, wanted.frame_id)
        assert got.color is not None and wanted.color is not None
        stored = decode_compressed_color(encode_jpeg(wanted.color)) if jpeg else wanted.color
        assert np.array_equal(got.color, stored)
        assert np.array_equal(got.depth_m(), wanted.depth_m())
        assert got.T_world_cam is not None and wanted.T_world_cam is not None
        assert np.allclose(got.T_world_cam, wanted.T_world_cam, atol=1e-12)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("depth", ["raw", "compressed"])
@pytest.mark.parametrize("color", ["raw", "png", "jpeg"])
def test_written_frames_are_read_back(
    tmp_path: Path, recording: Recording, storage: str, color: str, depth: str
) -> None:
    source = open_sequence(write_bag(tmp_path / "bag", recording, storage=storage, color=color, depth=depth))
    assert isinstance(source, FrameSource)
    assert source.name == "bag"
    assert source.camera == CAMERA
    assert_same_frames(source, recording, jpeg=color == "jpeg")
    assert_same_frames(source, recording, jpeg=color == "jpeg")  # a second pass gives the same
    frame = next(iter(source))
    assert frame.depth is not None
    assert (frame.depth.dtype, frame.depth_scale_m) == (np.uint16, 0.001)
    assert next(iter(open_sequence(source.path, depth_scale_m=0.0002))).depth_scale_m == 0.0002


@pytest.mark.parametrize("storage", STORAGES)
def test_ground_truth_is_read_back(tmp_path: Path, recording: Recording, storage: str) -> None:
    source = open_sequence(write_bag(tmp_path / "bag", recording, storage=storage))
    assert source.object_ids == {"box": 1, "mug": 2}
    for index, wanted in enumerate(recording.poses):
        got = source.ground_truth(index)
        assert got is not None and got.keys() == wanted.keys()
        for name in wanted:
            assert np.allclose(got[name], wanted[name], atol=1e-12)


def test_metric_depth_is_written_as_float(tmp_path: Path) -> None:
    recording = make_recording(2, metric_depth=True)
    source = open_sequence(write_bag(tmp_path / "raw", recording))
    assert_same_frames(source, recording)
    frame = next(iter(source))
    assert frame.depth is not None and frame.depth.dtype == np.float32
    packed = open_sequence(write_bag(tmp_path / "packed", recording, depth="compressed"))
    for got, wanted in zip(packed, recording, strict=True):
        assert np.abs(got.depth_m() - wanted.depth_m()).max() < 0.0015  # half a step at 5 m: 5^2 / 10100 / 2


@pytest.mark.parametrize("storage", STORAGES)
def test_single_file_without_metadata_is_enough(tmp_path: Path, recording: Recording, storage: str) -> None:
    folder = write_bag(tmp_path / "bag", recording, storage=storage)
    assert_same_frames(open_sequence(storage_file(folder)), recording)
    (folder / "metadata.yaml").unlink()  # what a killed recorder leaves behind
    with pytest.raises(DamagedSequenceError):
        assert_same_frames(open_sequence(folder), recording)
    assert len(open_sequence(folder)) == len(recording)


def delivered(source: FrameSource) -> tuple[list[Frame], DamagedSequenceError]:
    frames = []
    with pytest.raises(DamagedSequenceError) as caught:
        for frame in source:
            frames.append(frame)
    return frames, caught.value


@pytest.mark.parametrize("storage", STORAGES)
def test_truncated_bag_delivers_its_intact_frames_then_names_the_file(tmp_path: Path, storage: str) -> None:
    recording = make_recording(40)
    file = storage_file(write_bag(tmp_path / "bag", recording, storage=storage))
    cut = tmp_path / f"cut{file.suffix}"
    data = file.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    source = RosbagSource(cut)
    frames, error = delivered(source)
    assert len(source) == len(frames)
    assert source.damage is error
    assert 15 <= len(frames) < 40
    assert cut.name in str(error)
    for got, wanted in zip(frames, recording, strict=False):
        assert got.color is not None and wanted.color is not None
        assert np.array_equal(got.color, wanted.color)


@pytest.mark.parametrize(
    ("storage", "mode"),
    [("mcap", "STORAGE"), ("mcap", "MESSAGE"), ("sqlite3", "MESSAGE"), ("sqlite3", "FILE")],
)
def test_compressed_recordings_are_read_also_after_damage(tmp_path: Path, storage: str, mode: str) -> None:
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    recording = make_recording(400)
    plain = BagMessages(write_bag(tmp_path / "plain", recording))
    writer = Writer(tmp_path / "packed", version=9, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    with writer:
        connections = {
            t: writer.add_connection(t, kind, typestore=typestore()) for t, kind in plain.topics.items()
        }
        for message in plain.messages(plain.topics):
            writer.write(connections[message.topic], message.log_time_ns, message.data)
    assert_same_frames(open_sequence(tmp_path / "packed"), recording)
    if mode != "FILE":  # such a file is one compressed stream, which cannot be read in part
        file = storage_file(tmp_path / "packed")
        file.write_bytes(file.read_bytes()[:-300_000])
        frames, _ = delivered(open_sequence(tmp_path / "packed"))
        assert 50 < len(frames) < 400
        for got, wanted in zip(frames, recording, strict=False):
            assert np.array_equal(got.depth_m(), wanted.depth_m())


def chunk_places(data: bytes) -> list[int]:
    """Where the chunk records of an MCAP file start."""
    places, position = [], 8
    while position < len(data) - 8:
        if data[position] == 0x06:
            places.append(position)
        position += 9 + int.from_bytes(data[position + 1 : position + 9], "little")
    return places


def test_damage_in_the_middle_costs_what_is_behind_it(tmp_path: Path) -> None:
    recording = make_recording(700)
    file = storage_file(write_bag(tmp_path / "bag", recording))
    data = bytearray(file.read_bytes())
    places = chunk_places(bytes(data))
    assert len(places) >= 3
    data[places[1] + 50 : places[1] + 250] = b"\xff" * 200
    file.write_bytes(data)
    frames, error = delivered(open_sequence(file))
    assert 100 < len(frames) < 350
    assert file.name in str(error)


@pytest.mark.parametrize("suffix", STORAGES.values())
@pytest.mark.parametrize("content", [b"", b"not a bag at all" * 50])
def test_empty_or_foreign_file_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(DamagedSequenceError, match=f"broken{suffix}"):
        open_sequence(path)


@pytest.mark.parametrize("storage", STORAGES)
def test_bag_without_messages_is_named(tmp_path: Path, storage: str) -> None:
    with BagWriter(tmp_path / "bag", storage=storage):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match=r"bag .*bag is empty"):
        open_sequence(tmp_path / "bag")


def test_missing_bag_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        RosbagSource(tmp_path / "none")


class RawBag:
    """Writes messages as they are, for bags that `BagWriter` would not write."""

    def __init__(self, path: Path) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self.connections: dict[str, Any] = {}
        self.types = typestore().types

    def __enter__(self) -> RawBag:
        self.writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def header(self, stamp_ns: int, frame_id: str = "optical") -> Any:
        stamp = self.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
        return self.types["std_msgs/msg/Header"](stamp, frame_id)

    def add(self, topic: str, kind: str, stamp_ns: int, msg: Any) -> None:
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=typestore())
        self.writer.write(self.connections[topic], stamp_ns, typestore().serialize_cdr(msg, kind))

    def image(
        self, topic: str, stamp_ns: int, encoding: str, pixels: np.ndarray, size: tuple[int, int]
    ) -> None:
        kind = "sensor_msgs/msg/Image"
        data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
        msg = self.types[kind](self.header(stamp_ns), *size, encoding, 0, data.size // size[0], data)
        self.add(topic, kind, stamp_ns, msg)

    def info(self, topic: str, stamp_ns: int, width: int = CAMERA.width, height: int = CAMERA.height) -> None:
        kind = "sensor_msgs/msg/CameraInfo"
        roi = self.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        K = CAMERA.K.reshape(9)
        P = np.column_stack([CAMERA.K * [[2], [2], [1]], np.zeros(3)]).reshape(12)
        d, eye = np.array(CAMERA.distortion), np.eye(3).reshape(9)
        msg = self.types[kind](self.header(stamp_ns), height, width, "plumb_bob", d, K, eye, P, 0, 0, roi)
        self.add(topic, kind, stamp_ns, msg)

    def pose(self, topic: str, stamp_ns: int, frame_id: str, T: np.ndarray) -> None:
        kind = "geometry_msgs/msg/PoseStamped"
        x, y, z, w = quaternion(T)
        pose = self.types["geometry_msgs/msg/Pose"](
            self.types["geometry_msgs/msg/Point"](*map(float, T[:3, 3])),
            self.types["geometry_msgs/msg/Quaternion"](x, y, z, w),
        )
        self.add(topic, kind, stamp_ns, self.types[kind](self.header(stamp_ns, frame_id), pose))

    def transform(self, topic: str, stamp_ns: int, frame_id: str, child: str, T: np.ndarray) -> None:
        x, y, z, w = quaternion(T)
        move = self.types["geometry_msgs/msg/Transform"](
            self.types["geometry_msgs/msg/Vector3"](*map(float, T[:3, 3])),
            self.types["geometry_msgs/msg/Quaternion"](x, y, z, w),
        )
        stamped = self.types["geometry_msgs/msg/TransformStamped"](
            self.header(stamp_ns, frame_id), child, move
        )
        self.add(topic, "tf2_msgs/msg/TFMessage", stamp_ns, self.types["tf2_msgs/msg/TFMessage"]([stamped]))


def quaternion(T: np.ndarray) -> tuple[float, float, float, float]:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat().tolist()
    return x, y, z, w


SIZE = (CAMERA.height, CAMERA.width)
GREY, DEPTH = np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, 1000, np.uint16)


def test_images_are_paired_by_stamp_whatever_the_order_of_recording(tmp_path: Path) -> None:
    """Depth arrives two frames late and 1 ms off; one depth image is lost; one stray one is far off."""
    with RawBag(tmp_path / "bag") as bag:
        for k in range(6):
            stamp = START_NS + k * PERIOD_NS
            bag.info("/c/camera_info", stamp)
            bag.image("/c/image_raw", stamp, "rgb8", GREY + np.uint8(k), SIZE)
            if k >= 2 and k != 4:
                bag.image(
                    "/d/image_raw", stamp - 2 * PERIOD_NS + 1_000_000, "16UC1", DEPTH + np.uint16(k - 2), SIZE
                )
        bag.image("/d/image_raw", START_NS + 20 * PERIOD_NS, "16UC1", DEPTH, SIZE)
    source = RosbagSource(tmp_path / "bag")
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [START_NS + k * PERIOD_NS for k in (0, 1, 3)]
    for frame, k in zip(frames, (0, 1, 3), strict=True):
        assert frame.color is not None and frame.depth is not None
        assert (frame.color[0, 0, 0], frame.depth[0, 0]) == (k, 1000 + k)
    assert source.unmatched == {"/c/image_raw": 3, "/d/image_raw": 1}
    with pytest.raises(ValueError, match="no complete frame"):
        RosbagSource(tmp_path / "bag", tolerance_s=0.0005)


def test_colour_alone_and_depth_alone_are_sequences_too(tmp_path: Path, recording: Recording) -> None:
    path = write_bag(tmp_path / "bag", recording)
    assert all(
        frame.depth is None and frame.color is not None for frame in RosbagSource(path, depth_topic="")
    )
    assert all(
        frame.color is None and frame.depth is not None for frame in RosbagSource(path, color_topic="")
    )


def test_named_topics_win_over_the_choice(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        for name, value in (("left", 1), ("right", 2)):
            bag.info(f"/{name}/camera_info", START_NS)
            bag.image(f"/{name}/image_raw", START_NS, "rgb8", GREY + np.uint8(value), SIZE)
    with pytest.raises(
        ValueError, match=r"several color topics .*/left/image_raw.*/right/image_raw.*color_topic="
    ):
        RosbagSource(tmp_path / "bag")
    (frame,) = RosbagSource(tmp_path / "bag", color_topic="/right/image_raw")
    assert frame.color is not None and frame.color[0, 0, 0] == 2
    with pytest.raises(
        ValueError, match=r"no topic '/middle'; topics: .*/left/image_raw \(sensor_msgs/msg/Image\)"
    ):
        RosbagSource(tmp_path / "bag", color_topic="/middle")


def test_registered_depth_and_colour_camera_are_preferred(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        for topic, encoding, image in (
            ("/camera/infra1/image_rect_raw", "mono8", GREY[..., 0]),
            ("/camera/color/image_raw", "rgb8", GREY),
            ("/camera/depth/image_rect_raw", "16UC1", DEPTH),
            ("/camera/aligned_depth_to_color/image_raw", "16UC1", DEPTH),
        ):
            bag.image(topic, START_NS, encoding, image, SIZE)
            bag.info(topic.rsplit("/", 1)[0] + "/camera_info", START_NS)
    topics = RosbagSource(tmp_path / "bag").topics
    assert topics.color == "/camera/color/image_raw"
    assert topics.depth == "/camera/aligned_depth_to_color/image_raw"
    assert topics.info == "/camera/color/camera_info"


def test_missing_camera_info_lists_the_topics(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.image("/image", START_NS, "rgb8", GREY, SIZE)
    with pytest.raises(ValueError, match=r"no camera_info topic.*topics: /image"):
        RosbagSource(tmp_path / "bag")


def test_bag_without_images_lists_the_topics(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/camera_info", START_NS)
    with pytest.raises(ValueError, match=r"no colour or depth images.*topics: /camera_info"):
        RosbagSource(tmp_path / "bag")


def test_rectified_images_use_p_and_no_distortion(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/c/camera_info", START_NS)
        bag.image("/c/image_rect_color", START_NS, "rgb8", GREY, SIZE)
    camera = RosbagSource(tmp_path / "bag").camera
    assert (camera.fx, camera.distortion) == (2 * CAMERA.fx, ())
    assert RosbagSource(tmp_path / "bag", rectified=False).camera == CAMERA


def test_intrinsics_of_another_size_name_bag_topic_and_both_sizes(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/c/camera_info", START_NS, 64, 48)
        bag.image("/c/image_raw", START_NS, "rgb8", GREY, SIZE)
    with pytest.raises(
        ValueError, match=r"bag .*/c/image_raw.*32x24.*64x48|bag .*/c/image_raw.*64x48.*32x24"
    ):
        list(RosbagSource(tmp_path / "bag"))


def test_image_with_too_few_bytes_names_topic_and_stamp(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/c/camera_info", START_NS)
        bag.image("/c/image_raw", START_NS, "rgb8", GREY[:-1], (CAMERA.height, CAMERA.width))
    with pytest.raises(ValueError, match=rf"topic /c/image_raw, stamp {START_NS} ns: .*too (few|small)"):
        list(RosbagSource(tmp_path / "bag"))


def test_unreadable_encoding_chosen_by_name_is_named(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/c/camera_info", START_NS)
        bag.image("/c/image_raw", START_NS, "bayer_rggb8", GREY[..., 0], SIZE)
    with pytest.raises(ValueError, match="'bayer_rggb8' is not supported"):
        list(RosbagSource(tmp_path / "bag", color_topic="/c/image_raw"))


def test_stamps_of_zero_are_refused(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        for _ in range(2):
            bag.info("/c/camera_info", 0)
            bag.image("/c/image_raw", 0, "rgb8", GREY, SIZE)
    with pytest.raises(ValueError, match="all 2 stamps of /c/image_raw are 0"):
        RosbagSource(tmp_path / "bag")


def test_all_nan_depth_is_a_frame_without_measurements(tmp_path: Path) -> None:
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/d/camera_info", START_NS)
        bag.image("/d/image_raw", START_NS, "32FC1", np.full(SIZE, np.nan, np.float32), SIZE)
    (frame,) = RosbagSource(tmp_path / "bag")
    assert frame.depth is not None and not frame.depth.any()


def test_ground_truth_from_transforms_and_from_the_world(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    T_cam_mug, T_world_cam, T_world_box = (random_pose(rng) for _ in range(3))
    with RawBag(tmp_path / "bag") as bag:
        bag.info("/c/camera_info", START_NS)
        bag.image("/c/image_raw", START_NS, "rgb8", GREY, SIZE)
        bag.transform("/tf", START_NS, "optical", "mug", T_cam_mug)
        bag.pose("/ground_truth/camera/pose", START_NS, "world", T_world_cam)
        bag.pose("/ground_truth/box/pose", START_NS, "world", T_world_box)
        bag.pose("/ground_truth/lost/pose", START_NS, "nowhere", T_world_box)
    truth = RosbagSource(tmp_path / "bag").ground_truth(0)
    assert truth is not None and truth.keys() == {"box"}
    assert np.allclose(truth["box"], np.linalg.inv(T_world_cam) @ T_world_box)
    truth = RosbagSource(tmp_path / "bag", ground_truth_topics=["/tf"]).ground_truth(0)
    assert truth is not None and truth.keys() == {"mug"}
    assert np.allclose(truth["mug"], T_cam_mug)
    with pytest.raises(ValueError, match=r"no pose topics \['/c/image_raw'\]"):
        RosbagSource(tmp_path / "bag", ground_truth_topics=["/c/image_raw"])


def test_no_ground_truth_is_none(tmp_path: Path) -> None:
    recording = make_recording(2)
    with BagWriter(tmp_path / "bag") as writer:
        for frame in recording:
            writer.write(frame)
    assert open_sequence(tmp_path / "bag").ground_truth(0) is None


def test_stamp_is_read_without_deserialising(tmp_path: Path, recording: Recording) -> None:
    bag = BagMessages(write_bag(tmp_path / "bag", recording))
    stamps = [header_stamp_ns(message.data) for message in bag.messages(["/camera/color/image_raw"])]
    assert stamps == [frame.stamp_ns for frame in recording]
    big = b"\x00\x00\x00\x00" + (5).to_bytes(4, "big") + (7).to_bytes(4, "big")
    assert header_stamp_ns(big) == 5_000_000_007


def test_writer_refuses_what_it_cannot_keep(tmp_path: Path, recording: Recording) -> None:
    write_bag(tmp_path / "bag", recording)
    with pytest.raises(FileExistsError, match="exists already"):
        BagWriter(tmp_path / "bag")
    with pytest.raises(ValueError, match="storage must be one of"):
        BagWriter(tmp_path / "other", storage="rosbag1")  # type: ignore[arg-type]
    with (
        BagWriter(tmp_path / "third") as writer,
        pytest.raises(ValueError, match="cannot be called 'camera'"),
    ):
        writer.write(recording.frames[0], {"camera": np.eye(4)})

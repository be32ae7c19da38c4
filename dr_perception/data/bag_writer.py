"""Write frames and reference poses as a rosbag2 recording, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dr_perception.data.bag_messages import typestore
from dr_perception.data.bag_topics import CAMERA_INFO, COMPRESSED_IMAGE, GROUND_TRUTH_ROOT, IMAGE
from dr_perception.data.bag_truth import CAMERA_NAME
from dr_perception.data.image_codec import encode_compressed_depth, encode_jpeg, encode_png
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.se3 import quaternion_from_matrix

__all__ = ["BagWriter"]

_POSE = "geometry_msgs/msg/PoseStamped"
_STORED_MM = 0.001


class BagWriter:
    """Writes a recording with the topic names of the ROS drivers of RealSense cameras.

    Topics: ``/camera/color/image_raw`` (or ``.../compressed``), ``/camera/aligned_depth_to_color/image_raw``
        (or
    ``.../compressedDepth``), ``/camera/color/camera_info``, and with ground truth ``/ground_truth/NAME/pose``
    in the camera frame and ``/ground_truth/camera/pose`` in ``world``. Use it as a context manager.
    """

    COLOR_TOPIC = "/camera/color/image_raw"
    DEPTH_TOPIC = "/camera/aligned_depth_to_color/image_raw"
    INFO_TOPIC = "/camera/color/camera_info"

    def __init__(
        self,
        path: str | Path,
        storage: Literal["mcap", "sqlite3"] = "mcap",
        color: Literal["raw", "jpeg", "png"] = "raw",
        depth: Literal["raw", "compressed"] = "raw",
        jpeg_quality: int = 95,
        png_level: int = 6,
        frame_id: str = "camera_color_optical_frame",
    ) -> None:
        """Create the recording.

        Args:
            path: Folder to create; it must not exist.
            storage: Kind of storage file.
            color: Raw ``rgb8`` or compressed colour.
            depth: Raw, or compressedDepth (PNG).
            jpeg_quality: Quality of JPEG colour, 1 to 100.
            png_level: Compression level of PNG colour and depth, 0 to 9.
            frame_id: Camera frame, for frames that do not name theirs.

        Raises:
            FileExistsError: The folder exists.
            ValueError: An option is not known.
        """
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path = Path(path)
        for name, value, known in (
            ("storage", storage, ("mcap", "sqlite3")),
            ("color", color, ("raw", "jpeg", "png")),
            ("depth", depth, ("raw", "compressed")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, got {value!r}")
        if self.path.exists():
            raise FileExistsError(f"bag {self.path} exists already")
        self._color, self._depth = color, depth
        self._jpeg_quality, self._png_level = jpeg_quality, png_level
        self._frame_id = frame_id
        self._types: Mapping[str, Any] = typestore().types
        self._connections: dict[str, Any] = {}
        self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        self._writer.open()

    def __enter__(self) -> BagWriter:
        """The writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the recording."""
        self.close()

    def close(self) -> None:
        """Write index and metadata."""
        self._writer.close()

    def write(
        self,
        frame: Frame,
        ground_truth: Mapping[str, NDArray[np.float64]] | None = None,
        encoded_color: bytes | None = None,
    ) -> None:
        """Write one frame.

        Depth is stored as 16UC1 in millimetres or 32FC1 in metres (REP 118): uint16 with another scale
        becomes 32FC1.

        Args:
            frame: The frame; its stamp becomes the stamp and log time of all messages.
            ground_truth: ``{name: T_cam_obj}`` of this frame.
            encoded_color: The frame's colour as the bytes of a JPEG or PNG file, to be stored without
                encoding it again; only for compressed colour.

        Raises:
            ValueError: An object is called ``camera``, which is the name of the camera's own pose.
        """
        if CAMERA_NAME in (ground_truth or {}):
            raise ValueError(f"an object cannot be called {CAMERA_NAME!r}: that is the camera's own pose")
        header = self._header(frame.stamp_ns, frame.frame_id or self._frame_id)
        self._write(self.INFO_TOPIC, CAMERA_INFO, frame.stamp_ns, self._camera_info(header, frame.camera))
        if frame.color is not None:
            self._write_color(header, frame.stamp_ns, frame.color, encoded_color)
        if frame.depth is not None:
            self._write_depth(header, frame.stamp_ns, _storable_depth(frame))
        for name, T in (ground_truth or {}).items():
            self._write_pose(name, header, frame.stamp_ns, T)
        if frame.T_world_cam is not None:
            world = self._header(frame.stamp_ns, "world")
            self._write_pose(CAMERA_NAME, world, frame.stamp_ns, frame.T_world_cam)

    def _write_color(
        self, header: Any, stamp_ns: int, color: NDArray[np.uint8], encoded: bytes | None
    ) -> None:
        if self._color == "raw":
            self._write(self.COLOR_TOPIC, IMAGE, stamp_ns, self._image(header, color, "rgb8"))
            return
        if encoded is not None:
            data = encoded
        elif self._color == "jpeg":
            data = encode_jpeg(color, self._jpeg_quality)
        else:
            data = encode_png(color, self._png_level)
        msg = self._compressed(header, data, f"rgb8; {self._color} compressed bgr8")
        self._write(self.COLOR_TOPIC + "/compressed", COMPRESSED_IMAGE, stamp_ns, msg)

    def _write_depth(self, header: Any, stamp_ns: int, depth: NDArray[Any]) -> None:
        if self._depth == "raw":
            encoding = "16UC1" if depth.dtype == np.uint16 else "32FC1"
            self._write(self.DEPTH_TOPIC, IMAGE, stamp_ns, self._image(header, depth, encoding))
            return
        data, format = encode_compressed_depth(depth, level=self._png_level)
        msg = self._compressed(header, data, format)
        self._write(self.DEPTH_TOPIC + "/compressedDepth", COMPRESSED_IMAGE, stamp_ns, msg)

    def _write_pose(self, name: str, header: Any, stamp_ns: int, T: NDArray[np.float64]) -> None:
        x, y, z, w = (float(value) for value in quaternion_from_matrix(T[:3, :3]))
        point = self._types["geometry_msgs/msg/Point"](*(float(value) for value in T[:3, 3]))
        rotation = self._types["geometry_msgs/msg/Quaternion"](x, y, z, w)
        pose = self._types["geometry_msgs/msg/Pose"](point, rotation)
        self._write(f"{GROUND_TRUTH_ROOT}{name}/pose", _POSE, stamp_ns, self._types[_POSE](header, pose))

    def _write(self, topic: str, kind: str, stamp_ns: int, msg: Any) -> None:
        store = typestore()
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=store)
        self._writer.write(self._connections[topic], stamp_ns, store.serialize_cdr(msg, kind))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        time = self._types["builtin_interfaces/msg/Time"](*divmod(int(stamp_ns), 1_000_000_000))
        return self._types["std_msgs/msg/Header"](time, frame_id)

    def _image(self, header: Any, pixels: NDArray[Any], encoding: str) -> Any:
        little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
        height, width = little.shape[:2]
        data = little.view(np.uint8).reshape(-1)
        return self._types[IMAGE](header, height, width, encoding, 0, data.size // height, data)

    def _compressed(self, header: Any, data: bytes, format: str) -> Any:
        return self._types[COMPRESSED_IMAGE](header, format, np.frombuffer(data, np.uint8))

    def _camera_info(self, header: Any, camera: Camera) -> Any:
        roi = self._types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        P = np.column_stack([camera.K, np.zeros(3)])
        return self._types[CAMERA_INFO](
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model=camera.distortion_model,
            d=np.array(camera.distortion, dtype=np.float64),
            k=camera.K.reshape(9),
            r=np.eye(3).reshape(9),
            p=P.reshape(12),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )


def _storable_depth(frame: Frame) -> NDArray[Any]:
    """Depth as uint16 millimetres or float32 metres."""
    assert frame.depth is not None
    if frame.depth.dtype == np.uint16 and np.isclose(frame.depth_scale_m, _STORED_MM):
        return frame.depth
    return frame.depth_m()

"""ROS messages from and to arrays, without cv_bridge.

Images come in without a copy where the message's layout allows it (`dr_perception.data.image_codec`); they
go out through ``array.frombytes``, which is the one fast way to fill a message in Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Transform, Vector3
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from dr_perception.data.image_codec import (
    DepthImage,
    decode_color,
    decode_compressed_color,
    decode_compressed_depth,
    decode_depth,
    encode_compressed_depth,
    encode_jpeg,
    encode_png,
)
from dr_perception.geometry.camera import Camera
from dr_perception.geometry.se3 import make_transform, matrix_from_quaternion, quaternion_from_matrix

__all__ = [
    "camera_info_message",
    "color_array",
    "compressed_color_message",
    "compressed_depth_message",
    "depth_array",
    "image_message",
    "pose_message",
    "pose_with_covariance_message",
    "stamp_ns",
    "time_message",
    "transform_from_pose",
    "transform_message",
]

_ENCODING_OF = {("uint8", 3): "rgb8", ("uint8", 1): "mono8", ("uint16", 1): "16UC1", ("float32", 1): "32FC1"}


def stamp_ns(message: Any) -> int:
    """Stamp of a message's header in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a time message."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def color_array(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """RGB picture of an Image or CompressedImage, shape (H, W, 3) uint8; a view of an unpadded rgb8 message.

    Raises:
        ValueError: The encoding is unknown or the bytes do not fit the size.
    """
    if isinstance(message, CompressedImage):
        return decode_compressed_color(message.data, message.format)
    return decode_color(
        message.data,
        message.encoding,
        message.width,
        message.height,
        message.step,
        bool(message.is_bigendian),
    )


def depth_array(message: Image | CompressedImage) -> DepthImage:
    """Depth of an Image or compressedDepth message: values (H, W), 0 = no measurement, and metres per unit.

    Raises:
        ValueError: The encoding is unknown or the bytes do not fit the size.
    """
    if isinstance(message, CompressedImage):
        return decode_compressed_depth(message.data, message.format)
    return decode_depth(
        message.data,
        message.encoding,
        message.width,
        message.height,
        message.step,
        bool(message.is_bigendian),
    )


def image_message(header: Header, array: NDArray[Any]) -> Image:
    """Image message of an array: (H, W, 3) uint8 RGB, or (H, W) uint8, uint16 or float32.

    Raises:
        TypeError: The element type and the number of channels belong to no encoding that is written.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    encoding = _ENCODING_OF.get((array.dtype.name, channels)) if array.ndim in (2, 3) else None
    if encoding is None:
        raise TypeError(f"no image encoding for an array of shape {array.shape} and type {array.dtype}")
    contiguous = np.ascontiguousarray(array)
    height, width = array.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, step=contiguous.strides[0])
    if contiguous.size:
        message.data.frombytes(contiguous.data.cast("B"))
    return message


def compressed_color_message(
    header: Header, color: NDArray[np.uint8], format: str = "jpeg", quality: int = 95
) -> CompressedImage:
    """CompressedImage of an RGB picture as "jpeg" or "png".

    Raises:
        ValueError: The format is neither.
    """
    if format not in ("jpeg", "png"):
        raise ValueError(f"compressed colour is written as 'jpeg' or 'png', not {format!r}")
    payload = encode_jpeg(color, quality) if format == "jpeg" else encode_png(color)
    return _compressed(header, payload, f"rgb8; {format} compressed bgr8")


def compressed_depth_message(header: Header, depth: NDArray[Any]) -> CompressedImage:
    """Message with compressedDepth of uint16 (lossless) or float32 metres (quantised in inverse depth)."""
    return _compressed(header, *encode_compressed_depth(depth))


def _compressed(header: Header, payload: bytes, format: str) -> CompressedImage:
    message = CompressedImage(header=header, format=format)
    message.data.frombytes(payload)
    return message


def camera_info_message(header: Header, camera: Camera) -> CameraInfo:
    """CameraInfo of a camera; P repeats K, as for the raw image of a monocular camera."""
    K = camera.K
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=[float(value) for value in camera.distortion],
        k=K.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.hstack([K, np.zeros((3, 1))]).ravel().tolist(),
    )


def pose_message(T_a_b: ArrayLike) -> Pose:
    """Pose of frame b in frame a, from a (4, 4) transform."""
    position, orientation = _parts(T_a_b)
    return Pose(position=Point(**position), orientation=Quaternion(**orientation))


def transform_message(T_a_b: ArrayLike) -> Transform:
    """The same as a Transform, for TF."""
    translation, rotation = _parts(T_a_b)
    return Transform(translation=Vector3(**translation), rotation=Quaternion(**rotation))


def pose_with_covariance_message(T_a_b: ArrayLike, covariance: ArrayLike) -> PoseWithCovariance:
    """Pose with its (6, 6) covariance; our tangent order and axes are those of the message."""
    values = np.asarray(covariance, dtype=np.float64)
    if values.shape != (6, 6):
        raise ValueError(f"covariance must have shape (6, 6), got {values.shape}")
    return PoseWithCovariance(pose=pose_message(T_a_b), covariance=values.ravel())


def transform_from_pose(pose: Pose) -> NDArray[np.float64]:
    """(4, 4) transform of a pose message.

    Raises:
        ValueError: A value is not finite or the quaternion is far from unit length.
    """
    p, q = pose.position, pose.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise ValueError(f"pose is not finite: position {position}, quaternion {quaternion}")
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1.0) > 0.01:
        raise ValueError(f"quaternion x, y, z, w = {quaternion.tolist()} has length {length:.3g}, expected 1")
    return make_transform(matrix_from_quaternion(quaternion / length), position)


def _parts(T_a_b: ArrayLike) -> tuple[dict[str, float], dict[str, float]]:
    T = np.asarray(T_a_b, dtype=np.float64)
    quaternion = quaternion_from_matrix(T[:3, :3])
    position = dict(zip("xyz", T[:3, 3].tolist(), strict=True))
    return position, dict(zip("xyzw", quaternion.tolist(), strict=True))

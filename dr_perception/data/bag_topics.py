"""Which topics of a recording are colour, depth, calibration and ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dr_perception.data.image_codec import COLOR_ENCODINGS, DEPTH_ENCODINGS

__all__ = ["CAMERA_INFO", "COMPRESSED_IMAGE", "GROUND_TRUTH_ROOT", "IMAGE", "ImageTopics", "choose_topics"]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
GROUND_TRUTH_ROOT = "/ground_truth/"
"""Topics below this name are taken as ground truth."""


@dataclass(frozen=True)
class ImageTopics:
    """The topics of one camera; empty where there is none."""

    color: str
    depth: str
    info: str


def choose_topics(
    path: str,
    topics: Mapping[str, str],
    encoding_of: Callable[[str], str],
    color: str | None = None,
    depth: str | None = None,
    info: str | None = None,
) -> ImageTopics:
    """Choose the topics, those that the caller names first.

    Colour and depth are told apart by the encoding of their first message. Among several, names with
    ``color`` or ``rgb``, and ``aligned`` or ``registered`` depth, are preferred, and raw before compressed.
    The calibration is the ``camera_info`` beside the colour image, else beside the depth image, else the only
    one there is.

    Args:
        path: Name of the recording, for errors.
        topics: Message type by topic.
        encoding_of: Gives the encoding (or ``format``) of the first message of an image topic.
        color: Topic to use; "" for no colour; None to choose.
        depth: Likewise.
        info: Topic to use; None to choose.

    Returns:
        The topics.

    Raises:
        ValueError: A named topic is not there, there is no image or calibration, or several are equally good.
    """
    for topic in (color, depth, info):
        if topic and topic not in topics:
            raise ValueError(f"bag {path} has no topic {topic!r}; {_listing(topics)}")
    images = [topic for topic, kind in topics.items() if kind in (IMAGE, COMPRESSED_IMAGE)]
    kinds = {topic: _kind(topic, encoding_of(topic)) for topic in images}
    if color is None:
        candidates = [topic for topic in images if kinds[topic] == "color" and topic != depth]
        color = _best(path, "color", candidates, topics, ("color", "rgb"), ("infra", "debug", "overlay"))
    if depth is None:
        candidates = [topic for topic in images if kinds[topic] == "depth" and topic != color]
        depth = _best(path, "depth", candidates, topics, ("aligned", "registered", "depth_to"), ("infra",))
    if not color and not depth:
        raise ValueError(f"bag {path} has no colour or depth images that can be read; {_listing(topics)}")
    return ImageTopics(color, depth, info or _info_topic(path, topics, color, depth))


def _kind(topic: str, encoding: str) -> str:
    """What an image topic shows: "color", "depth" or ""."""
    name = encoding.split(";")[0].strip()
    if "compressedDepth" in encoding or (name in DEPTH_ENCODINGS and name != "mono16"):
        return "depth"
    if name == "mono16":
        return "depth" if "depth" in topic else ""
    if name in COLOR_ENCODINGS or any(word in encoding.lower() for word in ("jpeg", "jpg", "png")):
        return "color"
    return ""


def _best(
    path: str,
    what: str,
    candidates: Iterable[str],
    topics: Mapping[str, str],
    good: tuple[str, ...],
    bad: tuple[str, ...],
) -> str:
    """The one best candidate; "" if there is none."""

    def rank(topic: str) -> tuple[bool, bool, bool]:
        return (
            any(word in topic for word in bad),
            not any(word in topic for word in good),
            topics[topic] != IMAGE,
        )

    ordered = sorted(candidates, key=rank)
    if len(ordered) > 1 and rank(ordered[0]) == rank(ordered[1]):
        equal = [topic for topic in ordered if rank(topic) == rank(ordered[0])]
        raise ValueError(f"bag {path} has several {what} topics {equal}: choose one with {what}_topic=...")
    return ordered[0] if ordered else ""


def _info_topic(path: str, topics: Mapping[str, str], color: str, depth: str) -> str:
    """The camera_info of an image."""
    infos = [topic for topic, kind in topics.items() if kind == CAMERA_INFO]
    for image in (color, depth):
        parts = image.split("/")
        for end in range(len(parts) - 1, 0, -1):
            sibling = "/".join([*parts[:end], "camera_info"])
            if image and sibling in infos:
                return sibling
    if len(infos) == 1:
        return infos[0]
    problem = f"several camera_info topics {infos}" if infos else "no camera_info topic"
    raise ValueError(f"bag {path} has {problem}: choose one with info_topic=...; {_listing(topics)}")


def _listing(topics: Mapping[str, str]) -> str:
    """All topics and their types, for errors."""
    return "topics: " + ", ".join(f"{topic} ({kind})" for topic, kind in sorted(topics.items()))

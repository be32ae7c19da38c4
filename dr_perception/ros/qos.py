"""Quality of service of the node's topics.

A best-effort subscription also hears reliable publishers, so it is the default for images. Every policy of
the image subscriptions can be overridden by parameters (``qos_overrides./TOPIC.subscription.reliability``
and so on).
"""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

__all__ = ["RESULTS", "TRANSFORMS", "image_qos"]

RESULTS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
"""Poses, markers, overlay, diagnostics."""

TRANSFORMS = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
)
"""/tf, as tf2_ros publishes it."""


def image_qos(process_every_frame: bool, depth: int) -> QoSProfile:
    """Profile of the colour, depth and camera_info subscriptions.

    Args:
        process_every_frame: Reliable, so that nothing is lost while the queue is deep enough; the publisher
            must be reliable too. Otherwise best effort.
        depth: Messages kept per topic.
    """
    reliability = ReliabilityPolicy.RELIABLE if process_every_frame else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability)

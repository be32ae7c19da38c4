"""The ROS 2 node: a callback converts, calls the tracker and publishes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from dr_perception.config import Config, ModelsConfig
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import make_transform, matrix_from_quaternion
from dr_perception.ros.conversions import stamp_ns, transform_from_pose
from dr_perception.ros.diagnostics import Diagnostics
from dr_perception.ros.frames import CAMERA_INFO, COLOR, DEPTH, FrameBuilder
from dr_perception.ros.mailbox import NewestFirstWorker
from dr_perception.ros.parameters import declare_config
from dr_perception.ros.publishers import ResultPublisher, topic_names
from dr_perception.ros.qos import RESULTS, image_qos
from dr_perception.ros.session import TrackerLike, TrackingSession
from dr_perception.ros.sync import StampSynchronizer
from dr_perception.tracking.result import TrackResult

__all__ = ["TrackerNode", "initial_transform", "make_tracker", "tracked_models"]

NO_DEPTH = "the depth image holds no measurement (all 0, NaN or infinite)"
SILENCE_PERIOD_S = 1.0


class TrackerNode(Node):
    """Tracks objects in RGB-D images; publishes poses, TF, markers, overlay and diagnostics."""

    def __init__(
        self,
        tracker: TrackerLike | None = None,
        models: Mapping[str, ObjectModel] | None = None,
        **options: Any,
    ) -> None:
        """Declare the parameters, load the models and subscribe.

        Args:
            tracker: The tracker; by default `dr_perception.Tracker` with the node's configuration.
            models: Models by name; by default those that the ``models`` parameters name.
            **options: Passed to `rclpy.node.Node`.

        Raises:
            ValueError: A parameter is unknown or not acceptable.
            FileNotFoundError: A model does not exist.
        """
        super().__init__("tracker_node", **options)
        self.config: Config = declare_config(self)
        settings = self.config.node
        self.models = dict(tracked_models(self.config.models) if models is None else models)
        poses = {name: initial_transform(name, v) for name, v in self.config.init.poses.items()}
        tracker = make_tracker(self.models, self.config) if tracker is None else tracker
        self._session = TrackingSession(tracker, list(self.models), poses, settings.auto_start)
        tolerance_ns = round(1e6 * settings.sync_tolerance_ms)
        self._synchronizer = StampSynchronizer(
            (COLOR, DEPTH, CAMERA_INFO), tolerance_ns, settings.queue_depth
        )
        self._frames = FrameBuilder(self.config.camera.depth_scale_m)
        self._diagnostics = Diagnostics(self, self._synchronizer, settings.diagnostics_period_s)
        self._publisher = ResultPublisher(self, self.models, settings)
        self._worker = None if settings.process_every_frame else NewestFirstWorker(self._process, "tracker")
        self._frames_at_tick = 0
        self._frame_id = settings.camera_frame
        self._offer()
        self._subscribe()
        self.get_logger().info(f"ready to track {', '.join(self.models)}")

    def close(self) -> None:
        """End the worker thread."""
        if self._worker is not None:
            self._worker.stop()

    def _subscribe(self) -> None:
        settings = self.config.node
        topics = {
            COLOR: CompressedImage if settings.compressed_color else Image,
            DEPTH: CompressedImage if settings.compressed_depth else Image,
            CAMERA_INFO: CameraInfo,
        }
        for topic, kind in topics.items():
            overridable = QoSOverridingOptions.with_default_policies()
            receive = partial(self._receive, topic)
            # A profile of its own: an override changes the one that it is given.
            profile = image_qos(settings.process_every_frame, settings.queue_depth)
            self.create_subscription(kind, topic, receive, profile, qos_overriding_options=overridable)

    def _offer(self) -> None:
        """Services, initial poses, and the timer that notices silence."""
        self.create_service(Trigger, "~/start", self._start)
        self.create_service(Trigger, "~/reset", self._reset)
        for name, token in topic_names(self.models).items():
            receive = partial(self._receive_pose, name)
            self.create_subscription(PoseStamped, f"~/initial_pose/{token}", receive, RESULTS)
        self.create_timer(SILENCE_PERIOD_S, self._watch)

    # -- callbacks -----------------------------------------------------------------------------

    def _receive(self, topic: str, message: Any) -> None:
        """Put a message into its frame; hand a complete frame on."""
        messages = self._synchronizer.add(topic, stamp_ns(message), message)
        if messages is None:
            return
        if self._worker is None:
            self._process(messages)
        else:
            self._worker.put(messages)
            self._diagnostics.dropped = self._worker.dropped

    def _process(self, messages: Mapping[str, Any]) -> None:
        """Convert, track, publish. What goes wrong with a frame is reported, and the node lives on."""
        stamp = stamp_ns(messages[COLOR])
        try:
            frame = self._frames.build(messages)
            self._frame_id = self.config.node.camera_frame or frame.frame_id
            result = self._session.step(frame)
            if result is not None:
                self._publisher.publish(result, frame)
            self._report(frame, result)
        except Exception as error:
            self._complain(stamp, f"{type(error).__name__}: {error}")

    def _receive_pose(self, name: str, message: PoseStamped) -> None:
        """Remember an initial pose, which must be given in the frame of the camera."""
        try:
            given = message.header.frame_id
            if given and self._frame_id and given != self._frame_id:
                raise ValueError(f"initial pose of {name!r} is in frame {given!r}, not {self._frame_id!r}")
            self._session.set_initial_pose(name, transform_from_pose(message.pose))
        except ValueError as error:
            self._complain(stamp_ns(message), str(error))

    def _start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, self._session.request_start()
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, self._session.reset()
        return response

    def _watch(self) -> None:
        if self._synchronizer.frames == self._frames_at_tick:
            self._diagnostics.silence()
        self._frames_at_tick = self._synchronizer.frames

    # -- reports -------------------------------------------------------------------------------

    def _report(self, frame: Frame, result: TrackResult | None) -> None:
        warning = "" if frame.depth is None or frame.depth.any() else NO_DEPTH
        if result is None:
            state = "started on this frame" if self._session.tracking else "waiting for ~/start"
            self._diagnostics.waiting(frame.stamp_ns, state, warning)
        else:
            self._diagnostics.frame(result, warning)

    def _complain(self, stamp: int, sentence: str) -> None:
        self._diagnostics.error(stamp, sentence)
        self.get_logger().error(sentence, throttle_duration_sec=1.0)


def make_tracker(models: Mapping[str, ObjectModel], config: Config) -> TrackerLike:
    """The tracker of the core; Warp's announcements are kept out of the node's log."""
    import warp as wp

    from dr_perception.tracking import Tracker

    wp.config.log_level = wp.LOG_ERROR
    return Tracker(dict(models), config=config.tracker)


def tracked_models(config: ModelsConfig) -> dict[str, ObjectModel]:
    """Models that the parameters name; a repeated instance ``mug_2`` uses the model ``mug``.

    Raises:
        ValueError: No folder is given, or a name has no model.
        FileNotFoundError: The folder does not exist.
    """
    from dr_perception.data.models import load_models
    from dr_perception.evaluation.scoring import instances

    if not config.directory:
        raise ValueError("parameter models.directory is empty: name the folder with the CAD models")
    models = load_models(config.directory, **({"unit": config.unit} if config.unit else {}))
    return instances(config.names or models, models)


def initial_transform(name: str, values: tuple[float, ...]) -> np.ndarray:
    """(4, 4) transform of a parameter ``init.poses.NAME``.

    Raises:
        ValueError: It has neither 7 nor 16 numbers, or its quaternion is far from unit length.
    """
    if len(values) == 16:
        return np.reshape(np.asarray(values, dtype=np.float64), (4, 4))
    if len(values) != 7:
        raise ValueError(
            f"init.poses.{name} must have 7 numbers (x y z and quaternion x y z w) or the 16 of a matrix by "
            f"rows, got {len(values)}"
        )
    quaternion = np.asarray(values[3:])
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1.0) > 0.01:
        raise ValueError(
            f"init.poses.{name}: quaternion {quaternion.tolist()} has length {length:.3g}, not 1"
        )
    return make_transform(matrix_from_quaternion(quaternion / length), values[:3])

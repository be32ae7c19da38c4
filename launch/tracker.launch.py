"""Start the tracker on the topics of a camera.

ros2 launch dr_perception tracker.launch.py models:=/path/to/models camera:=/camera
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription

ARGUMENTS = {
    "models": ("", "folder of CAD models (meshes, or BOP models with models_info.json)"),
    "config": ("", "parameter file; by default config/tracker.yaml of this package"),
    "namespace": ("", "namespace of the node"),
    "color": ("/camera/color/image_raw", "topic of the colour image"),
    "depth": ("/camera/aligned_depth_to_color/image_raw", "topic of the depth image, registered to colour"),
    "camera_info": ("/camera/color/camera_info", "topic of the calibration of the colour image"),
    "log_level": ("info", "debug, info, warn or error"),
}


def make_node(context: LaunchContext) -> list[Node]:
    """The node; an argument that is left empty leaves the parameter file's value alone."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = [{"models.directory": value("models")}] if value("models") else []
    return [
        Node(
            package="dr_perception",
            executable="tracker_node",
            name="tracker_node",
            namespace=value("namespace"),
            output="screen",
            emulate_tty=True,
            parameters=[value("config"), *given],
            remappings=[(topic, value(topic)) for topic in ("color", "depth", "camera_info")],
            arguments=["--ros-args", "--log-level", value("log_level")],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then make the node from them."""
    parameters = Path(get_package_share_directory("dr_perception")) / "config" / "tracker.yaml"
    defaults = {name: default for name, (default, _) in ARGUMENTS.items()} | {"config": str(parameters)}
    declared = [
        DeclareLaunchArgument(name, default_value=defaults[name], description=description)
        for name, (_, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_node)])

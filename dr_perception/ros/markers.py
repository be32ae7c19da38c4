"""Models as RViz markers: the mesh travels inside the marker, coloured by the health of the object."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray, MeshFile

from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.ros.conversions import pose_message
from dr_perception.tracking.result import ObjectState, Status

__all__ = ["MarkerFactory", "stl_bytes"]

STATUS_COLORS = {
    Status.TRACKING: (0.2, 0.8, 0.3, 0.6),
    Status.OCCLUDED: (1.0, 0.7, 0.1, 0.6),
    Status.LOST: (0.9, 0.2, 0.2, 0.4),
}
LIFETIME = Duration(sec=1)
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def stl_bytes(mesh: Mesh) -> bytes:
    """Binary STL of a mesh in metres, vertices in the model's frame."""
    corners = np.asarray(mesh.vertices)[np.asarray(mesh.faces)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles = np.zeros(len(corners), _TRIANGLE)
    triangles["corners"] = corners
    triangles["normal"] = normals / np.maximum(lengths, np.finfo(np.float64).tiny)
    return b"dr_perception".ljust(80, b"\0") + np.uint32(len(corners)).tobytes() + triangles.tobytes()


class MarkerFactory:
    """Makes the markers of one frame; meshes are encoded once."""

    def __init__(self, models: Mapping[str, ObjectModel]) -> None:
        """Encode the meshes of the models, by name."""
        self._meshes = {}
        for name, model in models.items():
            mesh = MeshFile(filename=f"{name}.stl")
            mesh.data.frombytes(stl_bytes(model.mesh))
            self._meshes[name] = mesh

    def markers(self, header: Header, objects: Mapping[str, ObjectState]) -> MarkerArray:
        """One marker per object at its pose in the frame of the header."""
        return MarkerArray(
            markers=[self._marker(header, k, name, state) for k, (name, state) in enumerate(objects.items())]
        )

    def _marker(self, header: Header, number: int, name: str, state: ObjectState) -> Marker:
        red, green, blue, alpha = STATUS_COLORS[state.status]
        return Marker(
            header=header,
            ns=name,
            id=number,
            type=Marker.MESH_RESOURCE,
            action=Marker.ADD,
            pose=pose_message(state.T_cam_obj),
            scale=Vector3(x=1.0, y=1.0, z=1.0),
            color=ColorRGBA(r=red, g=green, b=blue, a=alpha),
            lifetime=LIFETIME,
            mesh_resource=f"embedded://{name}.stl",
            mesh_file=self._meshes[name],
        )

"""Rigid motions, cameras, meshes, symmetries, models and frames; knows nothing of rendering or files.

The Warp twins live in `dr_perception.geometry.se3_warp` and `dr_perception.geometry.camera_warp`; they are
imported by those who launch kernels, so that this package stays light.
"""

from __future__ import annotations

from dr_perception.geometry.camera import Camera
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.mesh import (
    Mesh,
    drop_degenerate_faces,
    face_areas,
    face_normals,
    seen_part,
    validate_mesh,
    vertex_normals,
    weld,
)
from dr_perception.geometry.mesh_measure import bounding_sphere, diameter, sample_surface
from dr_perception.geometry.mesh_surface import MeshSurface, mesh_surface
from dr_perception.geometry.mesh_topology import Edges, edges, edges_of_faces, is_watertight
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import (
    angle_between,
    check_transform,
    covariance_about,
    exp_so3,
    hat,
    interpolate,
    invert,
    local,
    log_so3,
    make_transform,
    matrix_from_quaternion,
    move_origin,
    orthonormalize,
    perturb,
    quaternion_from_matrix,
    random_rotation,
    retract,
    rotate_covariance,
    transform_points,
)
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

__all__ = [
    "Camera",
    "ContinuousSymmetry",
    "Edges",
    "Frame",
    "Mesh",
    "MeshSurface",
    "ObjectModel",
    "Symmetries",
    "angle_between",
    "bounding_sphere",
    "check_transform",
    "covariance_about",
    "diameter",
    "drop_degenerate_faces",
    "edges",
    "edges_of_faces",
    "exp_so3",
    "face_areas",
    "face_normals",
    "hat",
    "interpolate",
    "invert",
    "is_watertight",
    "local",
    "log_so3",
    "make_transform",
    "matrix_from_quaternion",
    "mesh_surface",
    "move_origin",
    "orthonormalize",
    "perturb",
    "quaternion_from_matrix",
    "random_rotation",
    "retract",
    "rotate_covariance",
    "sample_surface",
    "seen_part",
    "transform_points",
    "validate_mesh",
    "vertex_normals",
    "weld",
]

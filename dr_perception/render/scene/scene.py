"""What is to be drawn: instances of models with poses and materials, lights and a background.

Plain data, no buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dr_perception.geometry.mesh import Mesh, validate_mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform
from dr_perception.render.scene.checks import check_type, check_vector


@dataclass(frozen=True, eq=False)
class Material:
    """How the surface of an instance reflects; see `dr_perception.render.shading.material` for the model.

    Raises:
        ValueError: A value outside its range.
    """

    albedo: ArrayLike = (1.0, 1.0, 1.0)
    """Linear RGB that multiplies vertex colours and texture."""
    roughness: float = 1.0
    """0 (mirror-like highlight) to 1."""
    metallic: float = 0.0
    """0 (dielectric) to 1 (metal)."""
    specular: float = 0.0
    """Dielectric reflectance at normal incidence over 0.08.

    0 is a pure Lambertian surface, 0.5 common plastic.
    """
    crease_angle_rad: float = 0.7
    """Normals are smoothed over edges with a smaller dihedral angle; 0 shades flat."""

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "albedo", check_vector(self.albedo, (3,), "albedo", 0.0))
        for name, high in (
            ("roughness", 1.0),
            ("metallic", 1.0),
            ("specular", 1.0),
            ("crease_angle_rad", np.pi),
        ):
            value = float(check_vector(getattr(self, name), (), f"material {name}"))
            if not 0.0 <= value <= high:
                raise ValueError(f"material {name} must lie between 0 and {high:g}, got {value}")
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class Lights:
    """Lights at infinity in the axes of the scene.

    Colours are linear RGB radiances of a white surface that faces them.

    Raises:
        ValueError: Wrong shapes, values that are not finite, or a direction of length zero.
    """

    ambient: ArrayLike = (0.4, 0.4, 0.4)
    """Light from everywhere, shape (3,)."""
    directions: ArrayLike = ((0.3, -0.5, -0.8),)
    """From the surface towards each light, shape (L, 3)."""
    colors: ArrayLike = ((0.6, 0.6, 0.6),)
    """Colour of each directional light, shape (L, 3)."""
    harmonics: ArrayLike | None = None
    """Nine coefficients of spherical harmonics to order 2, shape (9, 3), or None."""

    def __post_init__(self) -> None:
        """Validate."""
        count = len(np.atleast_2d(np.asarray(self.directions))) if np.size(self.directions) else 0
        given = np.asarray(self.directions).reshape(count, -1) if count else np.zeros((0, 3))
        colors = np.atleast_2d(np.asarray(self.colors)) if np.size(self.colors) else np.zeros((0, 3))
        directions = check_vector(given, (count, 3), "light directions")
        object.__setattr__(self, "ambient", check_vector(self.ambient, (3,), "ambient light"))
        object.__setattr__(self, "directions", directions)
        object.__setattr__(self, "colors", check_vector(colors, (count, 3), "light colors"))
        if count and np.linalg.norm(directions, axis=1).min() < 1e-9:
            raise ValueError("a light direction has length zero")
        if self.harmonics is not None:
            object.__setattr__(self, "harmonics", check_vector(self.harmonics, (9, 3), "harmonics"))


@dataclass(frozen=True, eq=False)
class Instance:
    """A model somewhere in the scene.

    Raises:
        TypeError: The model is neither `ObjectModel` nor `Mesh`.
        ValueError: The pose is not rigid, or the mesh is refused by `validate_mesh`.
    """

    model: ObjectModel | Mesh
    """What to draw."""
    T_world_obj: ArrayLike = field(default_factory=lambda: np.eye(4))
    """Pose, shape (4, 4); with the default camera the scene frame is the camera frame."""
    material: Material = field(default_factory=Material)
    """Its surface."""

    def __post_init__(self) -> None:
        """Validate."""
        check_type(self.model, (ObjectModel, Mesh), "the model of an instance")
        check_type(self.material, Material, f"the material of {self.name}")
        validate_mesh(self.mesh, self.name)
        object.__setattr__(
            self, "T_world_obj", check_transform(self.T_world_obj, f"T_world_obj of {self.name}")
        )

    @property
    def mesh(self) -> Mesh:
        """The mesh of the model."""
        return self.model.mesh if isinstance(self.model, ObjectModel) else self.model

    @property
    def name(self) -> str:
        """The model's name, for messages."""
        return self.model.name if isinstance(self.model, ObjectModel) else "mesh"


@dataclass(frozen=True, eq=False)
class Scene:
    """Instances, lights and background.

    Raises:
        TypeError: Something that is no instance, or lights that are none.
        ValueError: A background of the wrong shape.
    """

    instances: Sequence[Instance] = ()
    """What is in the scene; an empty scene renders to the background."""
    lights: Lights = field(default_factory=Lights)
    """Its lights."""
    background: ArrayLike = (0.0, 0.0, 0.0)
    """Linear RGB behind everything: shape (3,), or an image (H, W, 3)."""

    def __post_init__(self) -> None:
        """Validate."""
        check_type(self.instances, Sequence, "instances of a scene", ": Scene([Instance(model, T), ...])")
        for k, instance in enumerate(self.instances):
            check_type(instance, Instance, f"instances[{k}] of a scene")
        check_type(self.lights, Lights, "lights of a scene")
        object.__setattr__(self, "instances", tuple(self.instances))
        shape = np.shape(self.background)
        if shape != (3,) and not (len(shape) == 3 and shape[2] == 3):
            raise ValueError(f"background must have shape (3,) or (H, W, 3), got {shape}")
        object.__setattr__(self, "background", check_vector(self.background, shape, "background"))

    @classmethod
    def of(cls, model: ObjectModel | Mesh, T_cam_obj: ArrayLike, **scene: Any) -> Scene:
        """A scene of one instance with the default material."""
        return cls([Instance(model, T_cam_obj)], **scene)

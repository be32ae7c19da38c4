"""What is to be drawn: instances of models with poses and materials, lights and a background.

Plain data, no buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dr_perception.geometry.mesh import Mesh, validate_mesh
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import check_transform


def _vector(
    values: ArrayLike, shape: tuple[int, ...], what: str, low: float | None = None
) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, got {array.tolist()}")
    if low is not None and array.size and array.min() < low:
        raise ValueError(f"{what} must be at least {low:g}, got {array.min():g}")
    return array


@dataclass(frozen=True, eq=False)
class Material:
    """How the surface of an instance reflects; see `dr_perception.render.shading.shade` for the model.

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
        object.__setattr__(self, "albedo", _vector(self.albedo, (3,), "albedo", 0.0))
        for name, high in (
            ("roughness", 1.0),
            ("metallic", 1.0),
            ("specular", 1.0),
            ("crease_angle_rad", np.pi),
        ):
            value = float(getattr(self, name))
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
        directions = (
            np.asarray(self.directions, dtype=np.float64).reshape(count, -1) if count else np.zeros((0, 3))
        )
        colors = np.asarray(self.colors, dtype=np.float64) if np.size(self.colors) else np.zeros((0, 3))
        object.__setattr__(self, "ambient", _vector(self.ambient, (3,), "ambient light"))
        object.__setattr__(self, "directions", _vector(directions, (count, 3), "light directions"))
        object.__setattr__(self, "colors", _vector(colors, (count, 3), "light colors"))
        if count and np.linalg.norm(directions, axis=1).min() < 1e-9:
            raise ValueError("a light direction has length zero")
        if self.harmonics is not None:
            object.__setattr__(self, "harmonics", _vector(self.harmonics, (9, 3), "harmonics"))


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
        if not isinstance(self.model, ObjectModel | Mesh):
            raise TypeError(
                f"the model of an instance must be ObjectModel or Mesh, got {type(self.model).__name__}"
            )
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
        object.__setattr__(self, "instances", tuple(self.instances))
        background = np.asarray(self.background, dtype=np.float64)
        if background.shape != (3,) and not (background.ndim == 3 and background.shape[2] == 3):
            raise ValueError(f"background must have shape (3,) or (H, W, 3), got {background.shape}")
        object.__setattr__(self, "background", _vector(background, background.shape, "background"))

    @classmethod
    def of(cls, model: ObjectModel | Mesh, T_cam_obj: ArrayLike, **scene: Any) -> Scene:
        """A scene of one instance with the default material."""
        return cls([Instance(model, T_cam_obj)], **scene)

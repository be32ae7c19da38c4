"""An object to look for: its mesh, its symmetries and the sizes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.mesh import Mesh
from dr_perception.geometry.mesh_measure import bounding_sphere, diameter
from dr_perception.geometry.symmetry import Symmetries

__all__ = ["ObjectModel"]


@dataclass(frozen=True, eq=False)
class ObjectModel:
    """A rigid object.

    Raises:
        ValueError: The name is empty, or nobody ever saw any face of the mesh.
        TypeError: The mesh or the symmetries are of another type.
    """

    name: str
    """Name, unique among the objects of a tracker."""
    mesh: Mesh
    """Surface in the object frame."""
    symmetries: Symmetries = field(default_factory=Symmetries.none)
    """Motions that leave the looks unchanged."""
    object_id: int = 0
    """Number in a data set, 0 if none."""

    def __post_init__(self) -> None:
        """Validate."""
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"an object model needs a name, got {self.name!r}")
        if not isinstance(self.mesh, Mesh):
            raise TypeError(f"the mesh of {self.name!r} must be a Mesh, got {type(self.mesh).__name__}")
        if self.mesh.unseen_faces is not None and self.mesh.unseen_faces.all():
            raise ValueError(f"all faces of {self.name!r} are marked as unseen: nothing can be compared")
        if not isinstance(self.symmetries, Symmetries):
            raise TypeError(
                f"the symmetries of {self.name!r} must be Symmetries, got {type(self.symmetries).__name__}"
            )

    @cached_property
    def diameter_m(self) -> float:
        """Largest distance between two vertices [m]."""
        return diameter(self.mesh)

    @cached_property
    def _sphere(self) -> tuple[NDArray[np.float64], float]:
        return bounding_sphere(self.mesh)

    @property
    def center(self) -> NDArray[np.float64]:
        """Centre of a bounding sphere in the object frame [m], shape (3,)."""
        return self._sphere[0]

    @property
    def radius_m(self) -> float:
        """Radius of that sphere [m]."""
        return self._sphere[1]

    def with_name(self, name: str) -> ObjectModel:
        """The same model under another name (for a second instance)."""
        named = replace(self, name=name)
        for size in {"diameter_m", "_sphere"} & vars(self).keys():
            vars(named)[size] = vars(self)[size]
        return named

"""Ready-made unknowns in front of a scene, each a `ParameterMap`; see docs/renderer_tasks.md."""

from dr_perception.render.maps.graph import GraphMap, GraphRigidity
from dr_perception.render.maps.joints import JointMap
from dr_perception.render.maps.skin import SkinMap
from dr_perception.render.maps.spline import SplineMap

__all__ = ["GraphMap", "GraphRigidity", "JointMap", "SkinMap", "SplineMap"]

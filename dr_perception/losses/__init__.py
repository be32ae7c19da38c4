"""Image losses with values on the device and gradients through ``wp.Tape``."""

from dr_perception.losses.base import Loss
from dr_perception.losses.depth import DepthLoss, DepthNoise
from dr_perception.losses.mesh import MeshRegularizer
from dr_perception.losses.normals import NormalLoss
from dr_perception.losses.objective import MultiView, Objective, ObjectiveValue, Term
from dr_perception.losses.perceptual import Census, GradientOrientation
from dr_perception.losses.pointwise import L1, L2, Charbonnier, Huber
from dr_perception.losses.pyramid import Pyramid
from dr_perception.losses.silhouette import SilhouetteCrossEntropy, SilhouetteIoU

__all__ = [
    "L1",
    "L2",
    "Census",
    "Charbonnier",
    "DepthLoss",
    "DepthNoise",
    "GradientOrientation",
    "Huber",
    "Loss",
    "MeshRegularizer",
    "MultiView",
    "NormalLoss",
    "Objective",
    "ObjectiveValue",
    "Pyramid",
    "SilhouetteCrossEntropy",
    "SilhouetteIoU",
    "Term",
]

"""Labelled instances of real sensor frames: which are usable, what looks alike, how far labels can be off.

The facts are those of the READMEs beside the frames. References that come from ICP on the depth of the same
frame are not ground truth: a deviation from them is an error of both, and what is wrong with the depth is in
both alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from casting import cast_depth
from fit import BOP_SYMMETRIC, Case, cases
from numpy.typing import NDArray
from scenes import SHARED
from scipy.spatial.transform import Rotation

from dr_perception.data.models import load_models
from dr_perception.geometry.model import ObjectModel
from dr_perception.geometry.se3 import make_transform
from dr_perception.geometry.symmetry import ContinuousSymmetry, Symmetries

REAL = SHARED / "data/real"
YCB_SETS = ("ycbv_frames", "dexycb_frame", "posecnn_pytorch_frames", "morefusion_frame")
SETS = ("ycbv_frames", "icbin_frames", "visp_rbt_sequence", "dexycb_frame", "posecnn_pytorch_frames",
        "morefusion_frame")  # fmt: skip
LEAST_VISIBLE = 0.3
"""Share of the silhouette, in the image, that the mask must hold."""


@dataclass(frozen=True)
class Reference:
    """Where the poses of some frames come from, and how far they are off: one standard deviation an axis."""

    name: str
    sigma_m: float
    sigma_deg: float
    is_truth: bool = False

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance (6, 6) of the pose of the model's centre, tangent order (v, w)."""
        return np.diag(np.repeat([self.sigma_m, np.radians(self.sigma_deg)], 3) ** 2)


# Annotations of YCB-Video and DexYCB: the READMEs measure median residuals of depth of 0.8 to 2.1 mm at them.
# One joint ICP of a rigid scene moves by 0.2 deg and 0.4 to 0.9 mm from neighbouring truth; ICP of a single
# object drifted by 1.6 to 3.5 deg.
REFERENCES = {
    "ycbv_frames/000001": Reference("ycbv, truth", 0.0015, 0.7, is_truth=True),
    "ycbv_frames": Reference("ycbv, joint ICP", 0.0015, 0.7),
    "icbin_frames": Reference("icbin, ICP", 0.002, 2.0),
    "visp_rbt_sequence": Reference("visp, joint ICP", 0.0015, 0.7),
    "dexycb_frame": Reference("dexycb, truth", 0.0015, 0.7, is_truth=True),
    "posecnn_pytorch_frames": Reference("posecnn, ICP", 0.002, 2.0),
    "morefusion_frame": Reference("morefusion, ICP", 0.002, 2.0),
}
"""By scene, or by set."""

UNUSABLE = {"posecnn_pytorch_frames": {19: "large clamp: reference unusable", 20: "large clamp: unusable"}}
"""Objects by number whose reference is wrong."""
UNCERTAIN = {("ycbv_frames/000150", 2), ("ycbv_frames/000151", 17)}
"""Residuals of depth of 4 mm and more at the reference: judged right or wrong, left out of deviations."""
STEP = {"visp_rbt_sequence": 10}
"""Every so-many-th image of a set."""
_AXES = {13: "z", 18: "y"}
"""Axes of revolution of YCB objects: bowl, marker."""
_BOXES = {16: 4, 21: 2}
"""Fold about z of plain YCB boxes: wood block, foam brick."""
_TURN_UNKNOWN = {"posecnn_pytorch_frames": (1, 4, 6)}
"""Upright cans whose turn the reference does not know."""


@dataclass(frozen=True)
class Instance:
    """One usable labelled object in one frame."""

    set: str
    case: Case
    reference: Reference
    alike: Symmetries
    """Motions of the model that a reference, or an image, does not tell apart."""
    listed: bool
    """Whether bop_toolkit counts it as symmetric, so that ADD-S decides."""
    certain: bool
    """Whether deviations from the reference count."""
    visible: float

    @property
    def frame_name(self) -> str:
        """Scene and image."""
        return f"{self.case.scene.split('/')[1]}/{self.case.image}"


def reference_of(scene: str) -> Reference:
    """Reference of a scene ("set/scene")."""
    return REFERENCES.get(scene) or REFERENCES[scene.split("/")[0]]


def instances(set_name: str) -> tuple[list[Instance], list[str]]:
    """Usable instances of a set, and a line for each that is left out."""
    models = load_models(REAL / set_name / "models")
    kept, left_out = [], []
    for case in cases(REAL / set_name, models, STEP.get(set_name, 1)):
        number = case.model.object_id
        what = f"{case.scene}/{case.image} {case.name}"
        visible = visible_share(case)
        reason = UNUSABLE.get(set_name, {}).get(number)
        if visible < LEAST_VISIBLE:
            reason = f"{100.0 * visible:.0f} % visible"
        if reason:
            left_out.append(f"{what}: {reason}")
            continue
        listed = set_name in YCB_SETS and number in BOP_SYMMETRIC["ycbv_frames"]
        certain = (case.scene, number) not in UNCERTAIN
        turns = alike(set_name, case.model)
        kept.append(Instance(set_name, case, reference_of(case.scene), turns, listed, certain, visible))
    return kept, left_out


def visible_share(case: Case) -> float:
    """Pixels of the mask for each pixel of the silhouette within the image."""
    silhouette = int(np.isfinite(cast_depth(case.model, case.T_cam_obj, case.frame.camera)).sum())
    return float(case.mask.sum()) / max(silhouette, 1)


def alike(set_name: str, model: ObjectModel) -> Symmetries:
    """Declared symmetries, or turns about the middle that leave the mesh and what is known of it as it is."""
    number = model.object_id
    if model.symmetries.is_symmetric or set_name not in (*YCB_SETS, "visp_rbt_sequence"):
        return model.symmetries
    middle = 0.5 * (model.mesh.vertices.min(axis=0) + model.mesh.vertices.max(axis=0))
    if set_name == "visp_rbt_sequence":  # the mesh of the cube has no picture
        return _turns(Rotation.create_group("O"), middle) if number == 1 else model.symmetries
    axis = "z" if number in _TURN_UNKNOWN.get(set_name, ()) else _AXES.get(number)
    if axis:
        return Symmetries(continuous=(ContinuousSymmetry(np.eye(3)["xyz".index(axis)], middle),))
    fold = _BOXES.get(number)
    return _turns(Rotation.create_group(f"D{fold}"), middle) if fold else model.symmetries


def _turns(group: Rotation, middle: NDArray[np.float64]) -> Symmetries:
    """Turns of a group about a point, without the identity."""
    R = group.as_matrix()
    R = R[np.abs(R - np.eye(3)).max(axis=(1, 2)) > 1e-6]
    return Symmetries(make_transform(R, middle - R @ middle))

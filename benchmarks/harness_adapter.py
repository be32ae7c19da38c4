"""This project behind the interface of the comparison harness (``run_tracking.py``, ``run_refine.py``).

    cd ../shared/bench
    PYTHONPATH=/path/to/dr_perception/benchmarks taskset -c 0 \
        python run_tracking.py --tracker harness_adapter:DrPerception --out /tmp/results
    PYTHONPATH=/path/to/dr_perception/benchmarks taskset -c 0 \
        python run_refine.py --tracker harness_adapter:DrPerception --out /tmp/results

Images are taken as the harness gives them: RGB bytes, and depth in whole millimetres that stays so until the
kernels' crop.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dr_perception as drp

Poses = dict[Hashable, NDArray[np.float64]]


class DrPerception:
    """Tracker of the harness; one thread."""

    name = "dr_perception"
    uses_gt_mask = False

    def __init__(self) -> None:
        """Nothing to set."""
        self.result: drp.TrackResult | None = None

    def setup(self, models: Mapping[Hashable, Any], K: NDArray[np.float64], width: int, height: int) -> None:
        """Load the models by the files that the harness names (not timed)."""
        self._camera = drp.Camera.from_matrix(K, width, height)
        self._names = {key: f"{key}_{model.name}" for key, model in models.items()}
        self._models = {self._names[key]: drp.load_model(model.ply) for key, model in models.items()}
        self._tracker = drp.Tracker(self._models, drp.TrackerConfig(threads=1))
        self._number = 0

    def init(self, frame: Any, poses: Poses) -> None:
        """Start at given poses."""
        self._tracker.start(self._frame(frame), {self._names[key]: T for key, T in poses.items()})

    def track(self, frame: Any) -> Poses:
        """Poses in the next frame."""
        self.result = self._tracker.track(self._frame(frame))
        return {key: self.result.objects[name].T_cam_obj for key, name in self._names.items()}

    def refine(self, frame: Any, poses: Poses) -> Poses:
        """Poses in one frame, fitted from a guess."""
        taken = self._frame(frame)
        return {
            key: drp.fit_pose(self._models[self._names[key]], taken, T_cam_obj=T).T_cam_obj
            for key, T in poses.items()
        }

    def close(self) -> None:
        """Nothing to release."""

    def _frame(self, frame: Any) -> drp.Frame:
        self._number += 1
        stamp_ns = round(self._number * 1e9 / 30.0)
        return drp.Frame(
            color=frame.rgb, depth=frame.depth, camera=self._camera, depth_scale_m=0.001, stamp_ns=stamp_ns
        )

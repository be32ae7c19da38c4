"""Neither tracking nor fitting nor searching loads Open3D, also when nothing was prepared."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import sys
import numpy as np
import dr_perception as drp

half = np.array([0.05, 0.04, 0.03])
corners = half * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
colors = np.random.default_rng(0).integers(0, 256, (8, 3)).astype(np.uint8)
model = drp.ObjectModel("box", drp.Mesh(corners, faces, vertex_colors=colors))
camera = drp.Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
T = np.eye(4)
T[2, 3] = 0.4
depth = np.full((120, 160), 0.6, np.float32)
depth[45:75, 60:100] = 0.37
frames = [
    drp.Frame(color=np.full((120, 160, 3), 90, np.uint8), depth=depth, camera=camera, stamp_ns=k * 33_000_000)
    for k in range(3)
]
tracker = drp.Tracker({"box": model})
tracker.start(frames[0], {"box": T})
for frame in frames[1:]:
    tracker.track(frame)
drp.fit_pose(model, frames[0], T_cam_obj=T)
drp.fit_pose(model, frames[0], mask=depth < 0.5)
assert "open3d" not in sys.modules
"""


def test_open3d_is_not_loaded() -> None:
    environment = {**os.environ, "DR_PERCEPTION_CACHE": "off"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr

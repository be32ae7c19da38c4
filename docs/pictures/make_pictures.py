"""Make the pictures of the documentation: ``python docs/pictures/make_pictures.py``.

They show the shipped recording. The picture of the report needs chromium on the path.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

import dr_perception as drp
from dr_perception.evaluation import replay_sequence, write_report
from dr_perception.evaluation.pictures import overlay_frames
from dr_perception.viz.video import write_video

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / "models" / "demo"
SHARE_OF_SIZE = 0.6


def main() -> None:
    """Replay the demo, then write tracking.webp, overlay.jpg and report.png."""
    source, models = drp.open_sequence(DEMO / "tabletop"), drp.load_models(DEMO / "models")
    run = replay_sequence(source, models, init="ground-truth")
    pictures = [picture for _, picture in overlay_frames(run.metrics, source, run.models)]
    cv2.imwrite(str(HERE / "overlay.jpg"), pictures[len(pictures) // 2][..., ::-1])
    write_video(HERE / "tracking.webp", map(_small, pictures))
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(folder, run.metrics, source=source, models=run.models)
        _screenshot(page, HERE / "report.png")


def _small(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, None, fx=SHARE_OF_SIZE, fy=SHARE_OF_SIZE, interpolation=cv2.INTER_AREA)


def _screenshot(page: Path, target: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise FileNotFoundError("chromium is not on the path; it takes the picture of the report")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1360"]
    subprocess.run(
        [chromium, *flags, f"--screenshot={target}", page.as_uri()], check=True, capture_output=True
    )


if __name__ == "__main__":
    main()

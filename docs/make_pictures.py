"""Make the pictures of the documentation: ``python docs/make_pictures.py``.

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
PICTURES = HERE / "pictures"
DEMO = HERE.parent / "models" / "demo"
ROWS = slice(90, 370)
SIZE_PX = (512, 224)
EVERY = 2
LARGEST_BYTES = 300_000


def main() -> None:
    """Replay the demo, then write tracking.webp and report.webp.

    Raises:
        ValueError: A picture is larger than a page should load.
    """
    source, models = drp.open_sequence(DEMO / "tabletop"), drp.load_models(DEMO / "models")
    run = replay_sequence(source, models, init="ground-truth")
    overlays = [_small(picture) for _, picture in overlay_frames(run.metrics, source, run.models)]
    write_video(PICTURES / "tracking.webp", overlays[::EVERY], fps=30.0 / EVERY)
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(folder, run.metrics, source=source, models=run.models)
        _screenshot(page, Path(folder) / "report.png", PICTURES / "report.webp")
    for path in PICTURES.glob("*.webp"):
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}")


def _small(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture[ROWS], SIZE_PX, interpolation=cv2.INTER_AREA)


def _screenshot(page: Path, raw: Path, target: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise FileNotFoundError("chromium is not on the path; it takes the picture of the report")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,920"]
    subprocess.run([chromium, *flags, f"--screenshot={raw}", page.as_uri()], check=True, capture_output=True)
    cv2.imwrite(str(target), cv2.imread(str(raw)), [cv2.IMWRITE_WEBP_QUALITY, 85])


if __name__ == "__main__":
    main()

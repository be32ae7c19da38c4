"""The report is one page that loads nothing and opens in a browser."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dr_perception.evaluation.records import PoseRecord
from dr_perception.evaluation.report import write_report
from dr_perception.evaluation.result import Timing
from dr_perception.evaluation.scoring import evaluate
from dr_perception.tracking.result import Status

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def metrics(records, fixed_source, models):
    """A run with an occlusion, a loss and a missing pose."""
    changed = [r for k, r in enumerate(records) if k != 40]
    changed[20] = dataclasses.replace(changed[20], status=Status.OCCLUDED)
    changed[30] = dataclasses.replace(changed[30], status=Status.LOST, score=0.1)
    timing = Timing(np.linspace(2, 4, 40), np.linspace(1, 2, 40), np.full(40, 8.0))
    return evaluate(changed, fixed_source, models, timing=timing, config={"tracker": {"threads": 2}})


@pytest.fixture(scope="module")
def page(metrics, fixed_source, models, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    return write_report(out, metrics, source=fixed_source, models=models, notes="A <test> run.")


def test_the_page_loads_nothing(page):
    text = page.read_text()
    references = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert references and all(r.startswith(("data:", "#")) for r in references)
    assert not re.findall(r"url\((?!#)", text)
    assert "<script" not in text and "@import" not in text
    assert {p.name for p in page.parent.iterdir()} == {"metrics.json", "frames.csv", "report.html"}


def test_the_page_shows_what_was_measured(page, metrics):
    text = page.read_text()
    for part in (
        "box",
        "can",
        "synthetic/000001",
        "Worst frame",
        "threads: 2",
        "A &lt;test&gt; run.",
        "NEES",
    ):
        assert part in text
    assert text.count("<svg") == 2 + 3 + 1 + 2  # timelines, distributions, time, uncertainty
    median = metrics.to_dict()["all"]["add_mm"]["median"]
    assert f"{median:.2f}" in text
    assert len(re.findall(r'src="data:image/jpeg', text)) == 3


def test_the_same_run_gives_the_same_page(metrics, tmp_path):
    first, second = (write_report(tmp_path / run, metrics).read_bytes() for run in "ab")
    assert first == second


def test_bare_poses_without_pictures_times_and_covariance_still_make_a_page(source, models, tmp_path):
    poses = [PoseRecord(f.stamp_ns, "box", source.truth[k]["box"]) for k, f in enumerate(source) if k < 4]
    text = write_report(tmp_path, evaluate(poses, source, models, indices=[0, 1])).read_text()
    assert "n/a" in text and "Pictures" not in text


def test_frames_csv_has_a_row_for_each_object_and_frame(page):
    rows = (page.parent / "frames.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 40
    assert rows[0].startswith("frame,stamp_ns,name,status,score,add_mm")
    assert any(",inf," in row for row in rows)


def test_media_is_embedded_or_refused(metrics, tmp_path):
    webm = tmp_path / "run.webm"
    webm.write_bytes(b"x" * 100)
    assert 'src="data:video/webm;base64,' in write_report(tmp_path / "a", metrics, media=webm).read_text()
    with pytest.raises(FileNotFoundError, match="absent"):
        write_report(tmp_path / "b", metrics, media=tmp_path / "absent.webp")
    with pytest.raises(ValueError, match="neither a video nor a picture"):
        write_report(tmp_path / "b", metrics, media=tmp_path / "a" / "frames.csv")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with")
def test_a_browser_shows_the_page_without_sideways_scrolling(page, tmp_path):
    probe = tmp_path / "probe.html"
    script = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script></body>"
    probe.write_text(page.read_text().replace("</body>", script))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--dump-dom"]
    dom = subprocess.run(
        [CHROMIUM, *flags, probe.as_uri()], capture_output=True, text=True, timeout=120
    ).stdout
    assert dom.count("<svg") == 8
    assert int(re.search(r"<title>(-?\d+)</title>", dom).group(1)) <= 0

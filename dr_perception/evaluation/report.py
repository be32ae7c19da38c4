"""One self-contained HTML page about a run: figures, plots, pictures, configuration. It loads nothing."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import chi2

from dr_perception.data.source import FrameSource
from dr_perception.evaluation.consistency import Calibration, consistency, drift, jitter, reliability
from dr_perception.evaluation.frames_csv import write_frames
from dr_perception.evaluation.pictures import Picture, telling_pictures
from dr_perception.evaluation.result import LOST_FRACTION, RECALL_FRACTION, Metrics, ObjectErrors
from dr_perception.evaluation.statistics import average_recall, recall_curve
from dr_perception.geometry.model import ObjectModel
from dr_perception.viz import plots
from dr_perception.viz.palette import hex_color, object_color

__all__ = ["write_report"]

MAX_MEDIA_BYTES = 12_000_000


def write_report(
    out: str | Path,
    metrics: Metrics,
    *,
    source: FrameSource | None = None,
    models: Mapping[str, ObjectModel] | None = None,
    title: str | None = None,
    notes: str = "",
    media: str | Path | None = None,
) -> Path:
    """Write ``metrics.json``, ``frames.csv`` and ``report.html`` into a folder.

    Args:
        out: The folder, made where it does not exist.
        metrics: What was measured.
        source: The sequence, for pictures of the best, the middle and the worst frame.
        models: Models by name, for the pictures.
        title: Heading of the page.
        notes: One paragraph of plain text below the heading: what was run and how.
        media: An overlay video or animated picture to show in the page.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: ``media`` does not exist.
        ValueError: ``media`` is too big to live inside of a page (12 MB) or is neither video nor picture.
    """
    import jinja2

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    metrics.write(out / "metrics.json")
    write_frames(out / "frames.csv", metrics)
    pictures = [] if source is None or models is None else telling_pictures(metrics, source, models)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dr_perception.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        title=title or f"Tracking report: {metrics.sequence}",
        notes=notes,
        media=None if media is None else _embed(Path(media)),
        **_content(metrics, pictures),
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    return out / "report.html"


@dataclass(frozen=True)
class _Media:
    uri: str
    is_video: bool


def _embed(path: Path) -> _Media:
    """A video or picture as a data URI."""
    if not path.is_file():
        raise FileNotFoundError(f"media file {path} does not exist")
    if path.stat().st_size > MAX_MEDIA_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, a page holds at most {MAX_MEDIA_BYTES}")
    kind = "image/webp" if path.suffix == ".webp" else mimetypes.guess_type(path.name)[0]
    if kind is None or not kind.startswith(("video/", "image/")):
        raise ValueError(f"{path} is neither a video nor a picture that a browser shows")
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return _Media(f"data:{kind};base64,{data}", kind.startswith("video/"))


def _content(metrics: Metrics, pictures: list[Picture]) -> dict[str, Any]:
    """Everything the template shows except title, notes and media."""
    summary = metrics.to_dict()
    objects = list(metrics.objects.values())
    return {
        "metrics": summary,
        "tiles": _tiles(summary),
        "names": list(metrics.objects),
        "rows": _rows(objects, summary),
        "health": [_health(e) for e in objects],
        "pictures": pictures,
        "timelines": [_timeline(e, k) for k, e in enumerate(objects)],
        "recall_plot": _recall_plot(objects),
        "histograms": _histograms(objects),
        "timing_plot": _timing_plot(metrics),
        "nees_plot": _nees_plot(objects),
        "calibration": _calibration(objects),
        "config": yaml.safe_dump(summary["config"], sort_keys=False) if summary["config"] else "",
        "recall_percent": f"{100 * RECALL_FRACTION:.0f}",
        "lost_percent": f"{100 * LOST_FRACTION:.0f}",
    }


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, unit, caption) of the line of big figures."""
    every, timing = summary["all"], summary["timing_ms"]["per_object"]["median"]
    tiles = [
        (f"{100 * every['recall_10pct']:.1f}", "%", "frames with ADD below 10 % of the diameter"),
        (_number(every["add_mm"]["median"]), "mm", "median ADD"),
        (_number(every["rotation_deg"]["median"]), "°", "median rotation error"),
        (_number(every["translation_mm"]["median"]), "mm", "median translation error"),
        (str(every["lost_frames"]), "", "frames lost"),
    ]
    return tiles if timing is None else [*tiles, (_number(timing), "ms", "median time per object")]


def _rows(objects: list[ObjectErrors], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines of the summary table as text: one an object, and one over all where there are several."""
    rows = []
    for k, errors in enumerate(objects):
        row = _row(summary["objects"][errors.name], [errors])
        rows.append({**row, "name": errors.name, "color": hex_color(object_color(k))})
    if len(objects) > 1:
        rows.append({**_row(summary["all"], objects), "name": "all", "color": "", "symmetric": False})
    return rows


def _row(entry: Mapping[str, Any], parts: list[ObjectErrors]) -> dict[str, Any]:
    """One line of the summary table without its name."""
    mssd = np.concatenate([p.mssd for p in parts])
    diameters = np.concatenate([np.full(len(p.mssd), p.diameter_m) for p in parts])
    return {
        "symmetric": entry["symmetric"],
        "frames": len(mssd),
        "add": [_number(entry["add_mm"][k]) for k in ("median", "p95", "max")],
        "add_s": _number(entry["add_s_mm"]["median"]),
        "rotation": [_number(entry["rotation_deg"][k]) for k in ("median", "p95")],
        "translation": [_number(entry["translation_mm"][k]) for k in ("median", "p95")],
        "recall": f"{100 * entry['recall_10pct']:.1f}",
        "auc_2cm": f"{100 * entry['auc_add_2cm']:.1f}",
        "auc_10cm": f"{100 * entry['auc_add_10cm']:.1f}",
        "mssd": f"{100 * average_recall(mssd, diameters):.1f}",
        "lost": entry["lost_frames"],
    }


def _health(errors: ObjectErrors) -> dict[str, Any]:
    """One line of the table about uncertainty and health, as text."""
    signed = errors.error[np.isfinite(errors.error).all(axis=1)]
    noise = jitter(signed) if len(signed) >= 3 else np.full(6, np.nan)
    times = 1e-9 * (errors.stamp_ns[np.isfinite(errors.error).all(axis=1)] - errors.stamp_ns[0])
    slope = drift(signed, times) if len(signed) >= 3 and np.ptp(times) > 0 else np.full(6, np.nan)
    finite = np.isfinite(errors.nees).any()
    truth = consistency(errors.nees, errors.dof) if finite else None
    return {
        "name": errors.name,
        "dof": errors.dof,
        "jitter_mm": _number(1e3 * float(np.linalg.norm(noise[:3]))),
        "jitter_deg": _number(float(np.rad2deg(np.linalg.norm(noise[3:])))),
        "drift_mm_s": _number(1e3 * float(np.linalg.norm(slope[:3]))),
        "drift_deg_s": _number(float(np.rad2deg(np.linalg.norm(slope[3:])))),
        "nees": "n/a" if truth is None else _number(truth.mean),
        "inside": "n/a" if truth is None else f"{100 * truth.share_inside_95:.0f} %",
        "reported_lost": int(errors.reported_lost.sum()),
        "far_off": int(errors.far_off.sum()),
        "agreed": int((errors.reported_lost & errors.far_off).sum()),
    }


def _timeline(errors: ObjectErrors, index: int) -> dict[str, str]:
    plot = plots.error_over_time(
        errors.frame,
        1e3 * errors.add,
        errors.status,
        limit=1e3 * RECALL_FRACTION * errors.diameter_m,
        color=index,
        label="ADD [mm]",
    )
    return {"name": errors.name, "color": hex_color(object_color(index)), "svg": plot}


def _recall_plot(objects: list[ObjectErrors]) -> str:
    finite = np.concatenate([e.add[np.isfinite(e.add)] for e in objects])
    reach = float(np.percentile(finite, 90)) if finite.size else 0.02
    maximum = next((m for m in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1) if m >= 1.5 * reach), 0.1)
    curves = {}
    for errors in objects:
        curve = recall_curve(errors.add, maximum)
        curves[errors.name] = (1e3 * curve[:, 0], curve[:, 1])
    return plots.recall_curves(curves, label="ADD threshold [mm]")


def _histograms(objects: list[ObjectErrors]) -> list[tuple[str, str]]:
    rotation = {e.name: np.rad2deg(e.rotation) for e in objects}
    translation = {e.name: 1e3 * e.translation for e in objects}
    return [
        ("Rotation error", plots.error_histograms(rotation, label="rotation error [°]")),
        ("Translation error", plots.error_histograms(translation, label="translation error [mm]")),
    ]


def _timing_plot(metrics: Metrics) -> str:
    times = metrics.timing.track
    return plots.timing_plot(np.arange(1, len(times) + 1), times) if len(times) else ""


def _nees_plot(objects: list[ObjectErrors]) -> str:
    known = [e for e in objects if (np.isfinite(e.nees) & (e.nees > 0)).any()]
    if not known:
        return ""
    dof = max(e.dof for e in known)
    low, high = np.asarray(chi2.ppf([0.025, 0.975], dof))
    series = {e.name: (e.frame, e.nees) for e in known}
    return plots.nees_over_time(series, bounds=(float(low), float(high)), dof=dof)


def _calibration(objects: list[ObjectErrors]) -> dict[str, Any] | None:
    score = np.concatenate([e.score for e in objects])
    known = np.isfinite(score)
    if not known.any():
        return None
    result: Calibration = reliability(score[known], np.concatenate([e.correct for e in objects])[known])
    plot = plots.reliability_diagram(result.predicted, result.observed, result.count)
    return {"svg": plot, "error": f"{result.expected_error:.3f}", "brier": f"{result.brier:.3f}"}


def _number(value: float | None) -> str:
    """Three significant digits; "n/a" where there is no number."""
    if value is None or not np.isfinite(value):
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}" if abs(value) >= 1 else f"{value:.2f}"

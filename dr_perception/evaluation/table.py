"""The summary of a run as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dr_perception.evaluation.result import Metrics

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["summary_table"]

HEADINGS = (
    "object",
    "ADD\nmm",
    "ADD\n95 %",
    "rot.\n°",
    "trans.\nmm",
    "recall\n%",
    "AUC\n2 cm",
    "AUC\n10 cm",
    "lost\nframes",
)


def summary_table(metrics: Metrics) -> Table:
    """Rich table with one row an object and one over all; medians unless the heading says otherwise."""
    from rich import box
    from rich.table import Table

    content = metrics.to_dict()
    title = f"{metrics.sequence}: {metrics.frames} frames"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, caption_justify="left")
    for k, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if k == 0 else "right", no_wrap=True)
    for name, entry in content["objects"].items():
        table.add_row(name, *_cells(entry))
    table.add_section()
    table.add_row("all", *_cells(content["all"]), style="bold")
    per_object = content["timing_ms"]["per_object"]
    if per_object["median"] is not None:
        median, p95 = per_object["median"], per_object["p95"]
        table.caption = f"time per object: median {median:.2f} ms, 95 % below {p95:.2f} ms"
    return table


def _cells(entry: dict[str, Any]) -> list[str]:
    return [
        _number(entry["add_mm"]["median"]),
        _number(entry["add_mm"]["p95"]),
        _number(entry["rotation_deg"]["median"]),
        _number(entry["translation_mm"]["median"]),
        f"{100 * entry['recall_10pct']:.1f}",
        f"{100 * entry['auc_add_2cm']:.1f}",
        f"{100 * entry['auc_add_10cm']:.1f}",
        str(entry["lost_frames"]),
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"

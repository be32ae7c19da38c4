"""The demo: the shipped recording over DDS into the real node, and a report on what the node publishes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dr_perception.ros.share import share_file

if TYPE_CHECKING:
    from dr_perception.data.source import FrameSource
    from dr_perception.evaluation.records import PoseRecord
    from dr_perception.evaluation.result import Metrics
    from dr_perception.geometry.model import ObjectModel
    from dr_perception.ros.through_node import NodeRun

__all__ = ["run_demo"]

BAG, MODELS = "models/demo/tabletop", "models/demo/models"
NO_ROS = (
    "the demo needs ROS 2: run `make demo` from a checkout, install `dr_perception[ros]` (Linux, x86_64), or "
    "source a ROS 2 Jazzy installation; `dr-perception replay` does the same offline"
)
NOTES = (
    "One process played a recording over DDS, tracker_node ran as another, a third recorded what the node "
    "published. The node was given the poses of the first frame; everything after is its own work."
)


def run_demo(out: str | Path, bag: str | Path | None = None, models: str | Path | None = None) -> Metrics:
    """Run the demo, write the report, and print the table of errors and rates.

    Args:
        out: Folder for report.html, metrics.json, overlay.webp, poses.csv, trajectory.csv and the logs.
        bag: Sequence with ground truth; the shipped one by default.
        models: Folder of its models; the shipped one by default.

    Returns:
        The errors.

    Raises:
        ModuleNotFoundError: There is no ROS 2.
        RuntimeError: A process failed.
        FileNotFoundError: The recording is not there.
    """
    from rich.console import Console

    try:
        from dr_perception.ros.through_node import run_through_node
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{NO_ROS} ({error})") from error
    from dr_perception.data.models import load_models
    from dr_perception.data.source import open_sequence
    from dr_perception.evaluation.replay import starting_poses
    from dr_perception.evaluation.scoring import instances
    from dr_perception.evaluation.table import summary_table

    out = Path(out)
    bag = Path(bag) if bag else share_file(BAG)
    models_dir = Path(models) if models else share_file(MODELS)
    source, loaded = open_sequence(bag), load_models(models_dir)
    poses = starting_poses(source, loaded, "ground-truth")
    tracked = instances(poses, loaded)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(f"playing {bag.name} ({len(source)} frames) to tracker_node: {', '.join(tracked)}")
    with _progress("starting the node") as progress:
        run = run_through_node(source, bag, models_dir, poses, out, progress=progress)
    records = run.recorder.records()
    metrics = _score(run, records, source, tracked)
    with _progress("drawing the overlay") as progress:
        page = _write(out, metrics, records, source, tracked, progress)
    console.print(summary_table(metrics))
    frames = len(set(run.recorder.frames))
    rate = (frames - 1) / run.seconds
    console.print(f"{frames} frames over DDS in {run.seconds:.1f} s: {rate:.1f} frames/s")
    for sentence in run.recorder.problems.values():
        console.print(f"[red]the node reported:[/] {sentence}")
    console.print(f"report: {page}")
    return metrics


def _score(
    run: NodeRun, records: list[PoseRecord], source: FrameSource, tracked: dict[str, ObjectModel]
) -> Metrics:
    """Errors of all frames but the first, on which the node started."""
    from dr_perception.evaluation.result import Timing
    from dr_perception.evaluation.scoring import evaluate

    times = run.recorder.times_ms()
    track = np.array([times[stamp] for stamp in sorted(times)])
    timing = Timing(track, track / len(tracked), np.zeros(0))
    return evaluate(
        records,
        source,
        tracked,
        indices=list(range(1, len(source))),
        timing=timing,
        config=run.config.model_dump(mode="json"),
    )


def _write(
    out: Path,
    metrics: Metrics,
    records: list[PoseRecord],
    source: FrameSource,
    tracked: dict[str, ObjectModel],
    progress: Callable[[int, int], None],
) -> Path:
    """Poses, video and report."""
    from dr_perception.data.bop_results import write_bop_results
    from dr_perception.evaluation.bop_records import to_bop_results
    from dr_perception.evaluation.pictures import overlay_frames
    from dr_perception.evaluation.records import write_records
    from dr_perception.evaluation.report import write_report
    from dr_perception.viz.video import write_video

    stamps = [frame.stamp_ns for frame in source]
    write_records(out / "trajectory.csv", records)
    write_bop_results(out / "poses.csv", to_bop_results(records, stamps, source, tracked))

    def pictures() -> Iterator[np.ndarray]:
        for index, picture in overlay_frames(metrics, source, tracked):
            progress(index, len(stamps) - 1)
            yield picture

    video = write_video(out / "overlay.webp", pictures())
    return write_report(
        out,
        metrics,
        source=source,
        models=tracked,
        title="tracker_node on a recording",
        notes=NOTES,
        media=video,
    )


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the error stream; yields a function (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            description = "tracking" if title == "starting the node" else title
            bar.update(task, completed=done, total=total, description=description)

        yield update

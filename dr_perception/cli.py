"""The command line. Everything heavy is imported inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr_perception import __version__

if TYPE_CHECKING:
    from dr_perception.config import Config
    from dr_perception.data.source import FrameSource
    from dr_perception.evaluation.result import Metrics
    from dr_perception.geometry.model import ObjectModel

__all__ = ["cli", "main"]

USER_ERRORS = (ValueError, TypeError, OSError, RuntimeError, ModuleNotFoundError)
UNITS = ("m", "mm", "cm", "inch")
path_type = click.Path(path_type=Path)


class _Commands(click.Group):
    """A group that turns the errors a user can mend into one sentence and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except USER_ERRORS as error:
            hint = "" if isinstance(error, (ValueError, OSError)) else " (--debug shows where)"
            click.echo(f"dr-perception: {' '.join(str(error).split())}{hint}", err=True)
            ctx.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dr-perception")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Track known CAD objects and the camera in RGB-D images by differentiable rendering."""


def _with_config(function: Any) -> Any:
    """Options that every command with a tracker has."""
    function = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting; may be repeated.",
    )(function)
    return click.option("--config", "config_file", type=path_type, help="Configuration file (YAML).")(
        function
    )


def _with_models(function: Any) -> Any:
    """Options that choose the models."""
    function = click.option("--unit", type=click.Choice(UNITS), help="Unit of the meshes, if not stated.")(
        function
    )
    return click.option(
        "--models",
        "models_dir",
        required=True,
        type=path_type,
        help="Folder of CAD models (BOP or plain meshes).",
    )(function)


@cli.command()
@click.argument("sequence", type=path_type)
@_with_models
@click.option("--out", required=True, type=path_type, help="Folder for the results.")
@click.option(
    "--init", type=click.Choice(["ground-truth", "search"]), help="Where the first poses come from."
)
@_with_config
@click.option("--stride", default=1, show_default=True, help="Use every n-th frame.")
@click.option("--max-frames", type=int, help="Stop after so many frames.")
@click.option("--video", type=click.Choice(["webp", "gif", "webm"]), help="Also write an overlay video.")
def replay(
    sequence: Path,
    models_dir: Path,
    unit: str | None,
    out: Path,
    init: Any,
    config_file: Path | None,
    overrides: tuple[str, ...],
    stride: int,
    max_frames: int | None,
    video: str | None,
) -> None:
    """Track a recorded sequence and report the errors.

    SEQUENCE is a BOP scene, a rosbag2 folder or file, or a plain folder of images. Writes poses.csv (BOP
    results), trajectory.csv (with covariance and status) and, where there is ground truth, metrics.json,
    frames.csv and report.html.
    """
    from dr_perception.evaluation.replay import replay_sequence, write_poses
    from dr_perception.evaluation.report import write_report

    config = _config("replay", config_file, overrides)
    models, source = _inputs(config, models_dir, unit, sequence, overrides)
    out.mkdir(parents=True, exist_ok=True)
    with _progress(f"tracking {source.name}") as progress:
        run = replay_sequence(
            source, models, config, init=init, stride=stride, max_frames=max_frames, progress=progress
        )
    write_poses(out, run, source)
    if run.damage:
        raise click.ClickException(f"{run.damage}; poses up to there are in {out / 'poses.csv'}")
    if run.metrics is None:
        click.echo(f"no ground truth to compare with; poses are in {out / 'poses.csv'}")
        return
    media = None
    if video is not None:
        from dr_perception.evaluation.pictures import overlay_frames
        from dr_perception.viz.video import write_video

        pictures = (picture for _, picture in overlay_frames(run.metrics, source, run.models))
        media = write_video(out / f"overlay.{video}", pictures)
    method = init or config.init.method
    notes = f"Offline replay; first poses: {method} of the first frame; stride {stride}."
    page = write_report(out, run.metrics, source=source, models=run.models, notes=notes, media=media)
    _print_table(run.metrics)
    click.echo(f"report: {page}")


@cli.command()
@click.argument("poses", type=path_type)
@click.argument("sequence", type=path_type)
@_with_models
@click.option("--out", type=path_type, help="Folder for metrics.json, frames.csv and report.html.")
def evaluate(poses: Path, sequence: Path, models_dir: Path, unit: str | None, out: Path | None) -> None:
    """Compare recorded poses with the ground truth of a sequence.

    POSES is a trajectory.csv of the replay or of the node's recorder, or a BOP result file.
    """
    from dr_perception.config import Config
    from dr_perception.evaluation.bop_records import read_poses
    from dr_perception.evaluation.report import write_report
    from dr_perception.evaluation.scoring import evaluate as score

    models, source = _inputs(Config(), models_dir, unit, sequence)
    metrics = score(read_poses(poses, source.stamps_ns, source), source, models)
    _print_table(metrics)
    if out is not None:
        notes = f"Poses read from {poses.name}."
        click.echo(f"report: {write_report(out, metrics, source=source, models=models, notes=notes)}")


@cli.command()
@click.argument("sequence", type=path_type)
@_with_models
@click.option("--init", type=click.Choice(["ground-truth", "search"]), default="search", show_default=True)
@_with_config
@click.option("--max-frames", type=int, help="Stop after so many frames.")
@click.option("--rerun", metavar="FILE", help="Stream to a Rerun recording; '-' opens the viewer.")
def track(
    sequence: Path,
    models_dir: Path,
    unit: str | None,
    init: Any,
    config_file: Path | None,
    overrides: tuple[str, ...],
    max_frames: int | None,
    rerun: str | None,
) -> None:
    """Track a sequence and print one JSON object a frame: poses, covariance, status, score."""
    import json
    from itertools import islice

    from dr_perception.evaluation.replay import starting_poses
    from dr_perception.evaluation.scoring import instances
    from dr_perception.tracking.tracker import Tracker
    from dr_perception.viz.stream import make_visualizer

    config = _config("track", config_file, overrides)
    models, source = _inputs(config, models_dir, unit, sequence, overrides)
    poses = starting_poses(source, models, init)
    tracked = instances(poses, models)
    tracker = Tracker(tracked, config=config.tracker)
    view = make_visualizer("off" if rerun is None else "rerun", "" if rerun in (None, "-") else rerun)
    view.start(tracked)
    for index, frame in enumerate(islice(source, max_frames)):
        if index == 0:
            tracker.start(frame, poses, in_view=False)
            continue
        result = tracker.track(frame)
        view.show(frame, result)
        objects = {
            name: {
                "T_cam_obj": state.T_cam_obj.tolist(),
                "covariance": state.covariance.tolist(),
                "status": state.status.name,
                "score": state.score,
            }
            for name, state in result.objects.items()
        }
        click.echo(json.dumps({"stamp_ns": result.stamp_ns, "objects": objects}))
    view.close()


@cli.command()
@click.argument("model", type=path_type)
@click.argument("sequence", type=path_type)
@click.option("--frame", "index", default=0, show_default=True, help="Which frame of the sequence.")
@click.option("--unit", type=click.Choice(UNITS), help="Unit of the mesh, if not stated beside it.")
@click.option(
    "--guess", metavar="X Y Z QX QY QZ QW", help="First pose [m]; without it the image is searched."
)
@click.option("--mask", type=path_type, help="Picture that is not black where the object is.")
@_with_config
@click.option("--overlay", type=path_type, help="Write a picture of the fitted model over the image.")
def fit(
    model: Path,
    sequence: Path,
    index: int,
    unit: str | None,
    guess: str | None,
    mask: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    overlay: Path | None,
) -> None:
    """Fit the pose of one CAD model to one RGB-D frame and print it."""
    from itertools import islice

    import dr_perception as drp

    _quiet_warp()
    config = _config("fit", config_file, overrides)
    loaded = drp.load_model(model, unit=unit)
    frame = next(islice(iter(_opened(sequence, config, overrides)), index, None), None)
    if frame is None:
        raise ValueError(f"{sequence} has no frame {index}")
    start = None if guess is None else _parse_pose(guess)
    pixels = None if mask is None else _read_mask(mask)
    estimate = drp.fit_pose(loaded, frame, T_cam_obj=start, mask=pixels, config=config.fit)
    _print_estimate(loaded.name, estimate)
    if overlay is not None:
        from dr_perception.evaluation.pictures import background
        from dr_perception.viz.overlay import draw_overlay

        poses = {loaded.name: estimate.T_cam_obj}
        _write_picture(overlay, draw_overlay(background(frame), {loaded.name: loaded}, poses, frame.camera))


@cli.command()
@click.argument("models", type=path_type, nargs=-1, required=True)
@click.option("--unit", type=click.Choice(UNITS), help="Unit of the meshes, if not stated beside them.")
@click.option(
    "--cache", type=path_type, help="Folder for what is prepared; by default the one that tracking looks in."
)
@_with_config
def prepare(
    models: tuple[Path, ...],
    unit: str | None,
    cache: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Prepare CAD models, so that tracking and fitting begin at once.

    MODELS are mesh files or folders of them. What is made of a model (simplified mesh, search tables) is kept
    by its content; a program finds it there if DR_PERCEPTION_CACHE names the folder. Files may be removed at
    any time.
    """
    import time

    from dr_perception.body.store import ENVIRONMENT, Store, default_folder
    from dr_perception.data.models import load_model, load_models
    from dr_perception.hypothesis.prepare import prepare_model

    _quiet_warp()
    config = _config("prepare", config_file, overrides)
    folder = cache or default_folder()
    if folder is None:
        raise ValueError(f"{ENVIRONMENT} is off: name a folder with --cache")
    for path in models:
        found = load_models(path, unit) if path.is_dir() else {"": load_model(path, unit)}
        for model in found.values():
            store = Store(folder, must_write=True)
            begin = time.perf_counter()
            tables = prepare_model(model, config.body.mesh_error, store)
            faces = f"{len(model.mesh.faces)} faces, {len(tables['body']['faces'])} after simplification"
            kinds = ", ".join(store.made) if store.made else "nothing: all was there"
            click.echo(f"{model.name}: {faces}; made {kinds} ({time.perf_counter() - begin:.1f} s)")
    click.echo(f"prepared in {folder}")


@cli.command()
@click.argument("model", type=path_type)
@click.option("--out", required=True, type=path_type, help="The picture (PNG or JPEG).")
@click.option("--unit", type=click.Choice(UNITS), help="Unit of the mesh, if not stated beside it.")
@click.option("--size", default="640x480", show_default=True, metavar="WxH", help="Size of the picture.")
@click.option(
    "--azimuth", default=35.0, show_default=True, help="View around the vertical axis of the model [°]."
)
@click.option("--elevation", default=30.0, show_default=True, help="View from above [°].")
def render(model: Path, out: Path, unit: str | None, size: str, azimuth: float, elevation: float) -> None:
    """Draw one CAD model."""
    from dr_perception import load_model
    from dr_perception.viz.portrait import draw_portrait

    _quiet_warp()
    width, separator, height = size.partition("x")
    if not (separator and width.isdigit() and height.isdigit()):
        raise ValueError(f"expected a size like 640x480, got {size!r}")
    picture = draw_portrait(load_model(model, unit=unit), (int(width), int(height)), azimuth, elevation)
    _write_picture(out, picture)


@cli.command()
@click.option(
    "--compile", "compile_", is_flag=True, help="Compile all kernels, so that the first run is fast."
)
def doctor(compile_: bool) -> None:
    """Say what is installed, what is missing and how to get it; exit status 1 where something is missing."""
    from rich.console import Console
    from rich.table import Table

    from dr_perception.doctor import Level, checks, compile_kernels

    if compile_:
        total = 0.0
        for number, count, name, seconds in compile_kernels():
            total += seconds
            click.echo(f"[{number:2d}/{count}] {name.removeprefix('dr_perception.')} {seconds:.1f} s")
        click.echo(f"kernels are ready ({total:.1f} s)")
        return
    marks = {
        Level.OK: "[green]ok[/]",
        Level.MISSING: "[red]missing[/]",
        Level.MISSING_OPTIONAL: "[yellow]-[/]",
    }
    table = Table(box=None, show_header=False)
    results = list(checks())
    for check in results:
        table.add_row(marks[check.level], check.what, check.detail)
    Console().print(table)
    if any(check.level is Level.MISSING for check in results):
        sys.exit(1)


@cli.command()
@click.option(
    "--out", default=Path("out/demo"), show_default=True, type=path_type, help="Folder for the results."
)
def demo(out: Path) -> None:
    """Play the shipped bag into the ROS 2 node, record what it publishes, and report the errors."""
    from dr_perception.ros.demo import run_demo

    run_demo(out)


def _config(program: str, config_file: Path | None, overrides: tuple[str, ...]) -> Config:
    """The configuration of a command; settings made by hand that it would ignore are refused."""
    from dr_perception.config import load_config, parse_assignment, require_used

    config = load_config(config_file, overrides)
    require_used(dict(map(parse_assignment, overrides)), program)
    return config


def _inputs(
    config: Config, models_dir: Path, unit: str | None, sequence: Path, overrides: tuple[str, ...] = ()
) -> tuple[dict[str, ObjectModel], FrameSource]:
    """Models and sequence of a command; mistakes show before anything is computed."""
    from dr_perception.data.models import load_models

    _quiet_warp()
    source = _opened(sequence, config, overrides)
    unit = unit or config.models.unit or None
    models = load_models(models_dir, **({} if unit is None else {"unit": unit}))
    if config.models.names:
        missing = sorted(set(config.models.names) - set(models))
        if missing:
            raise ValueError(f"{models_dir} has no models {missing}; it has {sorted(models)}")
        models = {name: models[name] for name in config.models.names}
    return models, source


def _opened(sequence: Path, config: Config, overrides: tuple[str, ...]) -> FrameSource:
    """The sequence, its depths in the unit that was asked for: by hand, or other than the default."""
    from dr_perception.config import CameraConfig
    from dr_perception.data.source import open_sequence

    asked = config.camera != CameraConfig() or any(text.startswith("camera") for text in overrides)
    return open_sequence(sequence, depth_scale_m=config.camera.depth_scale_m if asked else None)


def _quiet_warp() -> None:
    """Keep Warp's notices out of the output; its errors still show."""
    import warp as wp

    wp.config.log_level = wp.LOG_ERROR


@contextmanager
def _progress(title: str) -> Iterator[Any]:
    """A progress bar on the terminal's error stream; yields a function (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_table(metrics: Metrics) -> None:
    from rich.console import Console

    from dr_perception.evaluation.table import summary_table

    Console().print(summary_table(metrics))


def _parse_pose(text: str) -> Any:
    """(4, 4) pose from seven numbers x y z qx qy qz qw."""
    from dr_perception.geometry.se3 import make_transform, matrix_from_quaternion

    numbers = [float(word) for word in text.replace(",", " ").split()]
    if len(numbers) != 7:
        raise ValueError(f"a pose is seven numbers x y z qx qy qz qw, got {len(numbers)}: {text!r}")
    return make_transform(matrix_from_quaternion(numbers[3:]), numbers[:3])


def _read_mask(path: Path) -> Any:
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError(f"mask {path} does not exist or is not a picture")
    return image > 0


def _print_estimate(name: str, estimate: Any) -> None:
    import numpy as np

    from dr_perception.geometry.se3 import quaternion_from_matrix

    T = estimate.T_cam_obj
    sigma = np.sqrt(np.diag(estimate.covariance))
    quaternion = quaternion_from_matrix(T[:3, :3])
    click.echo(f"{name}: " + " ".join(f"{v:.6f}" for v in (*T[:3, 3], *quaternion)) + "  (x y z qx qy qz qw)")
    click.echo("  sigma " + " ".join(f"{1e3 * v:.2f}" for v in sigma[:3]) + " mm, ", nl=False)
    click.echo(" ".join(f"{np.rad2deg(v):.2f}" for v in sigma[3:]) + " deg")
    click.echo(f"  score {estimate.score:.2f}, {estimate.iterations} iterations {estimate.reason}".rstrip())


def _write_picture(path: Path, picture: Any) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.haveImageWriter(str(path)) or not cv2.imwrite(str(path), picture[..., ::-1]):
        raise ValueError(f"cannot write a picture to {path}; use .png or .jpg")
    click.echo(f"written: {path}")


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="dr-perception")


if __name__ == "__main__":
    main()

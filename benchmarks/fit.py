"""Fits and searches over the reference data: tables of what is right, and how long it takes.

    python benchmarks/fit.py                     # everything
    python benchmarks/fit.py refine search       # parts: refine, search, real
    python benchmarks/fit.py search --step 30    # every 30th frame instead of every 10th
    python benchmarks/fit.py --peers             # GICP, ICP and this project through the comparison harness

Right means ADD, over the declared symmetries, below a tenth of the diameter; for the real sets the poses are
references and not exact, and ADD-S is printed as well. There "ADD(-S)" takes ADD-S for the objects that
bop_toolkit counts as symmetric or whose models_info.json declares a symmetry, and ADD for the others.
Results are also written as JSON, with the machine and the date.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fit_peers
import numpy as np
from casting import cast_depth
from numpy.typing import NDArray
from scenes import LEVELS, REAL_SETS, ROOT, SHARED, evaluation_points, moved, write_report

from dr_perception.data.bop import BopScene
from dr_perception.data.models import load_models
from dr_perception.evaluation.metrics import add_s
from dr_perception.evaluation.metrics import evaluation_points as vertices_of
from dr_perception.fitting.fit_pose import fit_pose
from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.region import Where
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import search_poses

BOP_SYMMETRIC = {"ycbv_frames": {1, 13, 14, 16, 18, 19, 20, 21}}
"""Objects by number that bop_toolkit lists as symmetric."""
TRIALS = 40
REAL_TRIALS = 20


@dataclass(frozen=True)
class Case:
    """One object in one frame."""

    scene: str
    image: int
    name: str
    model: ObjectModel
    frame: Frame
    T_cam_obj: NDArray[np.float64]
    mask: NDArray[np.bool_]
    visible: float


def cases(root: Path, models: dict[str, ObjectModel], step: int, single: bool = False) -> Iterator[Case]:
    """Objects of every ``step``-th frame of the scenes below a folder.

    ``single``: of scenes with one object.
    """
    by_id = {model.object_id: model for model in models.values()}
    for folder in sorted(p for p in root.iterdir() if (p / "scene_gt.json").is_file()):
        scene = BopScene(folder, masks=False)
        ids = list(scene.image_ids)[::step]
        if single and len(scene.object_ids) > 1:
            continue
        info_file = folder / "scene_gt_info.json"
        info = json.loads(info_file.read_text()) if info_file.is_file() else {}
        part = BopScene(folder, image_ids=ids)
        for index, frame in enumerate(part):
            masks = part.masks(index)
            for k, (name, T) in enumerate((part.ground_truth(index) or {}).items()):
                seen = info[str(ids[index])][k]["visib_fract"] if info else 1.0
                model = by_id[scene.object_ids[name]]
                yield Case(f"{root.name}/{folder.name}", ids[index], name, model, frame, T, masks[name], seen)


def add_error(
    model: ObjectModel, points: NDArray[np.float64], T: NDArray[np.float64], T_ref: NDArray[np.float64]
) -> float:
    """ADD [m] against the nearest pose that looks like the reference."""
    closest = model.symmetries.closest(T, T_ref)
    return float(
        np.linalg.norm(
            (T[:3, :3] - closest[:3, :3]) @ points.T + (T[:3, 3:] - closest[:3, 3:]), axis=0
        ).mean()
    )


def depth_residual(case: Case, T: NDArray[np.float64]) -> float:
    """Median |measured - rendered| depth [m] inside the mask at a pose, by ray casting."""
    depth = case.frame.depth_m()
    seen = case.mask & (depth > 0.0)
    z = cast_depth(case.model, T, case.frame.camera, seen)
    hit = np.isfinite(z)
    return float(np.median(np.abs(z[hit] - depth[seen][hit]))) if hit.any() else float("nan")


def timed(function: Callable[[], PoseEstimate | None]) -> tuple[PoseEstimate | None, float, float]:
    """Result, wall seconds and processor seconds of this thread."""
    wall, cpu = time.perf_counter(), time.thread_time()
    result = function()
    return result, time.perf_counter() - wall, time.thread_time() - cpu


class Table:
    """Rows of outcomes by group, printed as shares and times."""

    def __init__(self, title: str) -> None:
        """Start empty."""
        self.title = title
        self.rows: list[dict[str, object]] = []

    def add(
        self, group: str, add_m: float, diameter_m: float, wall_s: float, cpu_s: float, **more: object
    ) -> None:
        """Add one outcome."""
        row = {
            "group": group,
            "add_mm": 1e3 * add_m,
            "right": add_m < 0.1 * diameter_m,
            "wall_s": wall_s,
            "cpu_s": cpu_s,
        }
        self.rows.append({**row, **more})

    def show(self) -> None:
        """Print a line for each group and one for all."""
        print(f"\n{self.title}")
        print(
            f"  {'':28s} {'n':>4s} {'right %':>8s} {'<2 mm %':>8s} {'ADD mm':>7s} {'wall ms (p95)':>16s} "
            f"{'cpu ms':>7s}"
        )
        for group in [*dict.fromkeys(str(row["group"]) for row in self.rows), "all"]:
            rows = [row for row in self.rows if group in ("all", row["group"])]
            add, wall, cpu = (
                np.array([row[k] for row in rows], float) for k in ("add_mm", "wall_s", "cpu_s")
            )
            right = 100.0 * np.mean([bool(row["right"]) for row in rows])
            times = f"{1e3 * np.median(wall):7.1f} ({1e3 * np.percentile(wall, 95):.1f})"
            print(
                f"  {group:28s} {len(rows):4d} {right:8.1f} {100.0 * np.mean(add < 2.0):8.1f} "
                f"{np.median(add):7.2f} {times:>16s}"
                f" {1e3 * np.median(cpu):7.1f}{self._surface(rows)}{self._residuals(rows)}"
            )

    @staticmethod
    def _surface(rows: list[dict[str, object]]) -> str:
        """Shares right by ADD-S and by ADD(-S), and the median of ADD-S."""
        if not all("add_s_mm" in row for row in rows):
            return ""
        by_s, by_bop = (100.0 * np.mean([bool(row[k]) for row in rows]) for k in ("right_s", "right_bop"))
        median = np.median(np.array([row["add_s_mm"] for row in rows], float))
        return f"   right by ADD-S {by_s:5.1f} %, by ADD(-S) {by_bop:5.1f} %, ADD-S {median:.2f} mm"

    @staticmethod
    def _residuals(rows: list[dict[str, object]]) -> str:
        pairs = np.array([row["residuals_mm"] for row in rows if "residuals_mm" in row], float)
        if len(pairs) == 0:
            return ""
        fit, reference = np.nanmedian(pairs, axis=0)
        return f"   depth residual {fit:.2f} mm, reference {reference:.2f} mm"


def refine(models: dict[str, ObjectModel], runs: int) -> list[Table]:
    """Fits from ground truth moved by three amounts, with the trials of the comparison harness.

    All are run some times over, and the least time of each counts.
    """
    tables = []
    by_scene: dict[str, list[Case]] = {}
    for case in cases(SHARED / "data/bench/open", models, 1, single=True):
        if case.visible > 0.6:
            by_scene.setdefault(case.scene, []).append(case)
    for level, (distance, angle) in LEVELS.items():
        table = Table(f"Fit from a guess off by {level}")
        for group in by_scene.values():
            model = group[0].model
            points = evaluation_points(model)
            rng = np.random.RandomState(1000 + model.object_id)
            fit_pose(model, group[0].frame, group[0].T_cam_obj)
            trials = []
            for _ in range(TRIALS):
                case = group[rng.randint(len(group))]
                trials.append((case, moved(case.T_cam_obj, distance, angle, rng)))
            several = [
                [timed(lambda c=case, g=guess: fit_pose(c.model, c.frame, g)) for case, guess in trials]
                for _ in range(runs)
            ]
            for (case, _), fits in zip(trials, zip(*several, strict=True), strict=True):
                fit = fits[0][0]
                wall, cpu = (min(times) for times in list(zip(*fits, strict=True))[1:])
                assert fit is not None
                error = add_error(model, points, fit.T_cam_obj, case.T_cam_obj)
                table.add(model.name, error, model.diameter_m, wall, cpu, score=fit.score, image=case.image)
        table.show()
        tables.append(table)
    return tables


def search_in(root: Path, models: dict[str, ObjectModel], step: int, with_mask: bool) -> Table:
    """Searches without a guess, with the given mask or over the whole frame."""
    table = Table(
        f"Search in {root.name}, {'with mask' if with_mask else 'whole frame'}, every {step}. frame"
    )
    prepared: set[str] = set()
    for case in cases(root, models, step):
        mask = case.mask if with_mask else None
        if with_mask and not case.mask.any():
            continue
        if case.model.name not in prepared:
            _search(case, mask)
            prepared.add(case.model.name)
        found, wall, cpu = timed(lambda c=case, m=mask: _search(c, m))
        errors = [np.inf]
        if found is not None:
            # With several instances in view any of them is right.
            points = evaluation_points(case.model)
            errors = [
                add_error(case.model, points, found.T_cam_obj, T)
                for T in poses_of_model(case, root, with_mask)
            ]
        score = found.score if found is not None else 0.0
        table.add(
            case.model.name, min(errors), case.model.diameter_m, wall, cpu, score=score, image=case.image
        )
    table.show()
    return table


def instances_in(root: Path, models: dict[str, ObjectModel]) -> Table:
    """Searches for as many instances of a model as a frame has; a row an instance, as the nearest answer."""
    table = Table(f"All instances in {root.name}, whole frame, as many answers as instances")
    by_frame: dict[tuple[str, int, str], list[Case]] = {}
    for case in cases(root, models, 1):
        by_frame.setdefault((case.scene, case.image, case.model.name), []).append(case)
    for group in by_frame.values():
        if len(group) == 1:
            continue
        model, frame = group[0].model, group[0].frame
        points = evaluation_points(model)
        begin = time.perf_counter()
        found = search_poses(model, frame, max_instances=len(group))
        seconds = time.perf_counter() - begin
        errors = np.array(
            [[add_error(model, points, f.T_cam_obj, c.T_cam_obj) for f in found] for c in group]
        )
        right = errors < 0.1 * model.diameter_m
        confident = np.array([f.score >= 0.5 for f in found], bool)
        name = f"{model.name}, image {group[0].image}"
        for case, row in zip(group, errors, strict=True):
            table.add(
                name, float(row.min(initial=np.inf)), model.diameter_m, seconds, seconds, visible=case.visible
            )
        wrong = int((confident & ~right.any(axis=0)).sum())
        print(
            f"  {name}: {len(group)} instances, {int(right.any(axis=1).sum())} found; {len(found)} answers, "
            f"{int(confident.sum())} with a score of 0.5 or more, {wrong} of them not in the reference"
        )
    if table.rows:
        table.show()
    return table


def poses_of_model(case: Case, root: Path, with_mask: bool) -> list[NDArray[np.float64]]:
    """Poses (4, 4) that are right answers to a search: any instance of the model where no mask says which."""
    if with_mask:
        return [case.T_cam_obj]
    scene = BopScene(root / case.scene.split("/")[1], image_ids=[case.image])
    truth = scene.ground_truth(0) or {}
    return [T for name, T in truth.items() if scene.object_ids[name] == case.model.object_id]


def _search(case: Case, mask: NDArray[np.bool_] | None) -> PoseEstimate | None:
    found = search_poses(case.model, case.frame, Where(mask=mask))
    return found[0] if found else None


def refine_real(name: str, models: dict[str, ObjectModel], step: int) -> Table:
    """Fits on real frames from the reference moved by 10 mm and 5 degrees."""
    table = Table(f"Real frames: {name}, fit from the reference moved by 10 mm and 5 deg")
    rng = np.random.RandomState(0)
    listed = BOP_SYMMETRIC.get(name, set())
    seen: dict[str, list[Case]] = {}
    for case in cases(SHARED / "data/real" / name, models, step):
        seen.setdefault(case.model.name, []).append(case)
    for group in seen.values():
        model = group[0].model
        points, vertices = evaluation_points(model), vertices_of(model.mesh.vertices)
        symmetric = model.object_id in listed or model.symmetries.is_symmetric
        tenth = 0.1 * model.diameter_m
        fit_pose(model, group[0].frame, group[0].T_cam_obj)
        for trial in range(REAL_TRIALS):
            case = group[trial % len(group)]
            guess = moved(case.T_cam_obj, 0.010, 5.0, rng)
            fit, wall, cpu = timed(lambda c=case, g=guess: fit_pose(c.model, c.frame, g))
            assert fit is not None
            error = add_error(model, points, fit.T_cam_obj, case.T_cam_obj)
            nearest = add_s(fit.T_cam_obj, case.T_cam_obj, vertices)
            more = {
                "add_s_mm": 1e3 * nearest,
                "right_s": nearest < tenth,
                "right_bop": (nearest if symmetric else error) < tenth,
                "residuals_mm": [1e3 * depth_residual(case, T) for T in (fit.T_cam_obj, case.T_cam_obj)],
            }
            table.add(model.name, error, model.diameter_m, wall, cpu, score=fit.score, **more)
    table.show()
    return table


def compare(out: Path) -> None:
    """Refine with this project and with the peers in one run."""
    results = fit_peers.run(SHARED / "data/bench/open", TRIALS)
    fit_peers.show(results)
    write_report(out / "fit_peers.json", peers=results)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="refine, search, real; default: all")
    parser.add_argument("--step", type=int, default=10, help="every how many frames to search")
    parser.add_argument("--sets", nargs="*", default=REAL_SETS, help="real sets")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder of the JSON file")
    parser.add_argument(
        "--least-of", type=int, default=1, help="runs of which the least time of each refinement counts"
    )
    parser.add_argument("--peers", action="store_true", help="methods of the comparison harness, refinement")
    arguments = parser.parse_args()
    if arguments.peers:
        compare(arguments.out)
        return
    unknown = set(arguments.parts) - {"refine", "search", "real"}
    if unknown:
        parser.error(f"unknown parts {sorted(unknown)}; choose from refine, search, real")
    parts = arguments.parts or ["refine", "search", "real"]
    tables: list[Table] = []
    if {"refine", "search"} & set(parts):
        models = load_models(SHARED / "data/bench/open/models")
        if "refine" in parts:
            tables += refine(models, arguments.least_of)
        if "search" in parts:
            tables += [
                search_in(SHARED / "data/bench/open", models, arguments.step, m) for m in (True, False)
            ]
    if "real" in parts:
        for name in arguments.sets:
            real = load_models(SHARED / "data/real" / name / "models")
            step = 10 if name == "visp_rbt_sequence" else 1
            tables += [refine_real(name, real, step)]
            tables += [search_in(SHARED / "data/real" / name, real, step, m) for m in (True, False)]
            tables.append(instances_in(SHARED / "data/real" / name, real))
    rows = [{"title": table.title, "rows": table.rows} for table in tables]
    write_report(arguments.out / f"fit_{'_'.join(parts)}.json", tables=rows)


if __name__ == "__main__":
    main()

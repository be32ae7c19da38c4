"""Tracking of kinds of objects that the scenes do not have, in simulated sequences.

    python benchmarks/kinds.py                      # all objects, matt
    python benchmarks/kinds.py --shine 0.5          # with highlights, as of metal or gloss
    python benchmarks/kinds.py --learn              # textured objects: own, learned, no colours

Parts of several-fold symmetry, bottles and boxes whose label alone shows their turn, organic shapes and
machined parts, from the meshes of the reference data, move at up to half a metre and ninety degrees a second
before a patterned wall, and are tracked from ground truth on the first frame. Images and noise are those of
`simulate.py` (Open3D's ray casting), lit by a lamp in linear light, with Blinn's highlights if asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scenes import ROOT, SHARED, evaluation_points, pin_to_core, write_report
from scipy.ndimage import gaussian_filter
from simulate import CAMERA, Array, Noise, Simulator, average

import dr_perception as drp
from dr_perception.evaluation.metrics import add_symmetric, rotation_error
from dr_perception.geometry.se3 import local, make_transform, random_rotation, retract

_GAMMA = 2.2
_AMBIENT = 0.25
_GLOSS = 30.0
_LIGHT = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
_REACH = np.array([0.08, 0.06, 0.05, 0.7, 0.7, 0.7])
"""Amplitudes of the motion [m, rad]."""


@dataclass(frozen=True)
class Kind:
    """A mesh of the reference data."""

    file: str
    unit: str
    what: str


KINDS = {
    "cycloid": Kind("trimesh_cycloidal/cycloidal.ply", "inch", "many-fold disc"),
    "frame": Kind("trimesh_octagonal_pocket/octagonal_pocket.stl", "m", "thin part with pockets"),
    "plate": Kind("trimesh_plate_holes/plate_holes.STL", "mm", "two-fold plate"),
    "block": Kind("trimesh_angle_block/angle_block.STL", "inch", "small machined block"),
    "machined": Kind("trimesh_featuretype/featuretype.STL", "inch", "machined part"),
    "bottle": Kind("pyrender_fuze_bottle/fuze.obj", "m", "label shows the turn"),
    "box": Kind("ycb_pudding_box/textured.obj", "m", "printed box"),
    "hammer": Kind("ycb_hammer/textured.obj", "m", "long"),
    "padlock": Kind("ycb_padlock/textured.obj", "m", "small, metal"),
    "clamp": Kind("ycb_extra_large_clamp/textured.obj", "m", "thin, dark"),
    "dragon": Kind("../real/visp_rbt_sequence/models/obj_000002.ply", "mm", "organic"),
}
_METRES = {"m": 1.0, "mm": 1e-3, "inch": 0.0254}


def load(name: str) -> drp.ObjectModel:
    """Model of a kind."""
    kind = KINDS[name]
    path = SHARED / "data" / "meshes" / kind.file
    if kind.unit != "inch":
        return drp.load_model(path, unit=kind.unit, name=name)
    # `load_model` refuses what is too large in metres; inches are scaled from there.
    import open3d as o3d

    from dr_perception.geometry import Mesh, weld

    mesh = o3d.io.read_triangle_mesh(str(path))
    vertices = np.asarray(mesh.vertices) * _METRES["inch"]
    welded = weld(Mesh(vertices, np.asarray(mesh.triangles).astype(np.int32)))
    return drp.ObjectModel(name, Mesh(welded.vertices, welded.faces))


def without_colors(model: drp.ObjectModel) -> drp.ObjectModel:
    """The same shape without colours."""
    return replace(model, mesh=replace(model.mesh, vertex_colors=None, texture=None, corner_uv=None))


class Film(Simulator):
    """A sequence of one moving object before a wall that stands still."""

    def __init__(self, model: drp.ObjectModel, shine: float, seed: int) -> None:
        """``shine`` is the share of light that highlights get."""
        super().__init__(model, Noise(), np.random.default_rng(seed))
        self._shine = shine
        pattern = gaussian_filter(
            self._rng.standard_normal((CAMERA.height, CAMERA.width, 3)), (6.0, 6.0, 0.0)
        )
        self._wall = np.array([110.0, 120.0, 95.0]) + 25.0 * pattern / pattern.std()

    def poses(self, count: int) -> list[Array]:
        """Smooth motion about a place where all of the object is in view."""
        model, rng = self.model, self._rng
        start = make_transform(random_rotation(rng), np.array([0.0, 0.0, max(0.5, 4.0 * model.radius_m)]))
        phase, rate = rng.uniform(0.0, 2.0 * np.pi, 6), rng.uniform(0.5, 1.6, 6)
        uncenter = make_transform(np.eye(3), -model.center)
        times = np.arange(count) / 30.0
        waves = np.sin(2.0 * rate * times[:, None] + phase) - np.sin(phase)
        return [retract(start, _REACH * wave) @ uncenter for wave in waves]

    def _information(self, *_: Any) -> Array:
        return np.zeros((6, 6))

    def _color(self, T: Array, box: tuple[int, int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        z, normals, albedo = self._cast(T, box, 2)
        half = _LIGHT + np.array([0.0, 0.0, -1.0])
        half /= np.linalg.norm(half)
        matt = _AMBIENT + (1.0 - _AMBIENT) * np.clip(normals @ _LIGHT, 0.0, 1.0)
        highlight = np.clip(normals @ half, 0.0, 1.0) ** _GLOSS
        light = (1.0 - 0.6 * self._shine) * (albedo / 255.0) ** _GAMMA * matt[..., None]
        body = 255.0 * np.clip(light + self._shine * highlight[..., None], 0.0, 1.0) ** (1.0 / _GAMMA)
        cover = np.isfinite(z).astype(np.float64)[..., None]
        share, mixed = average(cover), average(cover * body)
        x0, y0, x1, y1 = box
        image = self._wall.copy()
        image[y0:y1, x0:x1] = (1.0 - share) * image[y0:y1, x0:x1] + mixed
        noise = self._rng.normal(0.0, self.noise.color_sigma, image.shape)
        return np.clip(np.round(gaussian_filter(image, (0.5, 0.5, 0.0)) + noise), 0, 255).astype(np.uint8)


def follow(
    model: drp.ObjectModel, truth: drp.ObjectModel, poses: list[Array], frames: list[drp.Frame], learn: bool
) -> dict[str, float]:
    """Errors of one run; ``truth`` is the model that was drawn."""
    config = drp.load_config(overrides=[f"tracker.learn_brightness={str(learn).lower()}"]).tracker
    tracker = drp.Tracker({model.name: model}, config)
    tracker.start(frames[0], {model.name: poses[0]})
    points = evaluation_points(truth)
    rows = []
    for frame, T in zip(frames[1:], poses[1:], strict=True):
        state = tracker.track(frame).objects[model.name]
        xi = local(state.T_cam_obj, T)
        rows.append(
            (
                1e3 * add_symmetric(state.T_cam_obj, T, points, truth.symmetries),
                np.degrees(rotation_error(state.T_cam_obj, T, truth.symmetries)),
                float(state.status is drp.Status.TRACKING),
                state.score,
                xi @ np.linalg.solve(state.covariance, xi) / 6.0,
            )
        )
    add, turn, tracked, score, nees = np.array(rows).T
    return {
        "add_median_mm": float(np.median(add)),
        "add_p95_mm": float(np.percentile(add, 95.0)),
        "right_percent": 100.0 * float(np.mean(add < 100.0 * truth.diameter_m)),
        "below_2mm_percent": 100.0 * float(np.mean(add < 2.0)),
        "turn_median_deg": float(np.median(turn)),
        "turn_max_deg": float(turn.max()),
        "tracked_percent": 100.0 * float(tracked.mean()),
        "score_median": float(np.median(score)),
        "nees_median": float(np.median(nees)),
    }


def line(row: dict[str, float]) -> str:
    """The figures of a run as cells of a table."""
    return (
        f"| {row['add_median_mm']:.2f} / {row['add_p95_mm']:.2f} | {row['right_percent']:.0f} |"
        f" {row['below_2mm_percent']:.0f} | {row['turn_median_deg']:.2f} / {row['turn_max_deg']:.1f} |"
        f" {row['tracked_percent']:.0f} | {row['nees_median']:.2f} |"
    )


def runs(a: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Follow every object, with the ways to colour it that were asked for."""
    found = {}
    for name in a.objects or KINDS:
        model = load(name)
        film = Film(model, a.shine, a.seed)
        poses = film.poses(a.frames)
        frames = [replace(film.frame(T)[0], stamp_ns=round(k * 1e9 / 30.0)) for k, T in enumerate(poses)]
        variants = [("as it is", model, True)]
        if a.learn:
            if not model.mesh.has_texture and model.mesh.vertex_colors is None:
                continue
            plain = without_colors(model)
            variants = [("own colours", model, False), ("learned", plain, True), ("none", plain, False)]
        for what, tracked, learn in variants:
            found[f"{name}, {what}"] = row = follow(tracked, model, poses, frames, learn)
            print(f"| {name} | {1e3 * model.diameter_m:.0f} | {what} {line(row)}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse arguments and print a line an object."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--objects", nargs="*", choices=list(KINDS), help="objects (all)")
    parser.add_argument("--frames", type=int, default=90, help="frames of a sequence")
    parser.add_argument("--shine", type=float, default=0.0, help="share of light that highlights get, 0 to 1")
    parser.add_argument("--learn", action="store_true", help="compare given, learned and no colours")
    parser.add_argument("--seed", type=int, default=3, help="of motion and noise")
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder for the JSON file")
    a = parser.parse_args(arguments)
    pin_to_core(a.core)
    print(
        "| object | mm | colours | ADD mm median / p95 | right % | < 2 mm % | turn deg median / max |",
        end="",
    )
    print(" tracked % | NEES median |\n|---|---|---|---|---|---|---|---|---|")
    write_report(a.out / "kinds.json", shine=a.shine, seed=a.seed, runs=runs(a))


if __name__ == "__main__":
    main()

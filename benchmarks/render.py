"""Time of the renderer, forward and forward with backward to the pose, for sizes of images and meshes.

    python benchmarks/render.py --core 0                # captured graphs; --uncaptured: calls and a tape
    python benchmarks/render.py --core 0 --mitsuba      # beside Mitsuba 3 on the same scenes, in the same run

Prints least and median time of a call, the least per covered pixel and per face, and how the least grows with
the image. Writes out/render.json. The first rows are the budget: 5,000 faces over 4,000 pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import warp as wp
from mitsuba_time import load_mitsuba, time_mitsuba
from render_meshes import torus
from scenes import pin_to_core, write_report

from dr_perception.geometry import Camera, Mesh, make_transform
from dr_perception.render import Instance, Material, Renderer, RenderOptions, Scene

SIZES = ("160x120", "320x240", "640x480")
CASES = {
    "depth, interior": RenderOptions(channels=("depth",), antialias=False),
    "depth, boundary": RenderOptions(channels=("depth",), antialias_depth=True),
    "silhouette": RenderOptions(channels=("silhouette",)),
    "color": RenderOptions(channels=("color",)),
    "silhouette + color + depth": RenderOptions(channels=("silhouette", "color", "depth")),
}
MITSUBA = {"depth, interior": "depth", "silhouette": "silhouette", "color": "color"}
FAR_M, NEAR_M = 0.42, 0.33
"""Distances at which the ring covers 4,000 and 6,500 of 160 x 120 pixels."""


def mesh_of(faces: int) -> Mesh:
    """A ring of about so many faces."""
    rows = max(6, round((faces / 2) ** 0.5 * 1.5))
    return torus(rows=rows, columns=max(4, round(faces / 2 / rows)))


@dataclass(frozen=True)
class Time:
    """Milliseconds of a call."""

    least: float
    median: float

    def __str__(self) -> str:
        """Least and median."""
        return f"{self.least:8.3f} /{self.median:8.3f}"


def time_of(function: Callable[[], object], seconds: float, calls: int = 5, warm: int = 2) -> Time:
    """Time calls for a while, and at least so many, after calls to warm up that do not count."""
    for _ in range(warm):
        function()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < calls:
        before = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - before))
    return Time(float(np.min(times)), float(np.median(times)))


class Case:
    """One scene, camera and choice of images, ready to be timed."""

    def __init__(
        self, faces: int, size: tuple[int, int], options: RenderOptions, distance_m: float = NEAR_M
    ) -> None:
        """Build the scene and capture its renders."""
        width, height = size
        self.camera = Camera(width, height, 1.25 * width, 1.25 * width, (width - 1) / 2, (height - 1) / 2)
        R = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
        self.T_cam_obj = make_transform(R, np.array([0.0, 0.0, distance_m]))
        self.mesh, self.options = mesh_of(faces), options
        self.scene = Scene([Instance(self.mesh, self.T_cam_obj, Material(specular=0.4, roughness=0.5))])
        self.renderer = Renderer("cpu")
        self.parameters = self.renderer.parameters(self.scene, self.camera)
        self.graded = self.renderer.parameters(self.scene, self.camera, requires_grad=("pose",))
        self.images = self.renderer.render(self.scene, self.parameters, options)
        self.graded_images = self.renderer.render(self.scene, self.graded, options)
        self.captured = self.renderer.capture(self.scene, self.parameters, options)
        self.captured_both = self.renderer.capture(self.scene, self.graded, options)
        for images in (self.graded_images, self.captured_both.images):
            for image in (images.depth, images.silhouette, images.color):
                if image is not None:
                    image.grad.fill_(1.0)
        probe = self.renderer.render(self.scene, self.parameters, RenderOptions(channels=("instance",)))
        self.covered = int((probe.instance.numpy() >= 0).sum())

    def forward(self) -> None:
        """Draw."""
        self.renderer.render(self.scene, self.parameters, self.options, out=self.images)

    def both(self) -> None:
        """Draw, and send a gradient of ones back to the pose."""
        tape = wp.Tape()
        with tape:
            self.renderer.render(self.scene, self.graded, self.options, out=self.graded_images)
        tape.backward()

    def captured_forward(self) -> None:
        """Draw by the graph."""
        self.captured.draw()

    def captured_forward_backward(self) -> None:
        """The same as `both` by the graph."""
        self.captured_both.draw()
        self.captured_both.pull_back()


class Table:
    """Times cases and prints a row for each."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Print the head."""
        self.arguments = arguments
        self.mitsuba = load_mitsuba(threads=1) if arguments.mitsuba else None
        self.rows: list[dict] = []
        self._first: dict[tuple, float] = {}
        theirs = "   Mitsuba fwd       Mitsuba fwd+bwd     times faster" if self.mitsuba else ""
        print(
            f"{'images':27s}{'size':>8s}{'faces':>7s}{'covered':>8s}   forward ms          fwd+bwd ms        "
            f"{'ns/px':>6s}{'ns/face':>8s}{'growth':>7s}{theirs}"
        )

    def add(self, name: str, faces: int, size: str, distance_m: float = NEAR_M) -> None:
        """Time one case."""
        width, height = (int(n) for n in size.split("x"))
        case = Case(faces, (width, height), CASES[name], distance_m)
        plain = self.arguments.uncaptured
        seconds = self.arguments.seconds
        forward = time_of(case.forward if plain else case.captured_forward, seconds)
        both = time_of(case.both if plain else case.captured_forward_backward, seconds)
        growth = both.least / self._first.setdefault((name, faces, distance_m), both.least)
        count = len(case.mesh.faces)
        line = f"{name:27s}{size:>8s}{count:7d}{case.covered:8d} {forward}  {both} "
        line += f"{1e6 * both.least / case.covered:7.0f}{1e6 * both.least / count:8.0f}{growth:7.2f}"
        row = {"images": name, "size": size, "faces": count, "covered": case.covered, "growth": growth}
        row |= {"forward_ms": asdict(forward), "forward_backward_ms": asdict(both)}
        if self.mitsuba is not None and name in MITSUBA:
            theirs = time_mitsuba(
                self.mitsuba, case.mesh, case.T_cam_obj, case.camera, MITSUBA[name],
                lambda f: time_of(f, seconds, calls=2, warm=1),
            )  # fmt: skip
            line += f"  {theirs[0]}  {theirs[1]} "
            line += f"{theirs[0].least / forward.least:7.0f}{theirs[1].least / both.least:7.0f}"
            row |= {"mitsuba_forward_ms": asdict(theirs[0]), "mitsuba_forward_backward_ms": asdict(theirs[1])}
        print(line, flush=True)
        self.rows.append(row)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=int, nargs="*", default=[1000, 10000, 100000])
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), help="width x height, as 160x120")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--no-budget", action="store_true", help="without the rows of the budget")
    parser.add_argument("--uncaptured", action="store_true", help="time Renderer.render and a tape instead")
    parser.add_argument("--mitsuba", action="store_true", help="also time Mitsuba 3 on the same scenes")
    parser.add_argument("--seconds", type=float, default=0.4, help="for each figure, at least")
    parser.add_argument("--core", type=int, help="run on this core alone")
    parser.add_argument("--out", type=Path, default=Path("out"))
    arguments = parser.parse_args()
    wp.config.quiet = True
    pin_to_core(arguments.core)
    table = Table(arguments)
    for name in arguments.cases:
        if not arguments.no_budget:
            table.add(name, 5000, SIZES[0], FAR_M)
        for faces in arguments.faces:
            for size in arguments.sizes:
                table.add(name, faces, size)
    write_report(arguments.out / "render.json", captured=not arguments.uncaptured, rows=table.rows)


if __name__ == "__main__":
    main()

"""Time of the renderer on one core.

Forward, and forward with backward to the pose, for image sizes and mesh sizes.

taskset -c 0 python benchmarks/render.py             # table; with --mitsuba beside Mitsuba 3, if it is
installed
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import warp as wp
from render_meshes import torus

from dr_perception.geometry import Camera, Mesh, make_transform
from dr_perception.render import Instance, Material, Renderer, RenderOptions, Scene

SIZES = ((160, 120), (320, 240), (640, 480))
CASES = {
    "depth, interior": RenderOptions(channels=("depth",), antialias=False),
    "depth, boundary": RenderOptions(channels=("depth",), antialias_depth=True),
    "silhouette": RenderOptions(channels=("silhouette",)),
    "color": RenderOptions(channels=("color",)),
    "silhouette + color + depth": RenderOptions(channels=("silhouette", "color", "depth")),
}


def mesh_of(faces: int) -> Mesh:
    """A ring of about so many faces."""
    rows = max(6, round((faces / 2) ** 0.5 * 1.5))
    return torus(rows=rows, columns=max(4, round(faces / 2 / rows)))


clock = time.perf_counter


def best_of(function: Callable[[], object], seconds: float = 0.4) -> float:
    """Median time of one call [ms]."""
    function()
    function()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 5:
        before = clock()
        function()
        times.append(clock() - before)
    return 1e3 * float(np.median(times))


class Case:
    """One scene, camera and choice of images, ready to be timed."""

    def __init__(self, faces: int, size: tuple[int, int], options: RenderOptions, crop: bool = False) -> None:
        width, height = size
        camera = Camera(width, height, 1.25 * width, 1.25 * width, (width - 1) / 2, (height - 1) / 2)
        T = make_transform(np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]), np.array([0.0, 0.0, 0.33]))
        self.scene = Scene([Instance(mesh_of(faces), T, Material(specular=0.4, roughness=0.5))])
        self.renderer = Renderer("cpu")
        self.options = options
        self.parameters = self.renderer.parameters(self.scene, camera)
        self.graded = self.renderer.parameters(self.scene, camera, requires_grad=("pose",))
        self.images = self.renderer.render(self.scene, self.parameters, options)
        self.graded_images = self.renderer.render(self.scene, self.graded, options)
        probe = self.renderer.render(self.scene, self.parameters, RenderOptions(channels=("instance",)))
        self.covered = int((probe.instance.numpy() >= 0).sum())
        self.faces = len(self.scene.instances[0].mesh.faces)

    def forward(self) -> None:
        """Draw."""
        self.renderer.render(self.scene, self.parameters, self.options, out=self.images)

    def both(self) -> None:
        """Draw, and send a gradient of ones back to the pose."""
        tape = wp.Tape()
        with tape:
            images = self.renderer.render(self.scene, self.graded, self.options, out=self.graded_images)
        for image in (images.depth, images.silhouette, images.color):
            if image is not None:
                image.grad.fill_(1.0)
        tape.backward()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, nargs="*", default=[1000, 10000, 100000])
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--mitsuba", action="store_true", help="also time Mitsuba 3 on like scenes")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor time: for machines that do other work too"
    )
    arguments = parser.parse_args()
    if arguments.cpu_time:
        global clock
        clock = time.process_time
    print(
        f"{'images':28s}{'size':>9s}{'faces':>8s}{'covered':>9s}{'fwd ms':>9s}{'fwd+bwd':>9s}{'ns/px':>8s}"
        f"{'ns/face':>8s}"
    )
    for name in arguments.cases:
        for faces in arguments.faces:
            for size in SIZES:
                case = Case(faces, size, CASES[name])
                forward, both = best_of(case.forward), best_of(case.both)
                print(
                    f"{name:28s}{size[0]:5d}x{size[1]:3d}{case.faces:8d}{case.covered:9d}{forward:9.3f}"
                    f"{both:9.3f}"
                    f"{1e6 * forward / max(case.covered, 1):8.0f}{1e6 * forward / case.faces:8.0f}",
                    flush=True,
                )
    if arguments.mitsuba:
        from mitsuba_compare import time_mitsuba

        time_mitsuba()


if __name__ == "__main__":
    main()

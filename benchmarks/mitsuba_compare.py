"""Our renderer and Mitsuba 3 on one scene: colour, pose gradients against central differences, and time.

    python benchmarks/mitsuba_compare.py [--variant llvm_ad_rgb] [--mesh MODEL.ply] [--sizes 160x120,320x240]

Needs ``pip install mitsuba``; the llvm variants need a libLLVM (Debian: libllvm19) that DRJIT_LIBLLVM_PATH
points at. Both draw a Lambertian body with smooth normals under one directional lamp and nothing else;
Mitsuba traces direct light only, so neither has interreflection. The default body is convex: Mitsuba casts
shadows and our raster renderer does not, and the motion of shadows on other bodies is in Mitsuba's
differences. The truth for the gradients is central differences of Mitsuba's own image, so an error of ours is
a disagreement with the other program, not with ourselves. It has noise too, which the difference of two seeds
tells. Mitsuba's estimate is a random number: its error is the root mean square over several seeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from mitsuba_time import load_mitsuba, write_ply
from scipy.ndimage import gaussian_filter

from dr_perception import Camera, load_model
from dr_perception.geometry import Mesh
from dr_perception.geometry.se3 import exp_so3, make_transform, retract
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene

LAMP = np.array([0.35, -0.5, -0.79])
ALBEDO = (0.7, 0.5, 0.3)
_SEEDS = 12


class Mitsuba:
    """One object in Mitsuba, whose vertices are moved by a pose."""

    def __init__(self, variant: str, mesh: Mesh, T: np.ndarray, camera: Camera) -> None:
        self.mi, self.mesh, self.T = load_mitsuba(variant), mesh, T
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mesh.ply"
            write_ply(path, mesh)
            self.scene = self.mi.load_dict(self._description(str(path), camera))
        self.parameters = self.mi.traverse(self.scene)
        self.key = next(k for k in self.parameters.keys() if k.endswith("vertex_positions"))
        self.move(np.zeros(6))

    def _description(self, path: str, camera: Camera) -> dict[str, Any]:
        mi = self.mi
        to_world = mi.ScalarTransform4f().look_at(origin=[0, 0, 0], target=[0, 0, 1], up=[0, -1, 0])
        fov = float(np.rad2deg(2 * np.arctan(camera.width / (2 * camera.fx))))
        film = {"type": "hdrfilm", "width": camera.width, "height": camera.height, "rfilter": {"type": "box"}}
        film |= {"pixel_format": "rgb", "component_format": "float32"}
        sensor = {"type": "perspective", "fov": fov, "fov_axis": "x", "to_world": to_world, "near_clip": 0.01}
        bsdf = {
            "type": "twosided",
            "m": {"type": "diffuse", "reflectance": {"type": "rgb", "value": list(ALBEDO)}},
        }
        lamp = {
            "type": "directional",
            "direction": (-LAMP).tolist(),
            "irradiance": {"type": "rgb", "value": float(np.pi)},
        }
        return {
            "type": "scene",
            "sensor": {**sensor, "film": film, "sampler": {"type": "independent"}},
            "body": {"type": "ply", "filename": path, "bsdf": bsdf},
            "lamp": lamp,
            "integrator": {"type": "direct_projective", "sppi": 0},
        }

    def vertices(self, xi: np.ndarray) -> np.ndarray:
        """Vertices in the camera frame after the pose moved by ``xi``."""
        T = retract(self.T, xi)
        return self.mesh.vertices @ T[:3, :3].T + T[:3, 3]

    def move(self, xi: np.ndarray) -> None:
        """Move the object without derivatives."""
        self.parameters[self.key] = self.mi.Float(self.vertices(xi).astype(np.float32).ravel())
        self.parameters.update()

    def image(self, samples: int, seed: int = 0) -> np.ndarray:
        """Linear RGB (H, W, 3)."""
        return np.array(self.mi.render(self.scene, spp=samples, seed=seed))

    def gradient(self, adjoint: np.ndarray, samples: int, seed: int = 0) -> np.ndarray:
        """Derivative of sum(adjoint * image) by the pose tangent, chained from Mitsuba's vertices."""
        import drjit as dr

        positions = self.mi.Float(self.vertices(np.zeros(6)).astype(np.float32).ravel())
        dr.enable_grad(positions)
        self.parameters[self.key] = positions
        self.parameters.update()
        image = self.mi.render(self.scene, self.parameters, spp=samples, seed=seed)
        dr.backward(dr.sum(image * self.mi.TensorXf(adjoint.astype(np.float32)), axis=None))
        rows = np.array(dr.grad(positions), dtype=np.float64).reshape(-1, 3)
        lever = self.vertices(np.zeros(6)) - self.T[:3, 3]
        return np.concatenate([rows.sum(0), np.cross(lever, rows).sum(0)])


class Ours:
    """The same object in our renderer."""

    def __init__(self, mesh: Mesh, T: np.ndarray, camera: Camera, supersampling: int = 1) -> None:
        material = Material(albedo=ALBEDO, crease_angle_rad=np.pi)
        lights = Lights(ambient=(0.0,) * 3, directions=[LAMP], colors=[[1.0] * 3])
        self.scene = Scene([Instance(mesh, T, material)], lights)
        self.renderer, self.options = Renderer(), RenderOptions(("color",), supersampling=supersampling)
        self.parameters = self.renderer.parameters(self.scene, camera, requires_grad=("pose",))
        self.images = None
        self.captured = self.renderer.capture(self.scene, self.parameters, self.options)

    def both(self) -> None:
        """Forward and backward by the captured graphs, with the gradient that `captured.images` hold."""
        self.captured.draw()
        self.captured.pull_back()

    def image(self) -> np.ndarray:
        """Linear RGB (H, W, 3)."""
        self.images = self.renderer.render(self.scene, self.parameters, self.options, out=self.images)
        return self.images.color.numpy()[0]

    def gradient(self, adjoint: wp.array) -> np.ndarray:
        """Derivative of sum(adjoint * image) with respect to the pose tangent."""
        self.parameters.zero_grad()
        with wp.Tape() as tape:
            self.images = self.renderer.render(self.scene, self.parameters, self.options, out=self.images)
        tape.backward(grads={self.images.color: adjoint})
        return self.parameters.pose.grad.numpy().reshape(6).astype(float)


def differences(m: Mitsuba, adjoint: np.ndarray, lever: float, samples: int, seed: int = 0) -> np.ndarray:
    """Central differences of Mitsuba's image, common random numbers."""
    out = np.zeros(6)
    for i, step in enumerate([0.002 * lever] * 3 + [0.006] * 3):
        values = []
        for sign in (1, -1):
            m.move(sign * step * np.eye(6)[i])
            values.append(float(np.sum(m.image(samples, seed) * adjoint)))
        out[i] = (values[0] - values[1]) / (2 * step)
    m.move(np.zeros(6))
    return out


def median_ms(call: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call [ms] after two warm-up calls."""
    call()
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def compare(variant: str, mesh: Mesh, size: tuple[int, int], samples: int) -> dict[str, float]:
    """All figures of one image size."""
    width, height = size
    camera = Camera(width, height, 1.2 * width, 1.2 * width, (width - 1) / 2, (height - 1) / 2)
    diameter = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    T = make_transform(exp_so3(np.array([2.1, 0.6, 0.3])), np.array([0.0, 0.0, 1.7 * diameter]))
    m, ours = Mitsuba(variant, mesh, T, camera), Ours(mesh, T, camera)
    reference, image = m.image(samples), ours.image()
    lit = (reference.min(axis=2) > 0.02) & (image.min(axis=2) > 0.02)
    edge = gaussian_filter((image.sum(axis=2) > 0).astype(float), 1.0)
    inner = lit & (edge > 0.999)
    rng = np.random.default_rng(0)
    # the scalar is half the squared difference to the image of a nearby pose, linearised here
    nearby = rng.normal(size=6) * np.array([0.02 * diameter] * 3 + [0.1] * 3)
    m.move(nearby)
    adjoint = reference - m.image(samples)
    m.move(np.zeros(6))
    truths = [differences(m, adjoint, diameter, samples, seed) for seed in (0, 1)]
    truth = 0.5 * (truths[0] + truths[1])
    scale = np.array([1.0] * 3 + [0.5 * diameter] * 3)
    fixed = wp.array(adjoint[None].astype(np.float32), dtype=wp.vec3)
    ours.captured.images.color.grad.assign(fixed)
    finer = Ours(mesh, T, camera, supersampling=3)

    def error(*gradients: np.ndarray) -> float:
        norms = [np.linalg.norm((g - truth) / scale) / np.linalg.norm(truth / scale) for g in gradients]
        return 100 * float(np.sqrt(np.mean(np.square(norms))))

    return {
        "faces": len(mesh.faces),
        "covered pixels": int((image.sum(axis=2) > 0).sum()),
        "colour, median difference": float(np.median(np.abs(image - reference)[inner])),
        "colour, p95 difference": float(np.percentile(np.abs(image - reference)[inner], 95)),
        "noise of the truth %": 0.5 * error(truths[0] - truths[1] + truth),
        "gradient error ours %": error(ours.gradient(fixed)),
        "gradient error ours, 3 x 3 samples %": error(finer.gradient(fixed)),
        "gradient error Mitsuba %": error(*(m.gradient(adjoint, 4, seed) for seed in range(_SEEDS))),
        "forward ours ms": median_ms(ours.captured.draw, 200),
        "forward ours, 3 x 3 samples ms": median_ms(finer.captured.draw, 50),
        "forward Mitsuba ms": median_ms(lambda: m.image(4), 5),
        "forward+backward ours ms": median_ms(ours.both, 200),
        "forward+backward ours, 3 x 3 samples ms": median_ms(finer.both, 50),
        "forward+backward Mitsuba ms": median_ms(lambda: m.gradient(adjoint, 4), 3),
    }


def body(rings: int = 20, segments: int = 32) -> Mesh:
    """A convex, asymmetric body: a sphere stretched and tapered, about 1,200 faces, 12 cm long."""
    theta, phi = np.pi * np.arange(1, rings) / rings, 2 * np.pi * np.arange(segments) / segments
    ring = np.stack([np.cos(phi), np.sin(phi)], axis=1)
    grid = [[np.sin(t) * x, np.sin(t) * y, np.cos(t)] for t in theta for x, y in ring]
    v = np.array([[0, 0, 1.0], *grid, [0, 0, -1.0]])
    v = np.stack(
        [0.030 * v[:, 0] * (1 + 0.3 * v[:, 2]), 0.045 * v[:, 1] * (1 + 0.2 * v[:, 2]), 0.060 * v[:, 2]], 1
    )
    last, faces = len(v) - 1, []
    for j in range(segments):
        k = (j + 1) % segments
        faces += [[0, 1 + j, 1 + k], [last, last - segments + k, last - segments + j]]
        for a in range(1, 1 + (rings - 2) * segments, segments):
            b = a + segments
            faces += [[a + j, b + j, b + k], [a + j, b + k, a + k]]
    return Mesh(v, np.array(faces, np.int32))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variant", default="llvm_ad_rgb")
    parser.add_argument("--mesh", help="a body of 1,216 faces when left out")
    parser.add_argument("--sizes", default="160x120")
    parser.add_argument("--samples", type=int, default=256, help="samples per pixel of the reference image")
    arguments = parser.parse_args()
    mesh = body() if arguments.mesh is None else load_model(arguments.mesh).mesh
    mesh = Mesh(mesh.vertices, mesh.faces)
    for text in arguments.sizes.split(","):
        width, height = (int(n) for n in text.split("x"))
        print(f"{text} {arguments.variant}")
        for name, value in compare(arguments.variant, mesh, (width, height), arguments.samples).items():
            print(f"  {name:42s} {value:.5g}")


if __name__ == "__main__":
    main()

"""Random scenes through the renderer: what must hold for any of them.

Meshes (closed, split, open, thin, soups, degenerate, turned inside out), lenses, near planes, crops, samples
a pixel and several bodies that pass through each other. Of every render it is checked that

- coverage lies in [0, 1] to 1e-5, also the soft one, and images are finite;
- normals at pixel centres have unit length, and blended ones are not longer;
- colours are not negative but for what the rasteriser's grid rounds, depths are those of the z-buffer;
- gradients of all parameters are finite;
- a fresh renderer draws the same, and its gradients are the same, bit for bit.

    python benchmarks/fuzz_render.py --renders 3000

Prints a line for every fault with the seed that makes it (``--first SEED --renders 1`` draws it again) and
the number of renders and faults.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray
from render_meshes import MESHES

from dr_perception.geometry import Camera, Mesh, make_transform, random_rotation
from dr_perception.render import (
    DIFFERENTIABLE,
    Instance,
    Lights,
    Material,
    Renderer,
    RenderOptions,
    Scene,
    SceneParameters,
)

LENSES = {
    "pinhole": ((), "plumb_bob"),
    "plumb_bob": ((-0.28, 0.09, 0.001, -0.002, -0.01), "plumb_bob"),
    "folding": ((-0.28, 0.0, 0.0, 0.0), "plumb_bob"),
    "rational_polynomial": ((0.2, 0.05, 0.002, -0.001, 0.01, 0.35, 0.06, 0.005), "rational_polynomial"),
    "equidistant": ((0.02, -0.01, 0.003, -0.001), "equidistant"),
}
"""Coefficients and models; "folding" puts rays beyond 47 degrees into the image again."""
COVERAGE_ERROR = 1e-5
ROUNDED_COLOR = 0.05
"""How far below 0 a colour may be: centres lie outside of small faces by what the grid rounds."""
UNIT_ERROR = 1e-4


@dataclass(frozen=True)
class Case:
    """A scene, a camera and options."""

    scene: Scene
    camera: Camera
    options: RenderOptions
    graded: tuple[str, ...]


def _split(mesh: Mesh) -> Mesh:
    """Every face with vertices of its own."""
    faces = np.arange(3 * len(mesh.faces)).reshape(-1, 3)
    return Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), faces)


def _soup(rng: np.random.Generator) -> Mesh:
    """Loose triangles of any size and direction."""
    count = int(rng.integers(1, 60))
    corners = rng.normal(scale=0.04, size=(count, 1, 3)) + rng.normal(scale=0.02, size=(count, 3, 3))
    return Mesh(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


def _degenerate(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The mesh with faces without area, repeated ones and a vertex moved onto another."""
    vertices, faces = mesh.vertices.copy(), mesh.faces
    i, j = rng.integers(len(vertices), size=2)
    vertices[i] = vertices[j]
    flat = np.stack([faces[:3, 0], faces[:3, 1], faces[:3, 1]], 1)
    return Mesh(vertices, np.concatenate([faces, flat, faces[rng.integers(len(faces), size=4)]]))


def _stretched(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The mesh, flat or long."""
    scale = np.exp(rng.uniform(np.log(0.02), 0.0, 3))
    return Mesh(mesh.vertices * scale / scale.max(), mesh.faces)


def random_mesh(rng: np.random.Generator) -> Mesh:
    """A mesh of about 0.1 m."""
    mesh = MESHES[str(rng.choice(list(MESHES)))]()
    kind = rng.integers(7)
    if kind == 1:
        return _soup(rng)
    if kind == 2:
        return _split(mesh)
    if kind == 3:
        return Mesh(mesh.vertices, mesh.faces[rng.random(len(mesh.faces)) < 0.7])
    if kind == 4:
        return _degenerate(mesh, rng)
    if kind == 5:
        return _stretched(mesh, rng)
    if kind == 6:
        return Mesh(mesh.vertices, mesh.faces[:, ::-1])
    return mesh


def random_camera(rng: np.random.Generator) -> Camera:
    """A small image through any lens, from narrow to wide."""
    k, model = LENSES[str(rng.choice(list(LENSES)))]
    width, height = (int(n) for n in rng.integers(16, 72, 2))
    focal = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0)))) * width
    center = rng.uniform(0.3, 0.7, 2) * (width, height)
    return Camera(width, height, focal, focal * rng.uniform(0.9, 1.1), *center.tolist(), k, model)


def random_options(camera: Camera, rng: np.random.Generator) -> RenderOptions:
    """Near plane, crop, samples and antialiasing."""
    crop = None
    if rng.random() < 0.3:
        corner = rng.integers(0, (camera.width // 2, camera.height // 2))
        crop = (int(corner[0]), int(corner[1]), camera.width // 2, camera.height // 2)
    return RenderOptions(
        antialias=bool(rng.random() < 0.85),
        antialias_depth=bool(rng.random() < 0.5),
        far_depth=float(rng.choice([0.0, 2.0])),
        near=float(rng.choice([0.01, 0.05, 0.2])),
        crop=crop,
        supersampling=(1, 1, None, 2)[int(rng.integers(4))],
        soft_silhouette_px=float(rng.choice([0.0, 0.0, 1.5])),
    )


def random_case(seed: int) -> Case:
    """One to four bodies, near enough to pass through each other and through the near plane."""
    rng = np.random.default_rng(seed)
    camera, instances = random_camera(rng), []
    for _ in range(rng.integers(1, 5)):
        z = float(np.exp(rng.uniform(np.log(0.05), np.log(1.5))))
        place = np.array([*rng.uniform(-0.35, 0.35, 2), 1.0]) * z
        smooth = float(rng.choice([0.0, 0.7, np.pi]))
        material = Material(
            rng.random(3), float(rng.random()), float(rng.random()), float(rng.random()), smooth
        )
        instances.append(Instance(random_mesh(rng), make_transform(random_rotation(rng), place), material))
    lights = Lights(rng.random(3), rng.normal(size=(2, 3)), rng.random((2, 3)))
    graded = DIFFERENTIABLE if rng.random() < 0.5 else ("pose",)
    return Case(Scene(instances, lights, rng.random(3)), camera, random_options(camera, rng), graded)


def drawn(renderer: Renderer, case: Case, parameters: SceneParameters) -> tuple[dict, dict]:
    """Images and gradients, for image gradients that are the same every time."""
    parameters.zero_grad()
    with wp.Tape() as tape:
        images = renderer.render(case.scene, parameters, case.options)
    for name in images.numpy():
        image = getattr(images, name)
        if image.requires_grad:
            rng = np.random.default_rng(len(name))
            image.grad.assign(rng.normal(size=image.numpy().shape).astype(np.float32))
    tape.backward()
    return images.numpy(), parameters.gradients()


def faults_of_images(images: dict[str, NDArray], options: RenderOptions) -> list[str]:
    """What is wrong with images of any scene."""
    found = [f"{name} is not finite" for name, image in images.items() if not np.isfinite(image).all()]
    for name in ("silhouette", "soft_silhouette"):
        if name in images:
            low, high = float(images[name].min()), float(images[name].max())
            if low < -COVERAGE_ERROR or high > 1.0 + COVERAGE_ERROR:
                found.append(f"{name} in [{low:.6f}, {high:.6f}]")
    length = np.linalg.norm(images["normal"], axis=-1)
    if length.max() > 1.0 + UNIT_ERROR:
        found.append(f"a normal of length {length.max():.5f}")
    if not options.antialias and options.supersampling == 1:
        odd = length[(np.abs(length - 1.0) > UNIT_ERROR) & (length > 0.0)]
        if odd.size:
            found.append(f"{odd.size} normals not of unit length, as {odd[0]:.5f}")
    if images["color"].min() < -ROUNDED_COLOR:
        found.append(f"a colour of {images['color'].min():.4f}")
    if images["depth"].min() < 0.0:
        found.append(f"a depth of {images['depth'].min():.4f}")
    return found


def faults(seed: int, used: Renderer) -> list[str]:
    """What is wrong with one case; ``used`` is a renderer that has drawn others before."""
    case = random_case(seed)
    parameters = used.parameters(case.scene, case.camera, requires_grad=case.graded)
    images, gradients = drawn(used, case, parameters)
    found = faults_of_images(images, case.options)
    found += [f"gradient of {n} is not finite" for n, g in gradients.items() if not np.isfinite(g).all()]
    again = drawn(Renderer("cpu"), case, parameters)
    for before, after in zip((images, gradients), again, strict=True):
        found += [
            f"{n} differs from a fresh renderer's"
            for n in before
            if not np.array_equal(before[n], after[n], equal_nan=before[n].dtype.kind == "f")
        ]
    return found


def main() -> None:
    """Print faults and their number."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renders", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    arguments = parser.parse_args()
    wp.config.quiet = True
    used, kinds, start = Renderer("cpu"), Counter(), time.perf_counter()
    for seed in range(arguments.first, arguments.first + arguments.renders):
        found = faults(seed, used)
        kinds.update(text.split(" ")[0] for text in found)
        if found:
            print(f"seed {seed}: {'; '.join(found)}", flush=True)
    seconds = time.perf_counter() - start
    print(f"{arguments.renders} renders, {sum(kinds.values())} faults {dict(kinds)}, {seconds:.0f} s")


if __name__ == "__main__":
    main()

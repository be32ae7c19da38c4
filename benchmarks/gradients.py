"""Gradients of image losses against central differences of a 16x supersampled render.

For every mesh, pose and parameter group the loss is the squared difference between the image and that of a
displaced scene. The reference renders every image at 16 x 16 samples a pixel, averages, and takes central
differences along a few random directions of the group; the error is the norm of the differences over the
norm of the reference, both over these directions. Scenes: four kinds of meshes, a ball of facets of three
pixels, parts of 4 to 15 pixels, and a ring and a ball that pass through each other or stand one behind the
other.

    python benchmarks/gradients.py --poses 20
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import warp as wp
from numpy.typing import NDArray
from render_meshes import MESHES, ellipsoid

from dr_perception.geometry import Camera, Mesh, make_transform, perturb, random_rotation
from dr_perception.render import (
    Images,
    Instance,
    Lights,
    Material,
    Renderer,
    RenderOptions,
    Scene,
    SceneParameters,
)

SUPERSAMPLING, SMALL_SUPERSAMPLING = 16, 48
"""Samples a pixel and axis of the reference; of small parts, whose texels are a tenth of a pixel."""
SCENES = [*MESHES, "facets", "small", "crossing", "apart"]
"""Names of the scenes."""
SAMPLES: int | None = None
VECTOR = ("color", "normal")
GROUPS = {
    "pose": ("silhouette", "depth", "color", "normal"),
    "vertices": ("silhouette", "depth", "color"),
    "camera_pose": ("silhouette", "color"),
    "intrinsics": ("silhouette", "depth", "color"),
    "vertex_colors": ("color",),
    "texels": ("color",),
    "albedo": ("color",),
    "roughness": ("color",),
    "metallic": ("color",),
    "specular": ("color",),
    "ambient": ("color",),
    "light_directions": ("color",),
    "light_colors": ("color",),
    "harmonics": ("color",),
}
"""Which images each parameter group is tested with."""
KINDS = (
    ("pose", "vertices", "camera_pose", "intrinsics"),
    ("vertex_colors", "texels"),
    ("albedo", "roughness", "metallic", "specular"),
    ("ambient", "light_directions", "light_colors", "harmonics"),
)
"""Groups that are asked for together, as a fit to images might."""
STEPS = {
    "vertices": 1e-4,
    "pose": 1e-4,
    "camera_pose": 1e-4,
    "intrinsics": 0.03,
    "texels": 0.05,
    "vertex_colors": 0.05,
    "roughness": 0.005,
    "light_directions": 0.002,
}
"""Half the distance of the central differences: about 0.05 px for what moves things; a small one for lights,
which flat faces turn from and to at once."""


@wp.kernel
def squared_scalar(a: wp.array3d(dtype=float), b: wp.array3d(dtype=float), total: wp.array(dtype=wp.float64)):
    v, y, x = wp.tid()
    d = a[v, y, x] - b[v, y, x]
    wp.atomic_add(total, 0, wp.float64(d * d))


@wp.kernel
def squared_vector(
    a: wp.array3d(dtype=wp.vec3), b: wp.array3d(dtype=wp.vec3), total: wp.array(dtype=wp.float64)
):
    v, y, x = wp.tid()
    d = a[v, y, x] - b[v, y, x]
    wp.atomic_add(total, 0, wp.float64(wp.dot(d, d)))


@wp.kernel(enable_backward=False)
def average_scalar(fine: wp.array3d(dtype=float), factor: int, coarse: wp.array3d(dtype=wp.float64)):
    y, x = wp.tid()
    total = wp.float64(0.0)
    for i in range(factor):
        for j in range(factor):
            total += wp.float64(fine[0, y * factor + i, x * factor + j])
    coarse[y, x, 0] = total / wp.float64(factor * factor)


@wp.kernel(enable_backward=False)
def average_vector(fine: wp.array3d(dtype=wp.vec3), factor: int, coarse: wp.array3d(dtype=wp.float64)):
    y, x = wp.tid()
    total = wp.vec3d()
    for i in range(factor):
        for j in range(factor):
            total += wp.vec3d(fine[0, y * factor + i, x * factor + j])
    for k in range(3):
        coarse[y, x, k] = total[k] / wp.float64(factor * factor)


def enlarged(camera: Camera, factor: int) -> Camera:
    """The same camera with more pixels."""
    return Camera(
        camera.width * factor,
        camera.height * factor,
        camera.fx * factor,
        camera.fy * factor,
        (camera.cx + 0.5) * factor - 0.5,
        (camera.cy + 0.5) * factor - 0.5,
        camera.distortion,
        camera.distortion_model,
    )


def options(channel: str, antialias: bool, samples: int | None = 1) -> RenderOptions:
    """Options that draw one image, depth with its boundary term, with so many samples a pixel and axis."""
    return RenderOptions(
        channels=(channel,), antialias=antialias, antialias_depth=antialias, supersampling=samples
    )


class Reference:
    """Supersampled images of a scene.

    ``smooth`` also integrates outlines over the sixteenth of a pixel that a sample stands for. It changes the
    images by less than 1/256, but takes away the steps in which hard samples change, whose noise would be the
    larger part of the differences.
    """

    smooth = True

    def __init__(self, scene: Scene, camera: Camera, factor: int) -> None:
        self.renderer = Renderer("cpu")
        self.factor = factor
        self.scene = scene
        self.camera = camera
        self.parameters = self.renderer.parameters(
            scene, enlarged(camera, factor), requires_grad=("intrinsics", "vertices")
        )
        self.images: dict[str, Images] = {}

    def image(self, channel: str) -> NDArray[np.float64]:
        """Average over the samples of each pixel, shape (H, W, 1 or 3)."""
        made = self.renderer.render(
            self.scene, self.parameters, options(channel, self.smooth), out=self.images.get(channel)
        )
        self.images[channel] = made
        vector = channel in VECTOR
        shape = (self.camera.height, self.camera.width, 3 if vector else 1)
        small = wp.zeros(shape, dtype=wp.float64, device="cpu")
        kernel = average_vector if vector else average_scalar
        wp.launch(kernel, shape[:2], [getattr(made, channel), self.factor, small], device="cpu")
        return small.numpy()

    def derivative(self, group: str, direction: NDArray, step: float, channel: str, target: NDArray) -> float:
        """Central difference of the loss along a direction of a group."""
        array = getattr(self.parameters, group)
        start = array.numpy().copy()
        move = scaled_intrinsics(direction, self.factor) if group == "intrinsics" else direction
        loss = []
        for sign in (1.0, -1.0):
            array.assign((start + sign * step * move).astype(np.float32))
            loss.append(float(((self.image(channel) - target) ** 2).sum()))
        array.assign(start)
        return (loss[0] - loss[1]) / (2.0 * step)


def scaled_intrinsics(direction: NDArray, factor: int) -> NDArray:
    """Pixels of the enlarged camera for pixels of the camera."""
    scale = np.ones(direction.shape[-1])
    scale[:4] = factor
    return direction * scale


def gradient(
    renderer: Renderer, scene: Scene, parameters: SceneParameters, channel: str, target: NDArray
) -> dict[str, NDArray]:
    """Gradients of the loss for all groups, with `SAMPLES` a pixel and axis."""
    vector = channel in VECTOR
    data = target.astype(np.float32)[None] if vector else target.astype(np.float32)[None, ..., 0]
    wanted = wp.array(data, dtype=wp.vec3 if vector else float)
    parameters.zero_grad()
    total = wp.zeros(1, dtype=wp.float64, requires_grad=True)
    with wp.Tape() as tape:
        image = getattr(renderer.render(scene, parameters, options(channel, True, SAMPLES)), channel)
        wp.launch(squared_vector if vector else squared_scalar, image.shape, [image, wanted], [total])
    tape.backward(total)
    return parameters.gradients()


def directions(
    group: str, array: wp.array, radius: float, count: int, rng: np.random.Generator
) -> Iterator[NDArray]:
    """Directions to differentiate along; rotations and translations move points alike."""
    shape = array.numpy().shape
    if group in ("pose", "camera_pose"):
        scale = np.array([1, 1, 1, 1 / radius, 1 / radius, 1 / radius])
        if group == "camera_pose":
            scale[3:] *= 0.3
        for row in _mixed(6, rng):
            yield np.broadcast_to(scale * row, shape)
    elif group == "intrinsics":
        scale = np.array((1, 1, 0.3, 0.3, 0.02, 0.02, 0.004, 0.004, 0.02, 0.02, 0.02, 0.02))
        for row in _mixed(4 + count, rng):
            yield np.broadcast_to(scale * np.pad(row, (0, 8 - count)), shape)
    elif group == "vertices":
        x = array.numpy()
        for _ in range(3):
            yield np.cos(x @ rng.normal(size=(3, 3)) * 15.0 + rng.uniform(0, 6, 3))
    else:
        for _ in range(2):
            yield rng.normal(size=shape)


def _mixed(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Three orthogonal unit directions, turned at random so that every parameter takes part."""
    return np.linalg.qr(rng.normal(size=(size, 3)))[0].T


def make_scene(mesh: Mesh, T: NDArray, *more: tuple[Mesh, NDArray]) -> Scene:
    """One instance or more in mixed light."""
    material = Material(albedo=(0.8, 0.6, 0.5), roughness=0.6, metallic=0.2, specular=0.4)
    lights = Lights(
        directions=((0.3, -0.5, -0.8), (-0.6, 0.2, -0.7)),
        colors=((0.6, 0.6, 0.5), (0.2, 0.3, 0.4)),
        harmonics=0.1 * np.sin(np.arange(27.0)).reshape(9, 3),
    )
    instances = [Instance(m, pose, material) for m, pose in ((mesh, T), *more)]
    return Scene(instances, lights, background=(0.1, 0.2, 0.4))


def random_pose(mesh: Mesh, fill: bool, rng: np.random.Generator) -> NDArray:
    """A pose that fills about half the image, or all of it."""
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    if fill:
        return make_transform(random_rotation(rng), np.array([0.0, 0.0, radius * 0.9 + 0.05]))
    offset = rng.uniform(-0.15, 0.15, 2) * radius
    return make_transform(random_rotation(rng), np.array([*offset, radius * rng.uniform(3.2, 4.2)]))


Errors = dict[tuple[str, str], tuple[float, float]]
"""Norm of the difference and of the reference for every group and image."""


def compare(
    scene: Scene,
    moved: Scene,
    camera: Camera,
    groups: dict[str, tuple[str, ...]],
    radius: float,
    rng: np.random.Generator,
    coefficients: int = 0,
    skip: tuple[str, ...] = (),
    factor: int = SUPERSAMPLING,
) -> Errors:
    """Errors of one scene; the loss is the squared difference to the images of ``moved``."""
    reference, target_of = Reference(scene, camera, factor), Reference(moved, camera, factor)
    renderer = Renderer("cpu")
    found = {}
    for kind in KINDS:
        together = tuple(g for g in groups if g in kind)
        if not together:
            continue
        # What is asked for together is drawn alike; alone it gets as many samples as it needs.
        parameters = renderer.parameters(scene, camera, requires_grad=together)
        for channel in ("silhouette", "depth", "color", "normal"):
            asked = [g for g in together if channel in groups[g]]
            if not asked or channel in skip:
                continue
            target = target_of.image(channel)
            analytic = gradient(renderer, scene, parameters, channel, target)
            for group in asked:
                array = getattr(parameters, group)
                if array.size == 0 or (group == "texels" and array.size == 1):
                    continue
                ours, theirs = [], []
                for d in directions(group, array, radius, coefficients, rng):
                    step = STEPS.get(group, 0.02)
                    ours.append(float((analytic[group] * d).sum()))
                    theirs.append(reference.derivative(group, d, step, channel, target))
                difference = np.asarray(ours) - np.asarray(theirs)
                found[group, channel] = float(np.linalg.norm(difference)), float(np.linalg.norm(theirs))
    return found


def errors(
    mesh: Mesh,
    camera: Camera,
    groups: dict[str, tuple[str, ...]],
    rng: np.random.Generator,
    fill: bool = False,
    coefficients: int = 0,
) -> Errors:
    """Errors of a mesh in one random pose."""
    T = random_pose(mesh, fill, rng)
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    moved = make_scene(mesh, perturb(T, 0.06 * radius, 0.12, rng))
    skip = ("silhouette",) if fill else ()
    return compare(make_scene(mesh, T), moved, camera, groups, radius, rng, coefficients, skip)


def errors_of_small_part(
    camera: Camera, groups: dict[str, tuple[str, ...]], rng: np.random.Generator, coefficients: int = 0
) -> Errors:
    """Errors of a part that is 4 to 15 pixels large, of any of the kinds of meshes."""
    mesh = MESHES[str(rng.choice(list(MESHES)))]()
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    distance = 2.0 * radius * camera.fx / float(np.exp(rng.uniform(np.log(4.0), np.log(15.0))))
    place = np.array([*rng.uniform(-0.2, 0.2, 2), 1.0]) * distance
    T = make_transform(random_rotation(rng), place)
    moved = make_scene(mesh, perturb(T, 0.06 * radius, 0.12, rng))
    scene = make_scene(mesh, T)
    return compare(scene, moved, camera, groups, radius, rng, coefficients, factor=SMALL_SUPERSAMPLING)


def errors_at_crossing(
    camera: Camera,
    groups: dict[str, tuple[str, ...]],
    rng: np.random.Generator,
    depth: float,
    coefficients: int = 0,
) -> Errors:
    """Errors of a ring and a ball ``depth`` radii behind it; at 0 they pass through each other."""
    ball, ring = MESHES["convex"](), MESHES["holes"]()
    radius = float(np.linalg.norm(ring.vertices, axis=1).max())
    T = random_pose(ring, False, rng)
    T_ball = T.copy()
    T_ball[:3, :3] = random_rotation(rng)
    T_ball[:3, 3] *= 1.0 + depth * radius / T[2, 3]
    scene = make_scene(ring, T, (ball, T_ball))
    moved = make_scene(
        ring, perturb(T, 0.06 * radius, 0.12, rng), (ball, perturb(T_ball, 0.06 * radius, 0.12, rng))
    )
    return compare(scene, moved, camera, groups, radius, rng, coefficients)


LENSES = {
    "pinhole": (),
    "plumb_bob": (-0.2, 0.05, 0.002, -0.001, 0.01),
    "rational_polynomial": (0.2, 0.05, 0.002, -0.001, 0.01, 0.35, 0.06, 0.005),
    "equidistant": (-0.03, 0.01, -0.002, 0.0005),
}
"""Coefficients of lenses."""


def make_camera(size: tuple[int, int], lens: str) -> Camera:
    """A camera of about 44 degrees."""
    width, height = size
    focal = 1.25 * width
    model = "plumb_bob" if lens == "pinhole" else lens
    return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, LENSES[lens], model)


HEADER = f"{'mesh':10s}{'group':18s}{'image':12s}" + "".join(
    f"{word + ' %':>10s}" for word in ("median", "p90", "max", "pooled")
)


def table(name: str, poses: int, errors_of: Callable[[np.random.Generator], Errors]) -> None:
    """Print the rows of one mesh."""
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for pose in range(poses):
        for key, value in errors_of(np.random.default_rng(1000 + pose)).items():
            rows.setdefault(key, []).append(value)
    for (group, channel), values in rows.items():
        difference, norm = np.asarray(values).T
        e = 100.0 * difference / np.maximum(norm, 1e-30)
        pooled = 100.0 * np.linalg.norm(difference) / np.linalg.norm(norm)
        figures = (np.median(e), np.percentile(e, 90), e.max(), pooled)
        print(f"{name:10s}{group:18s}{channel:12s}" + "".join(f"{x:10.2f}" for x in figures), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--poses", type=int, default=20)
    parser.add_argument("--scenes", nargs="*", choices=SCENES, default=SCENES)
    parser.add_argument("--groups", nargs="*", default=list(GROUPS))
    parser.add_argument("--size", type=int, nargs=2, default=(80, 60))
    parser.add_argument("--hard-reference", action="store_true", help="point samples only (and larger steps)")
    parser.add_argument("--fill", action="store_true", help="surfaces that fill the image")
    parser.add_argument("--lens", choices=list(LENSES), default="pinhole")
    parser.add_argument("--samples", type=int, help="samples a pixel and axis, else what the renderer takes")
    arguments = parser.parse_args()
    global SAMPLES
    SAMPLES = arguments.samples
    if arguments.hard_reference:
        Reference.smooth = False
        STEPS.update(vertices=4e-4, pose=6e-4, camera_pose=6e-4, intrinsics=0.15)
    groups = {g: GROUPS[g] for g in arguments.groups}
    print(HEADER)
    for name in arguments.scenes:
        table(name, arguments.poses, _errors_of(name, arguments.lens, arguments.size, groups, arguments.fill))


def _errors_of(
    name: str, lens: str, size: tuple[int, int], groups: dict[str, tuple[str, ...]], fill: bool
) -> Callable[[np.random.Generator], Errors]:
    """What measures one pose of a scene."""
    camera, coefficients = make_camera(size, lens), len(LENSES[lens])
    if name == "small":
        small = make_camera((camera.width // 2, camera.height // 2), lens)
        return lambda rng: errors_of_small_part(small, groups, rng, len(LENSES[lens]))
    if name in ("crossing", "apart"):
        depth = 0.0 if name == "crossing" else 2.5
        return lambda rng: errors_at_crossing(camera, groups, rng, depth, coefficients)
    mesh = ellipsoid(rows=8) if name == "facets" else MESHES[name]()
    return lambda rng: errors(mesh, camera, groups, rng, fill, coefficients)


if __name__ == "__main__":
    main()

"""Gradients of image losses against central differences of a 16x supersampled render.

For every mesh, pose and parameter group the loss is the squared difference between the image and that of a
displaced scene. The reference renders every image at 16 x 16 samples a pixel, averages, and takes central
differences along a few random directions of the group; the error is the norm of the differences over the
norm of the reference, both over these directions. The last rows are a ring and a ball that pass through each
other, where the method must fail, and the same two one behind the other.

    python benchmarks/gradients.py --poses 20
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import warp as wp
from numpy.typing import NDArray
from render_meshes import MESHES

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

SUPERSAMPLING = 16
SAMPLES = 1
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
STEPS = {
    "vertices": 1e-4,
    "pose": 1e-4,
    "camera_pose": 1e-4,
    "intrinsics": 0.03,
    "texels": 0.05,
    "vertex_colors": 0.05,
    "roughness": 0.005,
}
"""Half the distance of the central differences: about 0.05 px for what moves things."""


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


def options(channel: str, antialias: bool, samples: int = 1) -> RenderOptions:
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

    def __init__(self, scene: Scene, camera: Camera) -> None:
        self.renderer = Renderer("cpu")
        self.scene = scene
        self.camera = camera
        self.parameters = self.renderer.parameters(
            scene, enlarged(camera, SUPERSAMPLING), requires_grad=("intrinsics", "vertices")
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
        wp.launch(kernel, shape[:2], [getattr(made, channel), SUPERSAMPLING, small], device="cpu")
        return small.numpy()

    def derivative(self, group: str, direction: NDArray, step: float, channel: str, target: NDArray) -> float:
        """Central difference of the loss along a direction of a group."""
        array = getattr(self.parameters, group)
        start = array.numpy().copy()
        move = scaled_intrinsics(direction) if group == "intrinsics" else direction
        loss = []
        for sign in (1.0, -1.0):
            array.assign((start + sign * step * move).astype(np.float32))
            loss.append(float(((self.image(channel) - target) ** 2).sum()))
        array.assign(start)
        return (loss[0] - loss[1]) / (2.0 * step)


def scaled_intrinsics(direction: NDArray) -> NDArray:
    """Pixels of the enlarged camera for pixels of the camera."""
    scale = np.ones(direction.shape[-1])
    scale[:4] = SUPERSAMPLING
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
) -> Errors:
    """Errors of one scene; the loss is the squared difference to the images of ``moved``."""
    reference, target_of = Reference(scene, camera), Reference(moved, camera)
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene, camera, requires_grad=tuple(groups))
    found = {}
    for channel in ("silhouette", "depth", "color", "normal"):
        asked = [g for g, channels in groups.items() if channel in channels]
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


def errors_at_crossing(camera: Camera, rng: np.random.Generator, depth: float) -> Errors:
    """Errors of the poses of a ring and of a ball ``depth`` radii behind it.

    At 0 they pass through each other. Nothing moves the line at which surfaces cross, so images that jump
    there, colour and normals, must be wrong.
    """
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
    return compare(scene, moved, camera, {"pose": GROUPS["pose"]}, radius, rng)


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
    parser.add_argument("--meshes", nargs="*", default=list(MESHES))
    parser.add_argument("--groups", nargs="*", default=list(GROUPS))
    parser.add_argument("--size", type=int, nargs=2, default=(80, 60))
    parser.add_argument("--hard-reference", action="store_true", help="point samples only (and larger steps)")
    parser.add_argument("--fill", action="store_true", help="surfaces that fill the image")
    parser.add_argument("--lens", choices=list(LENSES), default="pinhole")
    parser.add_argument(
        "--intersecting", action="store_true", help="only the case that must fail: meshes that intersect"
    )
    parser.add_argument("--samples", type=int, default=1, help="samples a pixel and axis of what is tested")
    arguments = parser.parse_args()
    global SAMPLES
    SAMPLES = arguments.samples
    if arguments.hard_reference:
        Reference.smooth = False
        STEPS.update(vertices=4e-4, pose=6e-4, camera_pose=6e-4, intrinsics=0.15)
    camera = make_camera(arguments.size, arguments.lens)
    groups = {g: GROUPS[g] for g in arguments.groups}
    print(HEADER)
    coefficients = len(LENSES[arguments.lens])
    for name in () if arguments.intersecting else arguments.meshes:
        mesh = MESHES[name]()
        table(
            name,
            arguments.poses,
            lambda rng, mesh=mesh: errors(mesh, camera, groups, rng, arguments.fill, coefficients),
        )
    if not arguments.fill:
        table("crossing", arguments.poses, lambda rng: errors_at_crossing(camera, rng, 0.0))
        table("apart", arguments.poses, lambda rng: errors_at_crossing(camera, rng, 2.5))


if __name__ == "__main__":
    main()

"""Gradients of image losses against central differences of a 16x supersampled render.

For every mesh, pose and parameter group the loss is the mean squared difference between the image and that of
a displaced scene.
The reference renders every image at 16 x 16 samples a pixel, averages, and takes central differences along a
few random directions of the group; the error is the norm of the differences over the norm of the reference,
both over these directions.

    python benchmarks/gradients.py --poses 20
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

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


def options(channel: str, antialias: bool) -> RenderOptions:
    """Options that draw one image, depth with its boundary term."""
    return RenderOptions(channels=(channel,), antialias=antialias, antialias_depth=antialias)


class Reference:
    """Supersampled images of a scene.

    ``smooth`` also integrates outlines over the sixteenth of a pixel that a sample stands for. It changes the
    images by less than
    1/256, but takes away the steps in which hard samples change, whose noise would be the larger part of the
    differences.
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
        values = made.numpy()[channel]
        s = SUPERSAMPLING
        return values.reshape(self.camera.height, s, self.camera.width, s, -1).mean((1, 3), dtype=np.float64)

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
    """Analytic gradients of the loss for all groups."""
    vector = channel in VECTOR
    data = target.astype(np.float32)[None] if vector else target.astype(np.float32)[None, ..., 0]
    wanted = wp.array(data, dtype=wp.vec3 if vector else float)
    parameters.zero_grad()
    total = wp.zeros(1, dtype=wp.float64, requires_grad=True)
    with wp.Tape() as tape:
        image = getattr(renderer.render(scene, parameters, options(channel, True)), channel)
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


def make_scene(mesh: Mesh, T: NDArray, fill: bool) -> Scene:
    """One instance in mixed light."""
    material = Material(albedo=(0.8, 0.6, 0.5), roughness=0.6, metallic=0.2, specular=0.4)
    lights = Lights(
        directions=((0.3, -0.5, -0.8), (-0.6, 0.2, -0.7)),
        colors=((0.6, 0.6, 0.5), (0.2, 0.3, 0.4)),
        harmonics=0.1 * np.sin(np.arange(27.0)).reshape(9, 3),
    )
    return Scene([Instance(mesh, T, material)], lights, background=(0.1, 0.2, 0.4))


def random_pose(mesh: Mesh, fill: bool, rng: np.random.Generator) -> NDArray:
    """A pose that fills about half the image, or all of it."""
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    if fill:
        return make_transform(random_rotation(rng), np.array([0.0, 0.0, radius * 0.9 + 0.05]))
    offset = rng.uniform(-0.15, 0.15, 2) * radius
    return make_transform(random_rotation(rng), np.array([*offset, radius * rng.uniform(3.2, 4.2)]))


def errors(
    mesh: Mesh,
    camera: Camera,
    groups: dict[str, tuple[str, ...]],
    rng: np.random.Generator,
    fill: bool = False,
    coefficients: int = 0,
) -> dict[tuple[str, str], tuple[float, float]]:
    """Norm of the difference and of the reference for every group and image of one random pose."""
    T = random_pose(mesh, fill, rng)
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    scene = make_scene(mesh, T, fill)
    reference = Reference(scene, camera)
    moved = Reference(make_scene(mesh, perturb(T, 0.06 * radius, 0.12, rng), fill), camera)
    renderer = Renderer("cpu")
    parameters = renderer.parameters(scene, camera, requires_grad=tuple(groups))
    found = {}
    for channel in ("silhouette", "depth", "color", "normal"):
        asked = [g for g, channels in groups.items() if channel in channels]
        if not asked or (fill and channel == "silhouette"):
            continue
        target = moved.image(channel)
        analytic = gradient(renderer, scene, parameters, channel, target)
        for group in asked:
            array = getattr(parameters, group)
            if array.size == 0 or (group == "texels" and mesh.texture is None):
                continue
            ours, theirs = [], []
            for d in directions(group, array, radius, coefficients, rng):
                step = STEPS.get(group, 0.02)
                ours.append(float((analytic[group] * d).sum()))
                theirs.append(reference.derivative(group, d, step, channel, target))
            difference = np.asarray(ours) - np.asarray(theirs)
            found[group, channel] = float(np.linalg.norm(difference)), float(np.linalg.norm(theirs))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--poses", type=int, default=20)
    parser.add_argument("--meshes", nargs="*", default=list(MESHES))
    parser.add_argument("--groups", nargs="*", default=list(GROUPS))
    parser.add_argument("--size", type=int, nargs=2, default=(80, 60))
    parser.add_argument("--hard-reference", action="store_true", help="point samples only (and larger steps)")
    parser.add_argument("--fill", action="store_true", help="surfaces that fill the image")
    parser.add_argument(
        "--lens", choices=("pinhole", "plumb_bob", "rational_polynomial", "equidistant"), default="pinhole"
    )
    arguments = parser.parse_args()
    if arguments.hard_reference:
        Reference.smooth = False
        STEPS.update(vertices=4e-4, pose=6e-4, camera_pose=6e-4, intrinsics=0.15)
    width, height = arguments.size
    lenses = {
        "pinhole": (),
        "plumb_bob": (-0.2, 0.05, 0.002, -0.001, 0.01),
        "rational_polynomial": (0.2, 0.05, 0.002, -0.001, 0.01, 0.35, 0.06, 0.005),
        "equidistant": (-0.03, 0.01, -0.002, 0.0005),
    }
    k = lenses[arguments.lens]
    model = "plumb_bob" if arguments.lens == "pinhole" else arguments.lens
    focal = 1.25 * width
    camera = Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, k, model)
    groups = {g: GROUPS[g] for g in arguments.groups}
    print(
        f"{'mesh':10s}{'group':18s}{'image':12s}{'median %':>10s}{'p90 %':>10s}{'max %':>10s}"
        f"{'pooled %':>10s}  s"
    )
    for name in arguments.meshes:
        start = time.time()
        rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for pose in range(arguments.poses):
            rng = np.random.default_rng(1000 + pose)
            for key, value in errors(MESHES[name](), camera, groups, rng, arguments.fill, len(k)).items():
                rows.setdefault(key, []).append(value)
        for (group, channel), values in rows.items():
            difference, norm = np.asarray(values).T
            e = 100.0 * difference / np.maximum(norm, 1e-30)
            pooled = 100.0 * np.linalg.norm(difference) / np.linalg.norm(norm)
            print(
                f"{name:10s}{group:18s}{channel:12s}{np.median(e):10.2f}{np.percentile(e, 90):10.2f}"
                f"{e.max():10.2f}"
                f"{pooled:10.2f}  {time.time() - start:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

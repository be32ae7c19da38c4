"""Gradients of images of a shader of the user's own, blended over the outline, against images drawn larger.

python benchmarks/shaders.py
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import warp as wp
from numpy.typing import NDArray

import dr_perception as drp

FACTOR = 4
STEPS = {"pose": 4e-4, "camera_pose": 2e-4, "vertices": 4e-4, "intrinsics": 0.3}
OPTIONS = drp.RenderOptions(channels=("attributes", "face", "instance"))


@wp.kernel
def shade(
    attributes: wp.array4d[float],
    face: wp.array3d[int],
    instance: wp.array3d[int],
    slope: float,
    image: wp.array3d[wp.vec2],
):
    """Two numbers that are constant on each instance, or run over it."""
    v, y, x = wp.tid()
    value = wp.vec2(0.3, -0.2)
    if face[v, y, x] >= 0:
        a = slope * attributes[v, y, x, 0]
        b = slope * attributes[v, y, x, 1]
        value = wp.vec2(1.0 + float(instance[v, y, x]) + 0.3 * wp.sin(a) + 0.2 * b * b, wp.cos(a + b))
    image[v, y, x] = value


def shaded(
    renderer: drp.Renderer, scene: drp.Scene, parameters: drp.SceneParameters, slope: float
) -> wp.array:
    """The image of the shader at the centres of pixels."""
    found = renderer.render(scene, parameters, OPTIONS)
    image = wp.zeros(found.face.shape, dtype=wp.vec2, requires_grad=True)
    wp.launch(shade, image.shape, [found.attributes, found.face, found.instance, slope], [image])
    return image


def enlarged(camera: drp.Camera, n: int) -> drp.Camera:
    """The camera with n times as many pixels along each axis."""
    centre = [n * (c + 0.5) - 0.5 for c in (camera.cx, camera.cy)]
    return drp.Camera(n * camera.width, n * camera.height, n * camera.fx, n * camera.fy, *centre)


def weights(camera: drp.Camera) -> NDArray:
    """Smooth weights of both numbers of every pixel."""
    y, x = np.indices((camera.height, camera.width)) * (96.0 / camera.width)
    u, v = x / 40.0 - 1.2, y / 40.0 - 0.9
    return np.stack([u + 0.5 * v + 0.7 * u * u + v * v, v - 0.4 * u + u * v + u * u], -1)


def directions(name: str, parameters: drp.SceneParameters) -> list[NDArray]:
    """Three directions of a group of parameters."""
    rng, values = np.random.default_rng(4), getattr(parameters, name).numpy()
    if name == "vertices":
        return [np.cos(12.0 * values @ rng.normal(size=(3, 3))) for _ in range(3)]
    scale = [1.0, 1.0, 1.0, 14.0, 14.0, 14.0] if name != "intrinsics" else [1, 1, 0.3, 0.3, *[0.03] * 8]
    return [rng.normal(size=values.shape) * scale for _ in range(3)]


def error(scene: drp.Scene, whole: drp.Camera, name: str, slope: float, places: int = 8) -> float:
    """Share of the differences by which gradients are off, of the mean over places within a pixel."""
    ours, theirs, renderer = np.zeros(3), np.zeros(3), drp.Renderer("cpu")
    for x, y in np.random.default_rng(0).random((places, 2)):
        camera = replace(whole, cx=whole.cx + x, cy=whole.cy + y)
        parameters = renderer.parameters(scene, camera, requires_grad=(name,))
        with wp.Tape() as tape:
            image = renderer.antialias(scene, parameters, shaded(renderer, scene, parameters, slope))
        w = weights(camera)
        tape.backward(grads={image: wp.array(w[None].astype(np.float32), dtype=wp.vec2)})
        fine = renderer.parameters(scene, enlarged(camera, FACTOR))
        array = getattr(fine, name)
        start = array.numpy().copy()
        pixels = np.array([FACTOR] * 4 + [1.0] * 8) if name == "intrinsics" else 1.0
        for k, d in enumerate(directions(name, parameters)):
            ours[k] += (getattr(parameters, name).grad.numpy() * d).sum()
            for sign in (1.0, -1.0):
                array.assign((start + sign * STEPS[name] * d * pixels).astype(np.float32))
                large = shaded(renderer, scene, fine, slope).numpy()[0].astype(np.float64)
                small = large.reshape(camera.height, FACTOR, camera.width, FACTOR, 2).mean((1, 3))
                theirs[k] += sign * (small * w).sum() / (2.0 * STEPS[name])
            array.assign(start)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def main() -> None:
    """Print a row for each size of image, and each slope of the shader [rad per 0.1 m]."""
    wp.config.quiet = True
    part = drp.load_model("models/demo/models/obj_000002.ply")
    placed = []
    for z, x in ((0.0, -0.2), (0.4, 0.2)):
        T = np.eye(4)
        T[:3, :3] = [[0.36, -0.48, 0.8], [0.8, 0.6, 0.0], [-0.48, 0.64, 0.6]]
        T[:3, 3] = np.array([x, 0.05, 2.5 + z]) * part.diameter_m
        V = part.mesh.vertices
        mesh = drp.Mesh(V, part.mesh.faces, vertex_attributes=V[:, :2] / 0.1)
        placed.append(drp.Instance(mesh, T))
    scene = drp.Scene(placed)
    print("| slope | pixels | " + " | ".join(STEPS) + " |")
    for slope, n in ((0.0, 1), (1.0, 1), (1.0, 2), (3.0, 1), (3.0, 2)):
        camera = enlarged(drp.Camera(96, 72, 120.0, 118.0, 46.3, 36.9), n)
        found = " | ".join(f"{100.0 * error(scene, camera, name, slope):.1f}" for name in STEPS)
        print(f"| {slope:g} | {camera.width}x{camera.height} | {found} |", flush=True)


if __name__ == "__main__":
    main()

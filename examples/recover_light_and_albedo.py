"""Recover the light of a scene and the albedo of its objects from one picture.

Light and albedo can only be told apart up to a common factor, so one object of known albedo is
in the picture. Estimated together: ambient light, direction and colour of a lamp, and the albedo of three
objects.

    python examples/recover_light_and_albedo.py
"""

from __future__ import annotations

import numpy as np
from common import demo_bracket, pinhole

from dr_perception.estimate.first_order import Block, lbfgs
from dr_perception.fitting.image_fit import ImageFit
from dr_perception.geometry.se3 import exp_so3, make_transform
from dr_perception.losses import L2, Objective, Term
from dr_perception.render import Instance, Lights, Material, Renderer, RenderOptions, Scene


def main(small: bool = False) -> dict[str, float]:
    """Run; ``small`` makes the images smaller."""
    scale = 1 if small else 2
    camera = pinhole(120 * scale, 90 * scale, 120.0 * scale)
    true_albedo = np.array([[0.5, 0.5, 0.5], [0.8, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.3, 0.9]])
    light = Lights(ambient=(0.20, 0.25, 0.30), directions=[[-0.5, -0.6, -0.6]], colors=[[0.8, 0.7, 0.5]])
    dark = Lights(ambient=(0.5, 0.5, 0.5), directions=[[0.4, 0.1, -0.9]], colors=[[0.3, 0.3, 0.3]])
    guess = np.array([[0.5, 0.5, 0.5]] * 4)

    renderer, options = Renderer(), RenderOptions(channels=("color",))
    truth = _scene(true_albedo, light)
    seen = renderer.render(truth, renderer.parameters(truth, camera), options).color
    names = ("albedo", "ambient", "light_directions", "light_colors")
    objective = Objective({"color": Term(L2(), "color", 1e3)})
    scene = _scene(guess, dark)
    first = renderer.parameters(scene, camera, requires_grad=names)
    fit = ImageFit(renderer, scene, first, objective, {"color": seen})
    known = np.array([[True], [False], [False], [False]])
    # a lamp on the wrong side fades out and leaves no derivative, so it starts from four sides
    runs = []
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        fit.parameters.light_directions.assign(np.array([[0.5 * x, 0.5 * y, -0.7]], np.float32))
        fit.parameters.light_colors.assign(np.array([[0.5, 0.5, 0.5]], np.float32))
        blocks = {
            "albedo": Block(guess, 0.2, np.where(known, guess, 0.0), np.where(known, guess, 1.0)),
            "ambient": Block(np.array([[0.3, 0.3, 0.3]]), 0.2, 0.0),
            "light_directions": fit.block("light_directions", 0.3),
            "light_colors": fit.block("light_colors", 0.2, 0.0),
        }
        runs.append(lbfgs(fit, blocks, iterations=200, value_tolerance=1e-12))
    values = min(runs, key=lambda run: run.value).values
    a, b = values["light_directions"][0], light.directions[0]
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return {
        "albedo error": float(np.abs(values["albedo"] - true_albedo).max()),
        "ambient error": float(np.abs(values["ambient"][0] - light.ambient).max()),
        "lamp colour error": float(np.abs(values["light_colors"] - light.colors).max()),
        "lamp direction deg": float(np.rad2deg(np.arccos(min(cosine, 1.0)))),
    }


def _scene(albedo: np.ndarray, lights: Lights) -> Scene:
    """Four objects side by side; the first is the one whose albedo is known."""
    model = demo_bracket()
    size = model.diameter_m
    places = [(-0.6, -0.4), (0.6, -0.4), (-0.6, 0.4), (0.6, 0.4)]
    turns = [(0.3, 0.5, 0.1), (2.0, 0.4, 0.2), (-1.0, 0.9, 0.4), (0.5, -1.8, 0.7)]
    poses = [
        make_transform(exp_so3(np.array(w)), np.array([x * size, y * size, 2.5 * size]))
        for (x, y), w in zip(places, turns, strict=True)
    ]
    items = [Instance(model.mesh, T, Material(albedo=row)) for T, row in zip(poses, albedo, strict=True)]
    return Scene(items, lights)


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.5f}")

"""Turns of curved surfaces: their outline moves along the normal, wherever the mesh has its edges."""

import numpy as np
import pytest
import warp as wp
from row_cases import NO_CUTOFF, POSE, contour_of, images_of, poses_at, structs, unpack

from dr_perception.device import evidence as ne
from dr_perception.geometry import Camera, transform_points
from dr_perception.measure.contour_lines import ContourLine
from dr_perception.measure.line_rows import LineNoise, accumulate_lines
from dr_perception.measure.modalities import MODALITIES, OUTLINE

CAMERA = Camera(160, 120, 150.0, 150.0, 80.3, 58.9)
R, t = POSE[:3, :3], POSE[:3, 3]
AXIS = R[:, 2]
RADIUS = 0.04


def rows(points, normals, outwards):
    """(H, directions) of outline points in the model's frame; directions are those of their images."""
    p = transform_points(POSE, points)
    scale = np.zeros((len(p), 2, 3))
    scale[:, 0, 0], scale[:, 1, 1] = CAMERA.fx / p[:, 2], CAMERA.fy / p[:, 2]
    scale[:, :, 2] = -np.array([CAMERA.fx, CAMERA.fy]) * p[:, :2] / p[:, 2:] ** 2
    image = np.einsum("nij,nj->ni", scale, outwards @ R.T)
    image /= np.linalg.norm(image, axis=1)[:, None]
    total = wp.zeros((1, len(MODALITIES), ne.NUM_SUMS), dtype=float, device="cpu")
    noise = LineNoise()
    noise.cutoff, noise.shared_px, noise.spacing_px = NO_CUTOFF, 1.0, 1.0
    contour = contour_of(CAMERA.fx, point=points, outward=outwards, normal=normals)
    lines = structs(ContourLine, center=CAMERA.project(p), normal=image, variance=np.ones(len(p)))
    inputs = [contour, lines, poses_at(POSE), images_of(CAMERA), noise, 1]
    wp.launch(accumulate_lines, (1, 1), inputs, [total], device="cpu")
    return unpack(total, OUTLINE)[0], np.einsum("nij,ni->nj", scale, image)


def outline_of_a_cylinder(beside_rad: float):
    """Points (N, 3) beside the outline of a cylinder about z, normals there, and directions out of it."""
    eye = -R.T @ t
    toward, away = np.arctan2(eye[1], eye[0]), np.hypot(eye[0], eye[1])
    angles = toward + np.array([1.0, -1.0]) * (np.arccos(RADIUS / away) + beside_rad)
    radial = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(2)])
    heights = np.linspace(-0.05, 0.05, 9)
    points = np.concatenate([RADIUS * radial + [0.0, 0.0, h] for h in heights])
    # What leaves the model in the image is at a right angle to the ray and to the side of the cylinder.
    p = transform_points(POSE, points)
    outward = np.cross(AXIS, p)
    outward *= np.sign(np.einsum("ni,ni->n", outward, np.tile(radial, (9, 1)) @ R.T))[:, None]
    return points, np.tile(radial, (9, 1)), (outward / np.linalg.norm(outward, axis=1)[:, None]) @ R


@pytest.mark.parametrize("beside", [-0.2, 0.15])
def test_the_outline_of_a_cylinder_does_not_show_its_spin(beside: float) -> None:
    points, normals, outwards = outline_of_a_cylinder(beside)
    smooth, _ = rows(points, normals, outwards)
    creased, _ = rows(points, np.zeros_like(normals), outwards)
    spin = np.concatenate([np.zeros(3), AXIS])
    scale = np.trace(smooth[3:, 3:])
    assert spin @ creased @ spin > 1e-3 * scale  # without normals the facets would seem to show it
    assert spin @ smooth @ spin < 1e-6 * scale
    np.testing.assert_allclose(smooth[:3, :3], creased[:3, :3], rtol=1e-5)


def test_the_arm_of_a_smooth_surface_turns_its_own_normal() -> None:
    points, normals, outwards = outline_of_a_cylinder(0.15)
    H, directions = rows(points[:1], normals[:1], outwards[:1])
    normal = R @ normals[0]
    turn = np.cross(R @ points[0], (directions[0] @ normal) * normal)
    # A point that is turned does not see the part of it along the direction.
    unit = directions[0] / np.linalg.norm(directions[0])
    J = np.concatenate([directions[0], turn - (turn @ unit) * unit])
    np.testing.assert_allclose(H, np.outer(J, J), rtol=2e-3, atol=1e-5 * np.abs(H).max())


def test_where_a_surface_faces_elsewhere_its_edge_is_what_turns() -> None:
    """A normal farther than 26 degrees from the direction of the row says nothing of the outline."""
    points, normals, outwards = outline_of_a_cylinder(0.6)
    H, directions = rows(points[:1], normals[:1], outwards[:1])
    J = np.concatenate([directions[0], np.cross(R @ points[0], directions[0])])
    np.testing.assert_allclose(H, np.outer(J, J), rtol=2e-3, atol=1e-5 * np.abs(H).max())

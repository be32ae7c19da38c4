"""What a view takes of a model whose faces on one side nobody ever saw."""

import numpy as np
import pytest
from render_cases import half_marked, torus
from view_cases import contour, make_view, surface

from dr_perception.geometry import Mesh, face_normals, make_transform

FACING = make_transform(np.eye(3), np.array([0.0, 0.0, 0.4]))[None]
"""The axis of a ring is that of the camera."""


def sorted_points(samples: np.ndarray) -> np.ndarray:
    points = np.asarray(samples["point"])
    return points[np.lexsort(points.T)]


@pytest.mark.parametrize("samples", [surface, contour])
def test_no_samples_on_marked_faces_and_the_others_stay(samples) -> None:  # type: ignore[no-untyped-def]
    mesh = torus()
    edge_m = float(
        np.linalg.norm(mesh.vertices[mesh.faces[:, 0]] - mesh.vertices[mesh.faces[:, 1]], axis=1).max()
    )
    points = {}
    for name, each in (("plain", mesh), ("marked", half_marked(mesh))):
        view, _ = make_view(each, FACING)
        view.render()
        points[name] = sorted_points(samples(view))
    assert (points["plain"][:, 0] > edge_m).any()
    assert not (points["marked"][:, 0] > edge_m).any()
    for name in points:
        points[name] = points[name][points[name][:, 0] < -edge_m]
    assert len(points["plain"]) > 10
    np.testing.assert_array_equal(points["marked"], points["plain"])


def test_neither_side_of_an_edge_between_seen_and_unseen_faces_is_an_outline() -> None:
    """Where the guess turns away the true surface may go on, whichever of the two faces is in view."""
    mesh = torus()
    to_eye = np.array([0.0, 0.0, -0.4]) - mesh.vertices[mesh.faces].mean(axis=1)
    front = np.einsum("ij,ij->i", face_normals(mesh), to_eye) > 0.0
    for unseen, expected in ((np.zeros_like(front), 150), (front, 0), (~front, 0)):
        view, _ = make_view(Mesh(mesh.vertices, mesh.faces, unseen_faces=unseen), FACING)
        view.render()
        assert (len(contour(view)) > 0) == (expected > 0)
        assert len(contour(view)) >= expected


def test_unseen_faces_hide_but_do_not_cover() -> None:
    """A guess before the known half: nothing is sampled, and nothing counts as covered by the model."""
    mesh = torus()
    far = Mesh(mesh.vertices, mesh.faces, unseen_faces=mesh.vertices[mesh.faces].mean(axis=1)[:, 2] < 0.0)
    view, _ = make_view(far, FACING)
    view.render()
    counts = view.pull_counts()[:, 0]
    assert counts[0] == 0 and counts[2] == 0
    view, _ = make_view(half_marked(mesh), FACING)
    view.render()
    half = view.pull_counts()[:, 0].copy()
    view, _ = make_view(mesh, FACING)
    view.render()
    whole = view.pull_counts()[:, 0]
    np.testing.assert_allclose(half[[0, 2]] / whole[[0, 2]], 0.5, atol=0.05)

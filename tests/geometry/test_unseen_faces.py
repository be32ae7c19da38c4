"""Marks of faces that nobody ever saw."""

import numpy as np
import pytest

from dr_perception.body.content import content_key
from dr_perception.geometry.mesh import Mesh, drop_degenerate_faces, weld

VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = np.array([[0, 0, 1], [0, 2, 1], [0, 1, 3], [1, 2, 3]])
MARKS = np.array([True, False, True, False])


def test_marks_are_bools_of_every_face_and_read_only() -> None:
    mesh = Mesh(VERTICES, FACES, unseen_faces=MARKS)
    assert mesh.unseen_faces is not None and not mesh.unseen_faces.flags.writeable
    with pytest.raises(ValueError, match=r"unseen_faces of mesh must have shape \(4,\), got \(3,\)"):
        Mesh(VERTICES, FACES, unseen_faces=MARKS[:3])
    with pytest.raises(TypeError, match="unseen_faces must be bool, got int64"):
        Mesh(VERTICES, FACES, unseen_faces=MARKS.astype(np.int64))


@pytest.mark.parametrize("change", [weld, drop_degenerate_faces])
def test_marks_stay_with_their_faces(change) -> None:  # type: ignore[no-untyped-def]
    changed = change(Mesh(VERTICES, FACES, unseen_faces=MARKS))
    np.testing.assert_array_equal(changed.unseen_faces, MARKS[1:])


def test_marks_change_the_content_key() -> None:
    keys = {content_key(Mesh(VERTICES, FACES, unseen_faces=m), (), ()) for m in (None, MARKS, ~MARKS)}
    assert len(keys) == 3

"""Objects that are alike: which names stand for the same thing, and which pose is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dr_perception.geometry.frame import Frame
from dr_perception.geometry.model import ObjectModel
from dr_perception.hypothesis.instances import is_other_instance
from dr_perception.hypothesis.region import Where
from dr_perception.hypothesis.result import PoseEstimate
from dr_perception.hypothesis.search import search_poses
from dr_perception.hypothesis.search_config import SearchConfig

Pose = NDArray[np.float64]


class Namesakes:
    """Groups the names of a tracker by what they look like."""

    def __init__(self, models: Mapping[str, ObjectModel]) -> None:
        """Compare all models."""
        self._others: dict[str, tuple[str, ...]] = {
            name: tuple(n for n, m in models.items() if n != name and _are_alike(m, model))
            for name, model in models.items()
        }

    def of(self, name: str) -> tuple[str, ...]:
        """Other names whose models are the same as a name's."""
        return self._others[name]

    def groups(self, names: Iterable[str]) -> list[list[str]]:
        """Names that look alike together, in the order given."""
        groups: list[list[str]] = []
        for name in names:
            kin = self._others[name]
            group = next((g for g in groups if g[0] in kin), None)
            if group is None:
                groups.append([name])
            else:
                group.append(name)
        return groups


def others_than(
    model: ObjectModel, found: Sequence[PoseEstimate], taken: Sequence[Pose]
) -> list[PoseEstimate]:
    """Poses of a model that are of other things than those at poses (4, 4) that are taken."""
    return [f for f in found if all(is_other_instance(model, f.T_cam_obj, T) for T in taken)]


def find_together(
    model: ObjectModel,
    names: Sequence[str],
    frame: Frame,
    taken: Sequence[Pose],
    config: SearchConfig,
    device: str,
    mask: NDArray[np.bool_] | None = None,
) -> dict[str, PoseEstimate]:
    """Search for several objects of one model at once, so that each gets an instance of its own.

    Args:
        model: What they look like.
        names: Who is looked for; the most probable instance goes to the first.
        frame: Where.
        taken: Poses (4, 4) of instances that are somebody else's.
        config: Settings.
        device: Warp device.
        mask: Pixels that show them (H, W).

    Returns:
        Poses by name; without those for whom nothing was left.
    """
    if not names:
        return {}
    count = len(names) + len(taken)
    found = search_poses(model, frame, Where(mask=mask), count, config, device)
    return dict(zip(names, others_than(model, found, taken), strict=False))


def _are_alike(a: ObjectModel, b: ObjectModel) -> bool:
    if a.mesh is b.mesh:
        return True
    same = (a.mesh.vertices, b.mesh.vertices), (a.mesh.faces, b.mesh.faces)
    if not all(x.shape == y.shape and np.array_equal(x, y) for x, y in same):
        return False
    looks = (
        (a.mesh.unseen_faces, b.mesh.unseen_faces),
        (a.mesh.vertex_colors, b.mesh.vertex_colors),
        (a.mesh.texture, b.mesh.texture),
        (a.mesh.corner_uv, b.mesh.corner_uv),
    )
    return all(_equal(x, y) for x, y in looks)


def _equal(x: NDArray[np.generic] | None, y: NDArray[np.generic] | None) -> bool:
    if x is None or y is None:
        return x is y
    return x.shape == y.shape and bool(np.array_equal(x, y))

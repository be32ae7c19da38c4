"""Between records and the result format of the BOP Challenge, which numbers objects and images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dr_perception.data.bop_results import BopResult, read_bop_results
from dr_perception.data.source import FrameSource
from dr_perception.evaluation.records import PoseRecord, read_records
from dr_perception.geometry.model import ObjectModel

__all__ = ["from_bop_results", "read_poses", "to_bop_results"]


def to_bop_results(
    records: Iterable[PoseRecord],
    stamps_ns: Sequence[int],
    source: FrameSource,
    models: Mapping[str, ObjectModel],
    seconds: Mapping[int, float] | None = None,
) -> Iterator[BopResult]:
    """Records as BOP results.

    Args:
        records: The records; those of no frame of the sequence are left out.
        stamps_ns: Stamp of every frame of the source [ns].
        source: Names the scene, the images and the objects.
        models: Models by instance name, for the numbers of objects that the source does not know.
        seconds: Time of the tracker by stamp [s]; -1 is written where it is not known.
    """
    image_ids = dict(zip(stamps_ns, source.image_ids, strict=True))
    for r in records:
        if r.stamp_ns in image_ids:
            number = source.object_ids.get(r.name, models[r.name].object_id)
            time_s = -1.0 if seconds is None else seconds.get(r.stamp_ns, -1.0)
            yield BopResult(source.scene_id, image_ids[r.stamp_ns], number, r.score, r.T_cam_obj, time_s)


def from_bop_results(
    results: Iterable[BopResult], stamps_ns: Sequence[int], source: FrameSource
) -> list[PoseRecord]:
    """BOP results of the scene of a source as records without covariance.

    Several estimates of one object number in an image belong to its instances in the order of their names in
    the source; further ones are left out.

    Raises:
        ValueError: No estimate is of this scene, or an image or object is not in the source.
    """
    stamps = dict(zip(source.image_ids, stamps_ns, strict=True))
    names: dict[int, list[str]] = {}
    for name, number in source.object_ids.items():
        names.setdefault(number, []).append(name)
    records: list[PoseRecord] = []
    seen: dict[tuple[int, int], int] = {}
    for result in results:
        if result.scene_id != source.scene_id:
            continue
        key = (result.image_id, result.object_id)
        if result.image_id not in stamps or result.object_id not in names:
            raise ValueError(f"'{source.name}' has no image {key[0]} with an object {key[1]}")
        rank = seen[key] = seen.get(key, -1) + 1
        if rank < len(names[result.object_id]):
            name = names[result.object_id][rank]
            records.append(PoseRecord(stamps[result.image_id], name, result.T_cam_obj, score=result.score))
    if not records:
        raise ValueError(f"no estimate is of scene {source.scene_id} ('{source.name}')")
    return records


def read_poses(path: str | Path, stamps_ns: Sequence[int], source: FrameSource) -> list[PoseRecord]:
    """Read ``trajectory.csv`` or BOP ``poses.csv``, whichever the file is.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is neither, or a line cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"pose file {path} does not exist")
    with path.open(encoding="utf-8") as file:
        header = file.readline()
    if header.startswith("stamp_ns,"):
        return read_records(path)
    return from_bop_results(read_bop_results(path), stamps_ns, source)

"""One typed configuration tree for the node, the command line and the Python API.

The groups have the same names everywhere: attribute path here, nesting in a YAML file, dotted key of
``dr-perception replay --set``, dotted ROS parameter. Values in a file override the defaults below, and
explicit overrides win over the file. A key that does not exist is an error that names the key, where it
stands and what was probably meant.

Every fact has one place: ``sensor`` and ``body`` hold for the tracker, the search and the fit, and ``search``
for the tracker and the fit, which are handed them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from dr_perception.hypothesis.config import SHARED, BodyConfig, handed_down
from dr_perception.hypothesis.search_config import FitConfig, SearchConfig
from dr_perception.measure.config import SensorConfig, Settings
from dr_perception.tracking.config import TrackerConfig

__all__ = [
    "USED_BY",
    "CameraConfig",
    "Config",
    "InitConfig",
    "ModelsConfig",
    "NodeConfig",
    "is_used",
    "leaves",
    "load_config",
    "parse_assignment",
    "require_used",
]

ROS_PARAMETERS = "ros__parameters"

USED_BY = {
    "tracker_node": ("sensor", "body", "search", "tracker", "camera", "models", "init.poses", "node"),
    "replay": ("sensor", "body", "search", "tracker", "camera", "models.names", "models.unit", "init.method"),
    "track": ("sensor", "body", "search", "tracker", "camera", "models.names", "models.unit"),
    "fit": ("sensor", "body", "search", "fit", "camera"),
    "prepare": ("body.mesh_error",),
}
"""Settings and groups that the programs use; a file may hold those of several, an override may not."""


class CameraConfig(Settings):
    """How images become measurements."""

    depth_scale_m: float = Field(0.001, gt=0.0, description="Metres per unit of an integer depth image.")


class ModelsConfig(Settings):
    """Which CAD models are tracked."""

    directory: str = Field("", description="Folder of meshes, or BOP model folder with models_info.json.")
    names: tuple[str, ...] = Field((), description="Objects to track; empty means all in the folder.")
    unit: Literal["", "m", "mm", "cm", "inch"] = Field(
        "", description="Unit of the meshes; empty: stated by the folder."
    )


class InitConfig(Settings):
    """How the first pose is found."""

    method: Literal["ground-truth", "search"] = Field(
        "ground-truth", description="First frame from recorded ground truth, or a search of the image."
    )
    poses: dict[str, tuple[float, ...]] = Field(
        default_factory=dict,
        description="Node: T_cam_obj at the start by object: x y z [m] and quaternion x y z w, or the 16 "
        "numbers of the matrix by rows.",
    )


class NodeConfig(Settings):
    """The ROS 2 node: transport, synchronisation and what is published."""

    compressed_color: bool = Field(False, description="Subscribe to sensor_msgs/CompressedImage colour.")
    compressed_depth: bool = Field(False, description="Subscribe to compressedDepth images.")
    process_every_frame: bool = Field(
        False, description="Reliable deep queue, no frame skipped; otherwise the newest frame wins."
    )
    queue_depth: int = Field(10, ge=1, le=10_000, description="Messages kept per topic for matching.")
    sync_tolerance_ms: float = Field(5.0, ge=0.0, description="Largest stamp difference of one frame [ms].")
    camera_frame: str = Field("", description="TF parent of the objects; empty: frame_id of the image.")
    publish_tf: bool = Field(True, description="Broadcast camera -> object transforms.")
    publish_markers: bool = Field(True, description="Publish the models as visualization markers.")
    diagnostics_period_s: float = Field(
        1.0, ge=0.0, description="Time between diagnostics while nothing changes [s]; 0: with every frame."
    )
    auto_start: bool = Field(True, description="Start on the first frame instead of waiting for ~/start.")


class Config(Settings):
    """The whole configuration; ``Config()`` works with no file at all.

    ``tracker``, ``search`` and ``fit`` hold the shared groups too, so that each can be handed on alone.
    """

    sensor: SensorConfig = Field(default_factory=SensorConfig)
    body: BodyConfig = Field(default_factory=BodyConfig)
    search: SearchConfig = Field(default_factory=SearchConfig)
    fit: FitConfig = Field(default_factory=FitConfig)
    tracker: TrackerConfig = Field(default_factory=TrackerConfig)
    camera: CameraConfig = Field(default_factory=CameraConfig)
    models: ModelsConfig = Field(default_factory=ModelsConfig)
    init: InitConfig = Field(default_factory=InitConfig)
    node: NodeConfig = Field(default_factory=NodeConfig)

    @model_validator(mode="after")
    def _share(self) -> Self:
        """Hand what is shared down to those that use it."""
        object.__setattr__(self, "search", handed_down(self.search, self))
        for name in ("tracker", "fit"):
            job = handed_down(getattr(self, name), self, (*SHARED, "search"))
            object.__setattr__(self, name, job)
        return self


def leaves(group: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Settings of a tree as (dotted name, value, description), each at its one place; mappings are opened."""
    for name, field in type(group).model_fields.items():
        if field.exclude:
            continue
        value, path = getattr(group, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{path}.")
        elif isinstance(value, Mapping):
            for key, item in value.items():
                yield f"{path}.{key}", item, field.description or ""
        else:
            yield path, value, field.description or ""


def is_used(key: str, program: str) -> bool:
    """Whether a program of `USED_BY` uses a setting, named by its dotted key."""
    return any(key == name or key.startswith(f"{name}.") for name in USED_BY[program])


def require_used(overrides: Mapping[str, Any], program: str) -> None:
    """Check that a program of `USED_BY` uses everything that was set for it by hand.

    Raises:
        ValueError: It would ignore a setting.
    """
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            require_used({f"{key}.{name}": item for name, item in value.items()}, program)
        elif not is_used(key, program):
            raise ValueError(
                f"{program} does not use the setting '{key}'; it uses {', '.join(USED_BY[program])}"
            )


def load_config(
    path: str | Path | None = None,
    overrides: Mapping[str, Any] | Iterable[str] | None = None,
) -> Config:
    """Build the configuration from defaults, a YAML file and overrides, in this order.

    Args:
        path: YAML file, either the bare tree or its ROS form (``/**: ros__parameters: ...``); None for
            defaults.
        overrides: Dotted keys with values, ``{"sensor.depth.sigma_m": 0.002}``, or assignments as they are
            typed on a command line, ``["sensor.depth.sigma_m=0.002"]``.

    Returns:
        The validated, immutable tree.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a YAML mapping, a key is unknown or a value is not acceptable; the message
            names the key, its place and, for a misspelt key, the closest known ones.
    """
    tree = {} if path is None else _read_yaml(Path(path))
    source = "the defaults" if path is None else str(path)
    if overrides is not None:
        items = overrides.items() if isinstance(overrides, Mapping) else map(parse_assignment, overrides)
        for key, value in items:
            _assign(tree, key, value)
        source += " with overrides"
    _refuse_copies(tree)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ValueError(_explain(error, source)) from error


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``"group.key=value"``; the value is read as YAML (numbers, booleans, lists, strings).

    Raises:
        ValueError: There is no ``=`` or no key before it, or the value is not YAML.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ValueError(f"expected an assignment group.key=value, got {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"the value of {text!r} is not YAML: {error}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"configuration file {path} does not exist")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"configuration file {path} is not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ValueError(f"configuration file {path} must hold a mapping, got {type(tree).__name__}")
    return _without_ros_wrapper(tree, path)


def _without_ros_wrapper(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """Strip ``NODE: ros__parameters:`` of a ROS parameter file; a bare tree passes unchanged."""
    wrapped = [name for name, value in tree.items() if isinstance(value, dict) and ROS_PARAMETERS in value]
    if not wrapped:
        return tree
    if len(tree) > 1 or len(tree[wrapped[0]]) > 1:
        extra = [str(k) for k in tree if k != wrapped[0]] or [str(k) for k in tree[wrapped[0]]]
        raise ValueError(
            f"{path}: expected one '{wrapped[0]}: {ROS_PARAMETERS}:' section, also found {extra}"
        )
    parameters = tree[wrapped[0]][ROS_PARAMETERS]
    if not isinstance(parameters, dict):
        raise ValueError(f"{path}: {ROS_PARAMETERS} must hold a mapping, got {type(parameters).__name__}")
    nested: dict[str, Any] = {}
    for key, value in parameters.items():
        if str(key) != "use_sim_time":  # belongs to every ROS node, not to this tree
            _assign(nested, str(key), value)
    return nested


def _assign(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set ``tree[a][b][c]`` for ``"a.b.c"`` and create the groups on the way."""
    *groups, leaf = dotted.split(".")
    for depth, group in enumerate(groups):
        child = tree.setdefault(group, {})
        if not isinstance(child, dict):
            raise ValueError(f"'{'.'.join(groups[: depth + 1])}' is a value, so '{dotted}' cannot be set")
        tree = child
    tree[leaf] = value


def _refuse_copies(tree: Mapping[str, Any]) -> None:
    """Check that no job's group brings its own copy of what all jobs share."""
    for name, group in tree.items():
        if name not in Config.model_fields or not isinstance(group, Mapping):
            continue
        fields = _group_at([name]).model_fields
        for key in group:
            if key in fields and fields[key].exclude:
                raise ValueError(f"'{name}.{key}' stands at the top level, once for all: use '{key}'")


def _explain(error: ValidationError, source: str) -> str:
    return f"configuration from {source}: " + "; ".join(
        _unknown_key(e["loc"]) if e["type"] == "extra_forbidden" else _bad_value(e) for e in error.errors()
    )


def _bad_value(detail: Any) -> str:
    place = ".".join(map(str, detail["loc"])) or "the top level"
    return f"'{place}' = {detail.get('input')!r}: {detail['msg']}"


def _unknown_key(location: tuple[int | str, ...]) -> str:
    *groups, key = map(str, location)
    known = sorted(name for name, field in _group_at(groups).model_fields.items() if not field.exclude)
    place = f"group '{'.'.join(groups)}'" if groups else "the top level"
    close = difflib.get_close_matches(key, known, n=3, cutoff=0.65)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known there: {', '.join(known)}"
    return f"unknown key '{key}' in {place}; {hint}"


def _group_at(groups: list[str]) -> type[BaseModel]:
    """The class of the group at a path; discriminator segments of unions are skipped."""
    model: type[BaseModel] = Config
    for group in groups:
        if group not in model.model_fields:
            continue
        annotation = model.model_fields[group].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model

"""Imports point one way through the rooms, and heavy libraries are imported where they are used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dr_perception"
CORE = (
    "geometry",
    "device",
    "body",
    "raster",
    "view",
    "render/shading",
    "render/scene",
    "render/maps",
    "render/outline",
    "render/adjoint",
    "render",
    "rays",
    "losses",
    "measure",
    "estimate",
    "hypothesis",
    "fitting",
    "tracking",
)
"""Rooms from the ground up; one may import those before it, less what `BESIDE` says.

``a/b`` is a room within a room; ``a`` then stands for the files beside such rooms.
"""
RENDERER = {room for room in CORE if room.split("/")[0] == "render"}
BESIDE = {
    **{room: {"view"} for room in RENDERER},
    "rays": {"view", "render", "render/maps", "render/outline", "render/adjoint"},
    "losses": {"view", "rays"},
    "measure": {"losses", "rays", *RENDERER},
    "estimate": set(CORE) - {"geometry", "device"},
    "hypothesis": {"losses", "rays", *RENDERER},
    "tracking": {"losses", "rays", *RENDERER},
}
"""Rooms that stand in one row, or are nobody's business, by who may not import them."""
MAY_IMPORT = {
    **{room: set(CORE[:i]) - BESIDE.get(room, set()) for i, room in enumerate(CORE)},
    "config": set(CORE),
    "data": set(CORE),
    "viz": set(CORE),
    "evaluation": {*CORE, "config", "data", "viz"},
    "ros": {*CORE, "config", "data", "viz", "evaluation"},
    "doctor": {*CORE, "config", "data", "viz", "evaluation", "ros", "dr_perception"},
    "cli": {*CORE, "config", "data", "viz", "evaluation", "ros", "doctor", "dr_perception"},
    "dr_perception": {*CORE, "config", "data"},
}
"""Rooms by name; ``dr_perception`` is the facade, ``__init__.py``. docs/architecture.md draws it."""

HEAVY = {"open3d", "matplotlib", "rosbags", "cv2", "torch", "rclpy", "rerun", "PIL", "jinja2"}
ROS = {
    "rclpy",
    "sensor_msgs",
    "geometry_msgs",
    "diagnostic_msgs",
    "visualization_msgs",
    "tf2_msgs",
    "std_srvs",
    "std_msgs",
}


def room_of(path: Path) -> str:
    """Room that a file belongs to."""
    folder = path.relative_to(PACKAGE).parent.as_posix()
    if folder != ".":
        return folder
    return "dr_perception" if path.stem == "__init__" else path.stem


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST, inside_functions: bool = True) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported at run time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            if node.module == "dr_perception":
                yield from ((node.lineno, f"dr_perception.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, str(node.module)
        elif _is_type_checking(node) or (
            not inside_functions and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        ):
            continue
        else:
            yield from imports(node, inside_functions)


def target_room(name: str) -> str | None:
    """Room of an imported name, None if it is not of this package."""
    package, *parts = name.split(".")
    if package != "dr_perception":
        return None
    rooms = ("/".join(parts[:2]), *parts[:1], "dr_perception")
    return next(room for room in rooms if room in MAY_IMPORT)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_imports_point_one_way(room: str) -> None:
    assert room in MAY_IMPORT, f"the room {room!r} is new: say in this table what it may import"
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {room} may not import {name}"
        for path in FILES
        if room_of(path) == room
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if (target := target_room(name)) is not None and target != room and target not in MAY_IMPORT[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_circle() -> None:
    done: set[str] = set()
    while rest := {room for room in MAY_IMPORT if room not in done}:
        free = {room for room in rest if MAY_IMPORT[room] <= done}
        assert free, f"these rooms may import each other in a circle: {sorted(rest)}"
        done |= free


def test_only_the_ros_room_knows_ros() -> None:
    wrong = [
        f"{path.name}:{line}: {name}"
        for path in FILES
        if room_of(path) not in ("ros", "doctor")
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] in ROS
    ]
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_are_imported_inside_functions() -> None:
    """So that `import dr_perception` and `dr-perception --help` stay fast; ROS code needs rclpy anyway."""
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {name}"
        for path in FILES
        if room_of(path) != "ros"
        for line, name in imports(ast.parse(path.read_text(encoding="utf-8")), inside_functions=False)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import dr_perception.ros.node", ["dr_perception.ros.node"]),
        ("from dr_perception import cli", ["dr_perception.cli"]),
        ("def f():\n    from dr_perception.data.bop import BopScene", ["dr_perception.data.bop"]),
        ("if TYPE_CHECKING:\n    from dr_perception.data.bop import BopScene", []),
    ],
)
def test_the_reader_of_imports_sees_them(source: str, names: list[str]) -> None:
    assert [name for _, name in imports(ast.parse(source))] == names


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("numpy.linalg", None),
        ("dr_perception.load_model", "dr_perception"),
        ("dr_perception.config", "config"),
        ("dr_perception.geometry.mesh", "geometry"),
        ("dr_perception.render", "render"),
        ("dr_perception.render.pipeline", "render"),
        ("dr_perception.render.scene", "render/scene"),
        ("dr_perception.render.scene.topology", "render/scene"),
    ],
)
def test_a_name_belongs_to_the_innermost_room(name: str, room: str | None) -> None:
    assert target_room(name) == room


MUTABLE = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "bytearray"}
MUTABLE |= {"WeakKeyDictionary", "WeakValueDictionary", "WeakSet"}


def _is_mutable(value: ast.expr) -> bool:
    """Whether an expression makes an empty container: one that is to be filled."""
    if isinstance(value, ast.Call):
        made = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return made in MUTABLE and not value.args
    return isinstance(value, ast.Dict | ast.List | ast.Set) and not ast.unparse(value)[1:-1]


@pytest.mark.parametrize("room", CORE)
def test_no_module_holds_state(room: str) -> None:
    """State belongs to objects: of what a module holds, threads would see what others do with it."""
    found = []
    for path in sorted(path for path in FILES if room_of(path) == room):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                if _is_mutable(node.value):
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
        writes = [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
        found += [f"{path.name}:{node.lineno}: {ast.unparse(node)}" for node in writes]
    assert not found, found


MOST_ARGUMENTS = 8
MOST_LINES = {"function": 80, "file": 500}
LARGE = {
    "cli.py": {"replay", "fit"},
    "rays/edges.py": {"weigh_edges", "sample_edges", "weigh_jumps", "boundary_motion"},
    "rays/shading.py": {"integrate_samples"},
    "render/scene/parameters.py": {"make_parameters"},
    "render/scene/vertex_stage.py": {"compose_poses"},
}
"""Functions that exceed these limits still; everywhere else what recurs is a `wp.struct` or a dataclass."""


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of what a caller may hand to a function, without the object or class that it belongs to."""
    a = function.args
    names = [one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def too_much(source: str) -> list[str]:
    """What exceeds the limits in a file, each with its line."""
    found = [] if source.count("\n") < MOST_LINES["file"] else [f"1: {source.count(chr(10))} lines"]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if len(arguments(node)) > MOST_ARGUMENTS:
                found.append(f"{node.lineno}: {node.name} takes {len(arguments(node))} arguments")
            if lines > MOST_LINES["function"]:
                found.append(f"{node.lineno}: {node.name} has {lines} lines")
    return found


def too_large(path: Path) -> dict[str, str]:
    """What exceeds the limits in a file, by name of the function or of the file."""
    found = too_much(path.read_text(encoding="utf-8"))
    return {what.split(" ")[1]: f"{path.relative_to(PACKAGE.parent)}:{what}" for what in found}


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_functions_and_files_are_short_and_take_few_arguments(room: str) -> None:
    found = [
        what
        for path in FILES
        if room_of(path) == room
        for name, what in too_large(path).items()
        if name not in LARGE.get(path.relative_to(PACKAGE).as_posix(), set())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", sorted(LARGE))
def test_the_list_of_large_functions_shrinks(file: str) -> None:
    fine = LARGE[file] - set(too_large(PACKAGE / file))
    assert not fine, f"no longer too large, take it off the list: {fine}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def f(a, b, c, d, e, f, g, h): pass", 0),
        ("def f(a, b, c, d, e, f, g, h, i): pass", 1),
        ("def f(a, b, c, d, /, e, f, *args, g, h, i): pass", 1),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h, *args, **kwargs): pass", 0),
        ("class A:\n    @classmethod\n    def f(cls, a, b, c, d, e, f, g, h, i): pass", 1),
        ("class A:\n    async def f(self, *, a, b, c, d, e, f, g, h, i): pass", 1),
        ("def f():\n" + "    pass\n" * 79, 0),
        ("def f():\n" + "    pass\n" * 80, 1),
        ("x = 1\n" * 499, 0),
        ("x = 1\n" * 500, 1),
    ],
)
def test_what_is_too_much_is_seen(source: str, count: int) -> None:
    assert len(too_much(source)) == count

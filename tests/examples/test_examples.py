"""The examples run small and reach what they promise."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def examples_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import examples the way a user runs them, from their own folder."""
    if not (EXAMPLES.parent / "models" / "demo" / "models" / "obj_000002.ply").is_file():
        pytest.skip("the demo's models are not there")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in ("common", *(path.stem for path in EXAMPLES.glob("*.py"))):
        sys.modules.pop(name, None)


def _run(name: str) -> dict[str, float]:
    return importlib.import_module(name).main(small=True)


def test_pose_from_silhouette() -> None:
    """From 20 degrees and 15 % of the diameter away to below half a millimetre and half a degree."""
    found = _run("fit_pose_from_silhouette")
    assert found["start rotation deg"] > 19 and found["start translation mm"] > 15
    assert found["translation mm"] < 0.5 and found["rotation deg"] < 0.5


def test_light_and_albedo() -> None:
    found = _run("recover_light_and_albedo")
    assert found["albedo error"] < 0.01 and found["ambient error"] < 0.01
    assert found["lamp colour error"] < 0.01 and found["lamp direction deg"] < 0.5


def test_camera_calibration() -> None:
    """The mapping from rays to pixels comes back, at a tenth of its first error."""
    found = _run("calibrate_camera")
    assert found["reprojection px"] < 0.1 * found["start px"]
    assert found["focal error %"] < 1.0


def test_self_calibration() -> None:
    """One lens and eight cameras at once, with one sample a pixel; what is open is named."""
    found = _run("self_calibration")
    assert found["focal error %"] < 0.5 and found["k1 error %"] < 2.0
    assert found["camera position mm"] < 1.0 and found["camera position mm, start"] > 3.0
    assert found["open directions"] >= 2


def test_two_link_arm() -> None:
    """From 17 degrees and 2 cm off, in one noisy picture."""
    found = _run("two_link_arm")
    assert found["start deg"] > 15.0
    assert found["joints deg"] < 0.1 and found["base mm"] < 0.1 and found["base deg"] < 0.1


def test_camera_trajectory() -> None:
    """From nine small pictures, a centimetre and two degrees off."""
    found = _run("camera_trajectory")
    assert found["start mm"] > 8.0 and found["start deg"] > 2.0
    assert found["camera mm"] < 0.2 and found["camera deg"] < 0.04


def test_skinned_finger() -> None:
    found = _run("skinned_finger")
    assert found["start surface mm"] > 50.0
    assert found["joints deg"] < 0.1 and found["surface mm"] < 0.1


def test_bent_part() -> None:
    """100 mm, bent by 60 degrees: 0.3 mm in the mean, and no vertex is far off."""
    found = _run("bent_part")
    assert found["start Chamfer mm"] > 2.0
    assert found["Chamfer mm"] < 0.3 and found["farthest mm"] < 1.5


def test_vertices() -> None:
    """The surface comes within a tenth of its first distance; no face turns over, no edge collapses."""
    found = _run("fit_vertices")
    assert found["mean mm"] < 0.2 * found["start mean mm"]
    assert found["faces turned over"] == 0
    assert found["smallest edge over largest start edge"] > 0.01


@pytest.mark.frameworks
def test_adversarial_looks() -> None:
    """A discriminator alone tells the generator the colour and where the parts lie, 14 mm off."""
    pytest.importorskip("torch")
    found = _run("adversarial_looks")
    assert found["start colour"] > 0.25 and found["start mm"] > 12.0
    assert found["colour"] < 0.1 and found["mm"] < 5.0

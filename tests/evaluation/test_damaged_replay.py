"""A recording that ends in damaged data still yields the poses of its intact frames."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner

from dr_perception.cli import cli

DEMO = Path(__file__).parents[2] / "models" / "demo"


def test_poses_before_the_damage_are_written_and_the_file_is_named(tmp_path: Path) -> None:
    bag = tmp_path / "cut"
    shutil.copytree(DEMO / "tabletop", bag)
    (recording,) = bag.glob("*.mcap")
    whole = recording.read_bytes()
    recording.write_bytes(whole[: len(whole) // 4])
    out = tmp_path / "out"
    arguments = ["replay", str(bag), "--models", str(DEMO / "models"), "--out", str(out)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code != 0
    assert recording.name in result.output or bag.name in result.output
    rows = (out / "poses.csv").read_text().splitlines()
    assert len(rows) > 3 * 5, "every intact frame after the first gives a row for each of three objects"

"""`dr-perception prepare`: what it makes is found by whoever looks for it, and made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dr_perception.body.prepared import body_arrays
from dr_perception.body.store import Store
from dr_perception.cli import cli
from dr_perception.data.models import load_models
from dr_perception.hypothesis.prepare import prepare_model

MODELS = Path(__file__).parents[2] / "models" / "demo" / "models"


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["prepare", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_models_are_prepared_once(tmp_path: Path) -> None:
    models = load_models(MODELS)
    file = next(iter(sorted(MODELS.glob("obj_*.ply"))))
    first = run(file, "--cache", tmp_path / "cache")
    assert "made body" in first and "pairs" in first and str(tmp_path / "cache") in first
    kept = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    assert "all was there" in run(file, "--cache", tmp_path / "cache")
    assert {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == kept
    stored = [model for model in models.values() if first.startswith(f"{model.name}:")]
    store = Store(tmp_path / "cache")
    prepare_model(stored[0], 1e-3, store)
    assert not store.made
    body_arrays(stored[0], 2e-3, store)
    assert store.made == ["body"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such.ply"], "no/such.ply"),
        (["--set", "body.floor_m=1"], "body.floor_m"),
        (["--cache", "{file}"], "{file}"),
    ],
)
def test_mistakes_meet_one_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    blocked = tmp_path / "taken"
    blocked.write_text("")
    model = next(iter(sorted(MODELS.glob("obj_*.ply"))))
    given = [a.format(file=blocked) for a in arguments]
    output = run(*given, *([] if given[0].endswith(".ply") else [model]), code=2)
    assert output.startswith("dr-perception: ") and len(output.splitlines()) == 1
    assert words.format(file=blocked) in output


def test_a_switched_off_cache_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_PERCEPTION_CACHE", "off")
    assert "--cache" in run(next(iter(MODELS.glob("obj_*.ply"))), code=2)

"""What README.md and docs/ tell people to type works: Python runs, commands, files and links exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LARGEST_PICTURE_BYTES = 300_000
PICTURES = {".svg", ".webp", ".png", ".jpg", ".gif"}


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command in the shell blocks of a page, without comments."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def targets() -> set[str]:
    """Targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def check_cli(words: list[str]) -> None:
    """Fail unless click can parse the words after ``dr-perception``."""
    from dr_perception.cli import cli

    assert words and words[0] in cli.commands, f"{words} is none of the commands {sorted(cli.commands)}"
    cli.commands[words[0]].make_context(words[0], list(words[1:]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that looks like the repository and can be written to."""
    for name in ("models", "config", "benchmarks", "examples", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_snippets(page: Path) -> dict[str, Any]:
    """Run all Python blocks of a page one after the other; returns the names they leave."""
    names: dict[str, Any] = {"__name__": page.stem}
    for number, snippet in enumerate(blocks(page, "python")):
        run_snippet(snippet, names, f"{page.stem}_{number}")
    return names


def run_snippet(snippet: str, names: dict[str, Any], file: str) -> None:
    """Run code as from a file in the working folder, where Warp finds the source of its kernels."""
    path = Path(file + ".py").absolute()
    path.write_text(snippet, encoding="utf-8")
    exec(compile(snippet, path, "exec"), names)


def test_the_snippets_of_the_readme_track_and_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run_snippets(ROOT / "README.md")
    assert "TRACKING" in capsys.readouterr().out
    mug, fit, sequence = names["mug"], names["fit"], names["sequence"]
    truth = sequence.ground_truth(len(sequence) - 1)["mug"]
    assert np.linalg.norm(mug.T_cam_obj[:3, 3] - truth[:3, 3]) < 0.003
    assert np.linalg.norm(fit.T_cam_obj[:3, 3] - sequence.ground_truth(0)["mug"][:3, 3]) < 0.003


def test_the_snippet_of_the_tracking_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run_snippets(ROOT / "docs" / "tracking.md")
    assert set(names["result"].objects) == {"bracket", "mug", "textured_box"}
    assert "mug tracking" in capsys.readouterr().out


def test_the_tasks_of_the_renderer_run(folder: Path) -> None:
    names = run_snippets(ROOT / "docs" / "renderer_tasks.md")
    assert np.abs(names["T_mask"] - names["T_true"]).max() < 1e-4
    np.testing.assert_allclose(names["lens"][:5], [150.0, 149.0, 59.0, 45.0, -0.2], atol=1e-3)
    np.testing.assert_allclose(names["recovered"], names["true_texels"], atol=1e-3)
    assert names["how_bent"] == pytest.approx(5.0, abs=1e-3)
    assert names["decoded"].value < 0.05 * names["first_miss"]  # several numbers look nearly alike
    assert names["shadowed"].shape == (1, 90, 120)
    assert names["area_slope"][0, 0, 2] < 0.0  # farther away, less of it is seen


@pytest.mark.frameworks
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_tasks_with_other_frameworks_run(folder: Path, framework: str) -> None:
    pytest.importorskip(framework)
    page = ROOT / "docs" / "renderer_tasks.md"
    names: dict[str, Any] = {"__name__": page.stem}
    run_snippet(blocks(page, "python")[0], names, "first")
    for number, snippet in enumerate(blocks(page, f"python {framework}")):
        run_snippet(snippet, names, f"{framework}_{number}")
    if framework == "torch":
        assert names["pictures"]["color"].grad_fn is not None
        assert names["code"].abs().max() > 0.0
    else:
        assert np.isfinite(names["slope"]).all() and np.abs(names["slope"]).max() > 0.0


def test_the_graph_of_the_architecture_runs(folder: Path) -> None:
    names = run_snippets(ROOT / "docs" / "architecture.md")
    assert names["solution"].converged
    assert abs(names["solution"].values.vector("elbow")[0]) < 1e-3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path, folder: Path) -> None:
    for words in commands(page):
        if words[0] == "make":
            assert set(words[1:]) <= targets(), f"{words}: the Makefile has {sorted(targets())}"
        elif words[0] == "dr-perception":
            check_cli(words[1:])
        elif words[0].endswith("python") and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), f"{words[1]} does not exist"
        elif words[:2] == ["ros2", "launch"]:
            assert (ROOT / "launch" / words[3]).is_file()
            launch = (ROOT / "launch" / words[3]).read_text(encoding="utf-8")
            for argument in words[4:]:
                assert f'"{argument.split(":=")[0]}": (' in launch, (
                    f"{argument} is no argument of the launch file"
                )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


def test_every_page_is_on_the_map() -> None:
    listed = set(re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= listed


def test_pictures_are_small_and_shown() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        if picture.suffix in PICTURES:
            assert picture.stat().st_size <= LARGEST_PICTURE_BYTES, f"{picture.name} is too large for a page"
            assert picture.name in shown, f"no page shows {picture.name}"


def test_figures_are_marked_once_and_filled_in() -> None:
    """The values in the tables of measured figures have names, so that a run can replace them."""
    figures = re.findall(
        r"<!-- figure: (\w*) -->([^|<\n;]*)", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    names = [name for name, _ in figures]
    assert len(names) >= 7 and len(set(names)) == len(names)
    assert all(value.strip() for _, value in figures)

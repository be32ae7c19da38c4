"""The Python of docs/evaluation.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_snippet_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "docs/evaluation.md", "exec"), {})
    assert "'median'" in capsys.readouterr().out
    assert (tmp_path / "out" / "evaluation" / "report.html").is_file()

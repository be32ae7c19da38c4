"""Tables on disk: whole or made anew, whatever happens to the files, and never a reason to fail."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dr_perception.body import store as module
from dr_perception.body.store import Store, default_folder

KEY = "0123456789abcdef" * 4


def tables(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "points": rng.normal(size=(40, 3)).astype(np.float32),
        "counts": rng.integers(0, 9, 40).astype(np.int32),
        "half_m": np.array(0.25),
        "none": np.zeros((0, 4), np.int32),
    }


class Maker:
    """Makes tables and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return tables()


def assert_equal(found, expected) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def stored(folder: Path, **options: int) -> tuple[Store, Path]:
    """A store with one file."""
    store = Store(folder, **options)
    store.get("body", KEY, tables)
    path = store.path("body", KEY)
    assert path is not None and path.is_file() and store.has("body", KEY)
    return store, path


def test_what_was_stored_comes_back_to_the_bit(tmp_path: Path) -> None:
    stored(tmp_path)
    make = Maker()
    assert_equal(Store(tmp_path).get("body", KEY, make), tables())
    assert make.calls == 0
    assert [p.suffix for p in tmp_path.iterdir()] == [".npz"]


@pytest.mark.parametrize("other", [("texels", KEY), ("body", "f" + KEY[1:]), ("body", KEY[:32] + "f" * 32)])
def test_another_kind_or_key_is_made_anew(tmp_path: Path, other: tuple[str, str]) -> None:
    """The last one has the same file name: the file says whose it is."""
    stored(tmp_path)
    make = Maker()
    Store(tmp_path).get(*other, make)
    assert make.calls == 1


def test_another_format_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path)
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    make = Maker()
    for _ in range(2):
        assert_equal(Store(tmp_path).get("body", KEY, make), tables())
    assert make.calls == 1


def test_a_file_cut_anywhere_is_made_anew(tmp_path: Path) -> None:
    _, path = stored(tmp_path)
    whole = path.read_bytes()
    for length in [0, 1, 3, *range(30, len(whole), 61), len(whole) - 1]:
        path.write_bytes(whole[:length])
        make = Maker()
        assert_equal(Store(tmp_path).get("body", KEY, make), tables())
        assert make.calls == 1, f"cut to {length} bytes"
        assert path.read_bytes() == whole


def test_a_changed_byte_never_changes_a_table(tmp_path: Path) -> None:
    """Changed data is made anew; what no reader looks at (times, attributes) may change."""
    _, path = stored(tmp_path)
    whole = path.read_bytes()
    anew = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x5A
        path.write_bytes(bytes(damaged))
        make = Maker()
        assert_equal(Store(tmp_path).get("body", KEY, make), tables())
        anew += make.calls
    assert anew > 0.6 * len(range(0, len(whole), 7))


def test_sizes_are_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    _, path = stored(tmp_path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    make = Maker()
    assert_equal(Store(tmp_path).get("body", KEY, make), tables())
    assert make.calls == 1


def test_pickles_are_not_read(tmp_path: Path) -> None:
    _, path = stored(tmp_path)
    with open(path, "wb") as file:
        np.savez(file, evil=np.array([{"a": 1}], dtype=object))
    make = Maker()
    assert_equal(Store(tmp_path).get("body", KEY, make), tables())
    assert make.calls == 1


WRITER = """
import sys
from pathlib import Path
import numpy as np
from dr_perception.body.store import Store
for k in range(150):
    store = Store(Path(sys.argv[1]))
    path = store.path("body", sys.argv[2])
    if k % 3 == 0:
        path.unlink(missing_ok=True)
    found = store.get("body", sys.argv[2], lambda: {"a": np.arange(20_000)})
    assert np.array_equal(found["a"], np.arange(20_000)), k
"""


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(tmp_path), KEY]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
        assert "made anew" not in errors
    assert [p.suffix for p in tmp_path.iterdir()] == [".npz"]


def test_a_folder_that_cannot_be_made_costs_one_warning(tmp_path: Path, caplog) -> None:
    """A file stands in the way; permissions would not stop the superuser."""
    (tmp_path / "taken").write_text("")
    store = Store(tmp_path / "taken" / "cache")
    make = Maker()
    for _ in range(3):
        assert_equal(store.get("body", KEY, make), tables())
    assert make.calls == 3
    assert len(caplog.records) == 1 and "DR_PERCEPTION_CACHE" in caplog.text


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere"
)
def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    store, _ = stored(tmp_path)
    tmp_path.chmod(0o500)
    try:
        make = Maker()
        assert_equal(store.get("body", KEY, make), tables())
        assert_equal(store.get("texels", KEY, make), tables())
        assert make.calls == 1
    finally:
        tmp_path.chmod(0o700)


def test_the_longest_unused_go_when_there_is_too_much(tmp_path: Path) -> None:
    _, first = stored(tmp_path)
    store = Store(tmp_path, max_bytes=3 * first.stat().st_size)
    keys = [f"{k:x}" * 64 for k in range(1, 4)]
    for age, key in enumerate(keys):
        store.get("body", key, tables)
        os.utime(store.path("body", key), (1000 + age, 1000 + age))
    store.get("body", keys[0], Maker())  # used again
    store.get("body", "e" * 64, tables)
    assert store.has("body", keys[0]) and not store.has("body", keys[1])
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 3 * first.stat().st_size


@pytest.mark.parametrize("word", ["off", "", " OFF ", "0"])
def test_the_variable_switches_it_off(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_PERCEPTION_CACHE", word)
    assert default_folder() is None
    make = Maker()
    store = Store(default_folder())
    store.get("body", KEY, make), store.get("body", KEY, make)
    assert make.calls == 2 and not store.has("body", KEY)


def test_the_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_PERCEPTION_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("DR_PERCEPTION_CACHE")
    folder = default_folder()
    assert folder is not None and folder.name == "dr_perception"

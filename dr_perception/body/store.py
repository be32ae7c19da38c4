"""Tables on disk: plain arrays under a key, safe against damage and against two writers.

A file is an uncompressed ``.npz`` without pickled objects. It is written beside its place and then moved
there, so that a reader sees a whole file or none. Every array carries a checksum, and the file says which key
it belongs to; whatever is damaged, cut short or of another format is made anew and replaced. A folder that
cannot be written costs no more than the time to make the tables again.

Whoever may write into the folder can change poses, as with any cache of compiled code: keep it your own.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
"""Tables by name."""

ENVIRONMENT = "DR_PERCEPTION_CACHE"
"""Variable that names the folder, or says ``off``."""
FORMAT = 1
"""Of the files; another number makes all of them anew."""
MAX_BYTES = 1 << 30
"""Of all files of a folder; the longest unused ones go beyond it. A model takes 4 to 20 MB."""
_KEY = "key"
_DAMAGE = (ValueError, EOFError, KeyError, struct.error, zipfile.BadZipFile, NotImplementedError)
"""What reading a file raises that is no file of this store, or not any more."""
_log = logging.getLogger(__name__)


def default_folder() -> Path | None:
    """Folder that ``DR_PERCEPTION_CACHE`` names, else one in the user's caches; None if it says ``off``."""
    named = os.environ.get(ENVIRONMENT)
    if named is not None:
        return None if named.strip().lower() in ("", "off", "0") else Path(named).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dr_perception"


def default_store() -> Store:
    """The store that everything uses which is told of no other."""
    try:
        return _store_at(default_folder())
    except RuntimeError:  # a user without a home
        return _store_at(None)


@functools.cache
def _store_at(folder: Path | None) -> Store:
    return Store(folder)


class Store:
    """Tables by kind and key in one folder.

    Attributes:
        made: Kinds of the tables that had to be made, in order.
    """

    def __init__(self, folder: Path | None, max_bytes: int = MAX_BYTES, must_write: bool = False) -> None:
        """Use a folder, made when it is first written to; None keeps nothing.

        With ``must_write`` a folder that cannot be written is an error instead of a warning.
        """
        self.folder = folder
        self.made: list[str] = []
        self._max_bytes = max_bytes
        self._must_write = must_write
        self._has_warned = False

    def path(self, kind: str, key: str) -> Path | None:
        """Where tables are or would be."""
        return None if self.folder is None else self.folder / f"{kind}-{key[:32]}.npz"

    def has(self, kind: str, key: str) -> bool:
        """Whether a file of these tables is there."""
        path = self.path(kind, key)
        return path is not None and path.is_file()

    def get(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Tables from the folder, or made and put there.

        Args:
            kind: What they are; part of the file's name.
            key: Digest of everything that determines them, at least 32 hexadecimal digits.
            make: Makes them.
        """
        path = self.path(kind, key)
        if path is None:
            return make()
        found = read_arrays(path, _whole_key(kind, key))
        if found is not None:
            return found
        arrays = make()
        self.made.append(kind)
        self._write(path, {**arrays, _KEY: _key_array(kind, key)})
        return arrays

    def _write(self, path: Path, arrays: Arrays) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, arrays)
            self._make_room(path)
        except OSError as error:
            if self._must_write:
                raise
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "prepared models cannot be kept in %s (%s); set %s to a folder that can be written, or "
                    "to off",
                    path.parent,
                    error,
                    ENVIRONMENT,
                )

    def _make_room(self, newest: Path) -> None:
        """Remove the files that were not used for longest while there is too much."""
        files = []
        for path in newest.parent.glob("*.npz*"):
            try:
                files.append((path.stat().st_mtime, path.stat().st_size, path))
            except OSError:  # another process removed it
                continue
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._max_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size


def _whole_key(kind: str, key: str) -> str:
    return f"{FORMAT}/{kind}/{key}"


def _key_array(kind: str, key: str) -> NDArray[np.uint8]:
    return np.frombuffer(_whole_key(kind, key).encode(), np.uint8)


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays into a file that appears as a whole.

    Raises:
        OSError: The folder or the disk does not take it.
    """
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_arrays(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """Arrays of a file, read-only; None if there is none, or none that is whole and belongs to the key."""
    try:
        arrays = _read(path)
        if arrays.pop(_KEY).tobytes() != key.encode():
            raise ValueError("it belongs to other tables")
    except OSError:  # not there, or not to be read
        return None
    except _DAMAGE as error:
        _log.warning("%s is not used and made anew: %s", path, error)
        return None
    _touch(path)
    return arrays


def _touch(path: Path) -> None:
    """Remember that a file was used; what lies in a folder of others stays as it is."""
    try:
        os.utime(path)
    except OSError:
        pass


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file.

    Sizes are checked against the file's before anything is allocated.
    """
    arrays = {}
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        left = os.fstat(file.fileno()).st_size
        for info in archive.infolist():
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise ValueError(f"{info.filename} is larger than the file")
            arrays[info.filename.removesuffix(".npy")] = _parse(archive.read(info))
    return arrays


def _parse(data: bytes) -> NDArray[Any]:
    """Array of a ``.npy`` file, in the memory that it was read into."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"arrays of format {version} are not read")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or fortran:
        raise ValueError("arrays of objects or in columns are not read")
    count = int(np.prod(shape, dtype=np.int64))
    if count * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array of shape {shape} does not fill its place")
    return np.frombuffer(data, dtype, count, stream.tell()).reshape(shape)

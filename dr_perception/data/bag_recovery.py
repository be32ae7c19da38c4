"""Sequential reading of damaged rosbag2 storage files, as far as they are intact.

The regular reader needs the index at the end of an MCAP file, which a recorder that was killed never wrote,
and an intact SQLite index. These functions read from the front: MCAP by the record structure of its
specification (https://mcap.dev/spec: magic, then opcode, 64-bit length, content), SQLite by row number.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from dr_perception.data.source import DamagedSequenceError

__all__ = ["StoredMessage", "plain_cdr", "scan_mcap", "scan_sqlite"]

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_MESSAGE_HEADER = struct.Struct("<HIQQ")
_CHUNK_HEADER = struct.Struct("<QQQI")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""No CDR message starts with it: their first byte is 0."""
_TOPICS_QUERY = "SELECT id, name, type FROM topics"
_MESSAGES_QUERY = "SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"


class StoredMessage(NamedTuple):
    """One message as it is stored."""

    topic: str
    message_type: str
    log_time_ns: int
    data: bytes
    """CDR."""


def scan_mcap(path: Path) -> Iterator[StoredMessage]:
    """Messages of an MCAP file in the order in which they were written.

    Raises:
        DamagedSequenceError: After the last intact message, unless the data section ends regularly.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DamagedSequenceError(
                f"bag file {path} is damaged: it is empty or does not start as an MCAP file"
            )
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[str, str]] = {}
        try:
            for opcode, content in _records(file):
                if opcode == _DATA_END:
                    return
                chunk = _open_chunk(content) if opcode == _CHUNK else [(opcode, content)]
                for inner_opcode, inner in chunk:
                    message = _interpret(inner_opcode, inner, schemas, channels)
                    if message is not None:
                        yield message
        except (EOFError, ValueError, struct.error, KeyError, RuntimeError) as error:
            raise DamagedSequenceError(
                f"bag file {path} is truncated or damaged near byte {file.tell()}: {error}"
            ) from error
    raise DamagedSequenceError(f"bag file {path} is truncated: it has no end of data")


def scan_sqlite(path: Path) -> Iterator[StoredMessage]:
    """Messages of a SQLite storage file in the order in which they were written.

    Raises:
        DamagedSequenceError: After the last message that can be read.
    """
    with tempfile.TemporaryDirectory(prefix="dr_perception_") as folder:
        try:
            copy = _shortened_copy(path, Path(folder))
            with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
                topics = {key: (name, kind) for key, name, kind in connection.execute(_TOPICS_QUERY)}
                rows = connection.execute(
                    "SELECT topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"
                )
                for topic_id, stamp, data in rows:
                    yield StoredMessage(*topics[topic_id], stamp, data)
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise DamagedSequenceError(f"bag file {path} is truncated or damaged: {error}") from error


def plain_cdr(data: bytes) -> bytes:
    """A message, decompressed if the recording compresses single messages (zstd)."""
    return _decompress_zstd(data) if data.startswith(_ZSTD_MAGIC) else data


def _shortened_copy(path: Path, folder: Path) -> Path:
    """Copy of a truncated database whose header states the pages that are there.

    SQLite refuses a file with fewer pages than its header says (https://www.sqlite.org/fileformat.html,
    section 1.3: page size at byte 16, number of pages at 28). With the right number it reads up to the first
    missing page.
    """
    copy = folder / "intact_pages.db3"
    shutil.copyfile(path, copy)
    with copy.open("r+b") as file:
        header = file.read(100)
        if len(header) < 100 or not header.startswith(b"SQLite format 3"):
            raise ValueError("it is empty or no SQLite database")
        (size,) = struct.unpack_from(">H", header, 16)
        size = 65536 if size == 1 else size
        pages = path.stat().st_size // size
        file.seek(28)
        file.write(struct.pack(">I", pages))
        file.truncate(pages * size)
    return copy


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Opcode and content of each record; EOFError where one is incomplete."""
    while head := file.read(9):
        if len(head) < 9:
            raise EOFError("a record is incomplete")
        (length,) = struct.unpack_from("<Q", head, 1)
        # A damaged length may be any number: never ask for more than there is.
        content = file.read(min(length, _size(file)))
        if len(content) < length:
            # An uncompressed chunk is readable up to where it was cut.
            if head[0] == _CHUNK:
                yield head[0], content
            raise EOFError(f"a record of {length} bytes is cut after {len(content)}")
        yield head[0], content


def _size(file: BinaryIO) -> int:
    """Size of a file [bytes]; the position stays."""
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    return size


def _open_chunk(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Records inside a chunk."""
    _, _, size, _ = _CHUNK_HEADER.unpack_from(content)
    compression, position = _string(content, _CHUNK_HEADER.size)
    data = content[position + 8 :]
    (stored,) = struct.unpack_from("<Q", content, position)
    if compression and len(data) < stored:
        raise EOFError("a compressed chunk is incomplete")
    return _records(io.BytesIO(_decompress(data, compression, size)))


def _decompress(data: bytes, compression: str, size: int) -> bytes:
    if compression == "":
        return data
    if compression == "lz4":
        import lz4.frame

        return bytes(lz4.frame.decompress(data))
    if compression == "zstd":
        return _decompress_zstd(data)
    raise ValueError(f"chunk compression {compression!r} is not supported")


def _decompress_zstd(data: bytes) -> bytes:
    import importlib
    import sys

    zstd: Any = importlib.import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )
    try:
        return bytes(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error


def _interpret(
    opcode: int, content: bytes, schemas: dict[int, str], channels: dict[int, tuple[str, str]]
) -> StoredMessage | None:
    """Remember schemas and channels, return messages."""
    if opcode == _SCHEMA:
        (number,) = struct.unpack_from("<H", content)
        schemas[number] = _string(content, 2)[0]
    elif opcode == _CHANNEL:
        number, schema = struct.unpack_from("<HH", content)
        channels[number] = (_string(content, 4)[0], schemas.get(schema, ""))
    elif opcode == _MESSAGE:
        number, _, log_time, _ = _MESSAGE_HEADER.unpack_from(content)
        topic, message_type = channels[number]
        return StoredMessage(topic, message_type, log_time, content[_MESSAGE_HEADER.size :])
    return None


def _string(content: bytes, position: int) -> tuple[str, int]:
    """A length-prefixed string and the position behind it."""
    (length,) = struct.unpack_from("<I", content, position)
    start = position + 4
    return content[start : start + length].decode("utf-8", "replace"), start + length

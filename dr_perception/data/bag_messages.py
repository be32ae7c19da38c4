"""Messages of a rosbag2 recording, read with `rosbags` (no ROS); a damaged file is read from its front."""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dr_perception.data.bag_recovery import StoredMessage, plain_cdr, scan_mcap, scan_sqlite
from dr_perception.data.source import DamagedSequenceError

__all__ = ["BagMessages", "deserialize", "header_stamp_ns", "typestore"]

_SUFFIXES = (".mcap", ".db3")


class BagMessages:
    """A recording as a sequence of serialised messages that can be read again and again."""

    def __init__(self, path: str | Path) -> None:
        """Find the files and the topics.

        Args:
            path: rosbag2 folder, or a single ``.mcap`` or ``.db3`` file.

        Raises:
            FileNotFoundError: The path does not exist.
            ValueError: It holds no recording, or one that cannot be read at all.
        """
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"bag {self.path} does not exist")
        self.damage: DamagedSequenceError | None = None
        """What is wrong with the recording; None if it is intact as far as its index tells."""
        self.topics: dict[str, str] = self._indexed_topics()
        """Message type of each topic that has messages."""
        if not self.topics:
            raise self.damage or ValueError(f"bag {self.path} is empty: it has no messages")

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """Messages of some topics, ordered by their log time (a damaged recording: as written).

        Raises:
            DamagedSequenceError: After the last intact message.
        """
        wanted = set(topics)
        if self.damage is None:
            yield from self._read_indexed(wanted)
        else:
            yield from (message for message in self._scan() if message.topic in wanted)

    def _indexed_topics(self) -> dict[str, str]:
        """Topics by the index of the recording, or by reading all of it if the index is damaged."""
        from rosbags.rosbag2 import Reader

        try:
            with Reader(self.path) as reader:
                return {c.topic: c.msgtype for c in reader.connections if c.msgcount > 0}
        # A damaged file raises whatever the reader stumbles over: type, index, memory and SQLite errors.
        except Exception as error:
            self.damage = DamagedSequenceError(f"bag {self.path} is truncated or damaged: {error!r}")
            self.damage.__cause__ = error
        found: dict[str, str] = {}
        try:
            for message in self._scan():
                found.setdefault(message.topic, message.message_type)
        except DamagedSequenceError as error:
            self.damage = error
        return found

    def _read_indexed(self, wanted: set[str]) -> Iterator[StoredMessage]:
        from rosbags.rosbag2 import Reader

        with Reader(self.path) as reader:
            connections = [c for c in reader.connections if c.topic in wanted]
            if not connections:
                return
            messages = reader.messages(connections=connections)
            while True:
                try:
                    connection, stamp, data = next(messages)
                except StopIteration:
                    return
                # Decompressors and SQLite have exceptions of their own without a common base.
                except Exception as error:
                    raise DamagedSequenceError(f"bag {self.path} is truncated or damaged: {error}") from error
                yield StoredMessage(connection.topic, connection.msgtype, stamp, data)

    def _scan(self) -> Iterator[StoredMessage]:
        """Read all storage files from the front; every file's intact part, then the first error."""
        damage = None
        for file in self._files():
            try:
                for message in scan_mcap(file) if file.suffix == ".mcap" else scan_sqlite(file):
                    yield message._replace(data=plain_cdr(message.data))
            except DamagedSequenceError as error:
                damage = damage or error
        raise damage or self.damage or DamagedSequenceError(f"bag {self.path} has a damaged index")

    def _files(self) -> list[Path]:
        """Storage files in the order of their numbers."""
        if self.path.is_file():
            return [self.path]
        files = [file for file in self.path.iterdir() if file.suffix in _SUFFIXES]
        return sorted(files, key=lambda file: int((re.findall(r"\d+", file.stem) or ["0"])[-1]))


def header_stamp_ns(data: bytes) -> int:
    """Stamp of a serialised message that starts with a ``std_msgs/Header``, without deserialising it.

    CDR: 4 bytes of encapsulation, of which the second gives the byte order, then ``int32 sec`` and ``uint32
        nanosec``.
    """
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def deserialize(data: bytes, message_type: str) -> Any:
    """The message in a CDR buffer.

    Raises:
        ValueError: The bytes are no message of this type.
    """
    try:
        return typestore().deserialize_cdr(data, message_type)
    # The generated readers raise their own, index, struct and Unicode errors.
    except Exception as error:
        raise ValueError(f"the bytes are no valid {message_type}: {error}") from error


@functools.lru_cache(maxsize=1)
def typestore() -> Any:
    """Message types of ROS 2 Jazzy, which `rosbags` ships."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)

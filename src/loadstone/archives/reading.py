"""What every reader of a format does with the bytes of an entry: count, hash, look, and keep little of
them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

from loadstone.archives.model import Entry, Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.sniff import HEAD, content_type
from loadstone.archives.source import Source


class Budget:
    """Bytes that may still come out of one upload, all nested archives together."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self._limits = limits
        self._packed = packed
        self._cap = min(limits.max_total_bytes, max(limits.ratio_floor_bytes, packed * limits.max_ratio))
        self.spent = 0
        self.entries = 0

    @property
    def left(self) -> int:
        return self._cap - self.spent

    def spend(self, count: int) -> None:
        """Take `count` real bytes from the budget. Raises RefusedError when it is exceeded."""
        self.spent += count
        if self.spent <= self._cap:
            return
        if self.spent > self._limits.max_total_bytes:
            raise RefusedError("total-too-large", "The archive unpacks to more than is allowed.")
        raise RefusedError("ratio", f"The archive unpacks to more than {self._limits.max_ratio} times its size.")

    def count_entry(self) -> None:
        self.entries += 1
        if self.entries > self._limits.max_entries:
            raise RefusedError("too-many-entries", f"The archive has more than {self._limits.max_entries} entries.")


class Visitor(Protocol):
    """Receives the files of an archive in the order in which they are read."""

    def begin(self, path: str) -> None:
        """A file starts."""
        ...

    def chunk(self, data: bytes) -> None:
        """The next bytes of the file that was begun last."""
        ...

    def keep(self, path: str, head: bytes, kind: str, in_place: bool) -> int:
        """How many bytes of this file to keep in memory for `leave`, given its first bytes."""
        ...

    def leave(self, entry: Entry, kept: bytearray, piece: Source | None) -> None:
        """A file has been read to its end. `piece` is the file in place, where it is stored as it is."""
        ...


class EntrySink:
    """One file on its way through: real size, SHA-256, CRC-32, type, and a bounded copy where it is
    wanted.
    """

    def __init__(
        self,
        path: str,
        visitor: Visitor,
        budget: Budget,
        *,
        executable: bool = False,
        piece: Source | None = None,
    ) -> None:
        self._path = path
        self._visitor = visitor
        self._budget = budget
        self._executable = executable
        self._sha256 = hashlib.sha256()
        self._kept = bytearray()
        self._keep: int | None = None
        self._kind = ""
        self._piece = piece
        self.crc = 0
        self.size = 0
        budget.count_entry()
        visitor.begin(path)

    def write(self, chunk: bytes) -> None:
        count = len(chunk)
        self._budget.spend(count)
        self.size += count
        self._sha256.update(chunk)
        self._visitor.chunk(chunk)
        self.crc = zlib.crc32(chunk, self.crc)
        if self._keep is None:
            if not self._kept and count >= HEAD:
                self._decide(chunk[:HEAD], self.size + 1)
                self._kept += chunk[: self._keep]
                return
            self._kept += chunk
            if len(self._kept) >= HEAD:
                self._decide(bytes(self._kept[:HEAD]), self.size + 1)
                del self._kept[self._keep :]
        elif len(self._kept) < self._keep:
            self._kept += chunk[: self._keep - len(self._kept)]

    def _decide(self, head: bytes, size: int) -> None:
        self._kind = content_type(head, size)
        self._keep = self._visitor.keep(self._path, head, self._kind, self._piece is not None)

    def close(self) -> Entry:
        """End the file and hand it to the visitor."""
        if self._keep is None:
            self._decide(bytes(self._kept[:HEAD]), self.size)
            del self._kept[self._keep :]
        elif self._kind == "data" and self._kept.startswith((b"BM", b"MZ")):
            # Their headers carry the whole size.
            self._kind = content_type(bytes(self._kept[:HEAD]), self.size)
        entry = Entry(self._path, self.size, self._sha256.hexdigest(), self._kind, self._executable)
        self._visitor.leave(entry, self._kept, self._piece)
        return entry


def check_size(path: str, actual: int, declared: int) -> None:
    """Raises RefusedError where an entry's real size is not the declared one."""
    if actual != declared:
        raise RefusedError("size-lie", f"{shown(path)} unpacks to another size than the archive declares.")


def drain(read: Callable[[int], bytes], sink: EntrySink, step: int = 1 << 18) -> None:
    """Copy a reader into a sink until it is empty."""
    while chunk := read(step):
        sink.write(chunk)

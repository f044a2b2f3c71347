"""Digests of large files in constant memory, off the event loop."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
from murmurhash2 import murmurhash2

_CHUNK: Final = 1 << 20
_WHITESPACE: Final = b"\t\n\r "
_MULTIPLIER: Final = 0x5BD1E995
_INVERSE: Final = pow(_MULTIPLIER, -1, 1 << 32)
_MASK: Final = 0xFFFFFFFF
_SEED: Final = 1


class Digests(msgspec.Struct, frozen=True):
    """What a file is looked up by. ``murmur2`` is CurseForge's fingerprint, an unsigned 32-bit number."""

    sha256: bytes
    sha1: bytes
    sha512: bytes
    md5: bytes
    murmur2: int


class RunningHashes:
    """The SHA-256 of uploads that this process has seen from their first byte, up to their offset.

    Comfort, not truth: what falls out of it is computed once by the pipeline.
    """

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._states: OrderedDict[int, tuple[int, Any]] = OrderedDict()

    def take(self, upload: int, offset: int) -> Any | None:
        """A hash object that has seen exactly the bytes before ``offset``, or None."""
        seen, state = self._states.pop(upload, (-1, None))
        if offset == 0:
            return hashlib.sha256()
        return state if seen == offset else None

    def keep(self, upload: int, offset: int, state: Any) -> None:
        """Remember the hash object of the bytes before ``offset``; it must not be updated any more."""
        self._states[upload] = (offset, state)
        self._states.move_to_end(upload)
        while len(self._states) > self._most:
            self._states.popitem(last=False)

    def forget(self, upload: int) -> None:
        self._states.pop(upload, None)


async def sha256_of(chunks: AsyncIterator[bytes]) -> str:
    """The SHA-256 in hex of a stream."""
    digest = hashlib.sha256()
    async for chunk in chunks:
        await asyncio.to_thread(digest.update, chunk)
    return digest.hexdigest()


async def digests_of(path: Path) -> Digests:
    """All digests of a file, read twice: murmur2 starts from the number of bytes that it will see."""
    return await asyncio.to_thread(_digests_of, path)


def _digests_of(path: Path) -> Digests:
    hashes = (
        hashlib.sha256(),
        hashlib.sha1(usedforsecurity=False),
        hashlib.sha512(),
        hashlib.md5(usedforsecurity=False),
    )
    counted = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            for digest in hashes:
                digest.update(chunk)
            counted += len(chunk) - sum(map(chunk.count, (b"\t", b"\n", b"\r", b" ")))
    sha256, sha1, sha512, md5 = (digest.digest() for digest in hashes)
    return Digests(sha256, sha1, sha512, md5, _fingerprint(path, counted))


def _fingerprint(path: Path, counted: int, size: int = _CHUNK) -> int:
    """MurmurHash2, seed 1, of the bytes that are not tab, line feed, carriage return or space.

    Of ``counted`` such bytes in all. The library hashes whole buffers only; but it starts from
    ``seed ^ length`` and its last step can be undone, so buffers of whole words can be chained.
    """
    state = _SEED ^ counted
    rest = b""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(size):
            data = rest + chunk.translate(None, _WHITESPACE)
            whole = len(data) & ~3
            rest = data[whole:]
            if whole:
                state = _unfinished(murmurhash2(data[:whole], (state ^ whole) & _MASK))
    return int(murmurhash2(rest, (state ^ len(rest)) & _MASK))


def _unfinished(value: int) -> int:
    """Undo ``h ^= h >> 13; h *= m; h ^= h >> 15``, with which MurmurHash2 ends."""
    value ^= value >> 15 ^ value >> 30
    value = value * _INVERSE & _MASK
    return value ^ value >> 13 ^ value >> 26

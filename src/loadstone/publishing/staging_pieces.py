"""Staging in the object store: each stretch of an upload is an object of its own, so any web node can go on.

No lock is needed: a piece has a name that no other writer has, and it counts only once the database moved
the offset over it. What lost the race, or was never acknowledged, is deleted with the upload.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError

from loadstone.kernel.blobs import CHUNK, BlobMismatchError, blob_key
from loadstone.kernel.errors import UnavailableError
from loadstone.kernel.platform import Platform
from loadstone.publishing.digesting import sha256_of
from loadstone.publishing.models import Piece, UploadGoneError
from loadstone.publishing.staging import Writer

_PREFIX: Final = "staging"
_PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 2
_MOST_COPIED: Final = 4 << 30
"""S3 copies objects of up to 5 GiB in one call; larger blobs are written straight to their name."""


class PieceStaging:
    """``staging/<upload>/<offset>-<random>`` beside the blobs."""

    def __init__(self, platform: Platform) -> None:
        self._blobs = platform.blobs

    def check_room(self, size: int) -> None:
        """An object store does not tell."""

    @contextlib.asynccontextmanager
    async def hold(self, upload: int) -> AsyncIterator[Writer]:
        writer = PieceWriter(self._blobs.store, upload)
        try:
            yield writer
        finally:
            await writer.abandon()

    async def read(self, upload: int, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:  # noqa: ARG002
        for piece in pieces:
            try:
                found = await obstore.get_async(self._blobs.store, piece.name)
            except FileNotFoundError:
                raise UploadGoneError(f"The piece {piece.name} is missing.") from None
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    async def keep(self, upload: int, pieces: Sequence[Piece], sha256: str | None) -> str:
        if sha256 is None:
            if sum(piece.length for piece in pieces) <= _MOST_COPIED:
                found, _ = await self._blobs.put_stream(self.read(upload, pieces))
                return found
            sha256 = await sha256_of(self.read(upload, pieces))
        if not await self._blobs.exists(sha256):
            chunks = _checked(self.read(upload, pieces), sha256)
            await obstore.put_async(
                self._blobs.store, blob_key(sha256), chunks, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )
        return sha256

    async def discard(self, upload: int) -> None:
        names: list[str] = []
        stream: Any = obstore.list(self._blobs.store, prefix=f"{_PREFIX}/{upload:016x}")
        async for batch in stream:
            names += [meta["path"] for meta in batch]
        if names:
            await obstore.delete_async(self._blobs.store, names)

    async def uploads(self) -> AsyncIterator[int]:
        found = await obstore.list_with_delimiter_async(self._blobs.store, prefix=_PREFIX)
        for name in found["common_prefixes"]:
            with contextlib.suppress(ValueError):
                yield int(name.rstrip("/").rsplit("/", 1)[-1], 16)


class PieceWriter:
    """Streams each stretch between two marks into an object; at most a few chunks wait in memory."""

    def __init__(self, store: Any, upload: int) -> None:
        self._store = store
        self._upload = upload
        self._offset = 0
        self._piece: _OpenPiece | None = None
        self._closing: _OpenPiece | None = None

    async def start(self, offset: int) -> None:
        self._offset = offset

    async def write(self, chunks: Sequence[bytes]) -> None:
        if self._piece is None:
            name = f"{_PREFIX}/{self._upload:016x}/{self._offset:016x}-{secrets.token_hex(8)}"
            self._piece = _OpenPiece(self._store, self._offset, name)
        for chunk in chunks:
            await self._piece.write(chunk)
            self._offset += len(chunk)

    def mark(self) -> Awaitable[Piece | None]:
        self._closing, self._piece = self._piece, None
        return self._closing.finish() if self._closing is not None else _no_piece()

    async def abandon(self) -> None:
        """Break off what nobody waits for any more."""
        for piece in (self._piece, self._closing):
            if piece is not None:
                await piece.abandon()


class _OpenPiece:
    """An object that is being written."""

    def __init__(self, store: Any, start: int, name: str) -> None:
        self._start = start
        self._name = name
        self._length = 0
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        self._putting = asyncio.ensure_future(
            obstore.put_async(store, name, self._chunks(), chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
        )

    async def write(self, chunk: bytes) -> None:
        with _reachable():
            await self._pass_on(chunk)
        self._length += len(chunk)

    async def finish(self) -> Piece:
        with _reachable():
            await self._pass_on(None)
            await self._putting
        return Piece(self._start, self._length, self._name)

    async def abandon(self) -> None:
        self._putting.cancel()
        await asyncio.wait({self._putting})
        if not self._putting.cancelled():
            self._putting.exception()  # told by the request that it broke

    async def _pass_on(self, chunk: bytes | None) -> None:
        """Wait for room, but not for a store that has given up."""
        passing = asyncio.ensure_future(self._queue.put(chunk))
        try:
            await asyncio.wait({passing, self._putting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not passing.done():
                passing.cancel()
        if self._putting.done():
            self._putting.result()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk


@contextlib.contextmanager
def _reachable() -> Iterator[None]:
    """A store that fails is a reason to come back later, not an error of ours."""
    try:
        yield
    except BaseError as error:
        raise UnavailableError("The store for files is not reachable; ask with HEAD and go on shortly.") from error


async def _no_piece() -> None:
    return None


async def _checked(chunks: AsyncIterator[bytes], sha256: str) -> AsyncIterator[bytes]:
    """The same bytes; raises before the end when they are others, so that the object never appears."""
    digest = hashlib.sha256()
    async for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise BlobMismatchError(f"expected SHA-256 {sha256}, found {digest.hexdigest()}")

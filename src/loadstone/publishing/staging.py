"""Where an upload's bytes lie until they are a blob: a growing file, or pieces in the object store.

The law of both: what :meth:`Writer.mark` has confirmed survives kill -9 and a power cut; what lies behind
the acknowledged offset counts for nothing and is cut away or ignored.
"""

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from loadstone.kernel.platform import Platform
from loadstone.publishing.models import Piece, StorageFullError, UploadBusyError, UploadGoneError

READ_BYTES: Final = 1 << 20
_RESERVE_BYTES: Final = 256 << 20
_SYNC_AHEAD_BYTES: Final = 16 << 20
"""How much is written before the disk is asked to begin, so that the last sync finds little left to do."""
_MOST_BUFFERS: Final = 512  # below every system's IOV_MAX
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Writer(Protocol):
    """Appends to one upload; only one may be held at a time where the staging can tell."""

    async def start(self, offset: int) -> None:
        """Be ready to write at the acknowledged ``offset``; what lies behind it is dropped."""
        ...

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Append. Raises :class:`StorageFullError`."""
        ...

    def mark(self) -> Awaitable[Piece | None]:
        """Make what was written so far durable; awaiting it is the confirmation. Writing may go on meanwhile.

        The piece is what the database has to remember, for a staging of pieces.
        """
        ...


class Staging(Protocol):
    """A place for unfinished uploads."""

    def check_room(self, size: int) -> None:
        """Raises :class:`StorageFullError` when ``size`` more bytes would not fit."""
        ...

    def hold(self, upload: int) -> AbstractAsyncContextManager[Writer]:
        """The right to write. Raises :class:`UploadBusyError` while another has it."""
        ...

    def read(self, upload: int, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
        """The bytes of a complete upload, in order."""
        ...

    async def keep(self, upload: int, pieces: Sequence[Piece], sha256: str | None) -> str:
        """Make the upload a blob, whose SHA-256 is the answer; doing so again changes nothing."""
        ...

    async def discard(self, upload: int) -> None:
        """Delete the upload's bytes, if there are any."""
        ...

    def uploads(self) -> AsyncIterator[int]:
        """The uploads of which there are bytes here."""
        ...


def staging_of(platform: Platform) -> Staging:
    """The staging that fits the blob store."""
    if platform.blobs.is_local:
        return LocalStaging(platform)
    from loadstone.publishing.staging_pieces import PieceStaging

    return PieceStaging(platform)


class LocalStaging:
    """``DATA/uploads/<id>``: one growing file per upload; a lock on it keeps a second writer out."""

    def __init__(self, platform: Platform) -> None:
        self._blobs = platform.blobs
        self._folder = platform.config.data / "uploads"

    def path(self, upload: int) -> Path:
        return self._folder / f"{upload:016x}"

    def check_room(self, size: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < size + _RESERVE_BYTES:
            raise StorageFullError

    @contextlib.asynccontextmanager
    async def hold(self, upload: int) -> AsyncIterator[Writer]:
        path = self.path(upload)
        fresh = not path.exists()
        writer = LocalWriter(_open_locked(path))
        try:
            if fresh:  # its name has to survive a power cut as well
                await asyncio.to_thread(_sync_folder, path.parent)
            yield writer
        finally:
            await writer.close()

    async def read(self, upload: int, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:  # noqa: ARG002
        descriptor = os.open(self.path(upload), os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := await asyncio.to_thread(os.read, descriptor, READ_BYTES):
                yield chunk
        finally:
            os.close(descriptor)

    async def keep(self, upload: int, pieces: Sequence[Piece], sha256: str | None) -> str:
        if sha256 is None:
            sha256 = await self._digest(upload, pieces)
        path = self.path(upload)
        if not path.exists() and await self._blobs.exists(sha256):
            return sha256
        await self._blobs.put_file(path, sha256)
        return sha256

    async def discard(self, upload: int) -> None:
        await asyncio.to_thread(self.path(upload).unlink, missing_ok=True)

    async def uploads(self) -> AsyncIterator[int]:
        for name in await asyncio.to_thread(_names, self._folder):
            with contextlib.suppress(ValueError):
                yield int(name, 16)

    async def _digest(self, upload: int, pieces: Sequence[Piece]) -> str:
        from loadstone.publishing.digesting import sha256_of

        return await sha256_of(self.read(upload, pieces))


class LocalWriter:
    """Appends to a locked file. Never closed while a thread still writes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._running: set[asyncio.Future[None]] = set()
        self._unsynced = 0
        self._ahead: asyncio.Future[None] | None = None

    async def start(self, offset: int) -> None:
        there = os.fstat(self._descriptor).st_size
        if there < offset:  # acknowledged bytes are gone: somebody deleted them
            raise UploadGoneError("The bytes of this upload were lost; start a new one.")
        if there > offset:
            os.ftruncate(self._descriptor, offset)
        os.lseek(self._descriptor, offset, os.SEEK_SET)

    async def write(self, chunks: Sequence[bytes]) -> None:
        await self._in_thread(_write_all, self._descriptor, chunks)
        self._unsynced += sum(map(len, chunks))
        if self._unsynced >= _SYNC_AHEAD_BYTES and (self._ahead is None or self._ahead.done()):
            self._check_ahead()
            self._unsynced = 0
            self._ahead = self._start(_sync, self._descriptor)

    async def mark(self) -> Piece | None:
        await self._in_thread(_sync, self._descriptor)
        if self._ahead is not None:
            await asyncio.wait({self._ahead})
            self._check_ahead()
        return None

    async def close(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        os.close(self._descriptor)
        if self._ahead is not None:
            self._ahead.exception()  # told already, where it mattered

    def _check_ahead(self) -> None:
        """The kernel tells of a failed write-back once: a sync that failed ahead fails the next mark."""
        if self._ahead is not None and self._ahead.done():
            with _room():
                self._ahead.result()

    def _start(self, work: Callable[..., None], *arguments: Any) -> asyncio.Future[None]:
        running = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def _in_thread(self, work: Callable[..., None], *arguments: Any) -> None:
        with _room():
            await asyncio.shield(self._start(work, *arguments))


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError from error
        raise


def _open_locked(path: Path) -> int:
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UploadBusyError from None
    return descriptor


def _write_all(descriptor: int, chunks: Sequence[bytes]) -> None:
    waiting = [memoryview(chunk) for chunk in chunks]
    while waiting:
        written = os.writev(descriptor, waiting[:_MOST_BUFFERS])
        while waiting and written >= len(waiting[0]):
            written -= len(waiting.pop(0))
        if written:
            waiting[0] = waiting[0][written:]


def _sync(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []

"""Taking the bytes of one PATCH: batches are written and hashed in threads while the next ones arrive.

Laws: an offset is acknowledged (committed, answered) only when its bytes are durable; memory is two
batches, whatever the size; a request that ends early keeps what it brought, unless it has a checksum that
covers the whole of it.
"""

import asyncio
import contextlib
import datetime as dt
import hmac
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from typing import Any, Final

from loadstone.kernel.metrics import UPLOADED
from loadstone.kernel.platform import Platform
from loadstone.publishing import store, tus
from loadstone.publishing.digesting import RunningHashes
from loadstone.publishing.models import (
    ChecksumMismatchError,
    CutOffError,
    OffsetMismatchError,
    Piece,
    UploadTooLargeError,
)
from loadstone.publishing.staging import Writer

BATCH_BYTES: Final = 1 << 20
CHECKPOINT_BYTES: Final = 64 << 20
"""How often a long request's bytes are acknowledged on the way: what a crash of the server can cost."""

RUNNING: Final = RunningHashes()


class Reception:
    """One request's bytes on their way into an upload that is held by it."""

    def __init__(
        self,
        platform: Platform,
        writer: Writer,
        *,
        upload: int,
        length: int,
        offset: int,
        checksum: tus.Checksum | None,
    ) -> None:
        self._platform = platform
        self._writer = writer
        self._upload = upload
        self._length = length
        self._checksum = checksum
        self._sha256 = RUNNING.take(upload, offset)
        if self._sha256 is not None:  # for whoever tries again, should nothing of this be acknowledged
            RUNNING.keep(upload, offset, self._sha256.copy())
        self._body_hash = tus.CHECKSUMS[checksum.algorithm]() if checksum else None
        self._arrived = offset
        self._written = offset
        self._acknowledged = offset
        self._writing: asyncio.Task[None] | None = None
        self._confirming: asyncio.Task[None] | None = None

    async def take(self, body: AsyncIterator[bytes]) -> int:
        """Take the whole body; returns the new offset.

        ``body`` raises :class:`CutOffError` when the client goes away. Raises that,
        :class:`ChecksumMismatchError`, :class:`UploadTooLargeError`, :class:`OffsetMismatchError` and
        :class:`~loadstone.publishing.models.StorageFullError`; acknowledged bytes stay in each case.
        """
        try:
            try:
                await self._take_all(body)
            except CutOffError:
                if self._checksum is None:
                    await self._finish()
                raise
            await self._finish()
        finally:
            await self._settle_tasks()
        return self._acknowledged

    async def _take_all(self, body: AsyncIterator[bytes]) -> None:
        batch: list[bytes] = []
        size = 0
        try:
            async for chunk in body:
                if not chunk:
                    continue
                self._arrived += len(chunk)
                if self._arrived > self._length:
                    raise UploadTooLargeError(f"The upload was said to have {self._length} bytes; these are more.")
                batch.append(chunk)
                size += len(chunk)
                if size >= BATCH_BYTES:
                    await self._pass_on(batch, size)
                    batch, size = [], 0
        except CutOffError:
            await self._pass_on(batch, size)
            raise
        await self._pass_on(batch, size)

    async def _pass_on(self, batch: list[bytes], size: int) -> None:
        """Give a batch to the threads once the one before it is through."""
        await self._batch_done()
        if batch:
            UPLOADED.inc(size)
            self._writing = asyncio.create_task(self._write(batch, size))

    async def _batch_done(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None
        confirming = self._confirming
        if confirming is not None and confirming.done():
            self._confirming = None
            confirming.result()
        if (
            self._confirming is None
            and self._checksum is None
            and self._written - self._acknowledged >= CHECKPOINT_BYTES
            and self._written < self._length
        ):
            self._confirming = asyncio.create_task(self._confirmation())

    async def _write(self, batch: list[bytes], size: int) -> None:
        hashing = asyncio.to_thread(_update, batch, [h for h in (self._sha256, self._body_hash) if h is not None])
        await asyncio.gather(self._writer.write(batch), hashing)
        self._written += size

    def _confirmation(self) -> Coroutine[Any, Any, None]:
        """Make all that is written by now durable, then acknowledge it; more may be written meanwhile."""
        state = self._sha256.copy() if self._sha256 is not None else None
        return self._confirm(self._written, state, self._writer.mark())

    async def _confirm(self, reached: int, state: Any | None, durable: Awaitable[Piece | None]) -> None:
        piece = await durable
        digest: bytes | None = state.digest() if state is not None and reached == self._length else None
        hours = dt.timedelta(hours=self._platform.config.upload_hours)
        async with self._platform.transaction() as tx:
            moved = await store.acknowledge(
                tx, self._upload, before=self._acknowledged, received=reached, sha256=digest,
                expires_at=self._platform.clock.now() + hours, piece=piece,
            )  # fmt: skip
        if not moved:
            raise OffsetMismatchError("Another request moved or ended this upload; ask with HEAD where it stands.")
        self._acknowledged = reached
        if state is not None and reached < self._length:
            RUNNING.keep(self._upload, reached, state)
        else:
            RUNNING.forget(self._upload)

    async def _finish(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None
        if self._confirming is not None:
            await self._confirming
            self._confirming = None
        if self._checksum is not None and self._body_hash is not None:
            found: bytes = self._body_hash.digest()
            if not hmac.compare_digest(found, self._checksum.digest):
                raise ChecksumMismatchError
        if self._written > self._acknowledged:
            await self._confirmation()

    async def _settle_tasks(self) -> None:
        """Nothing of this request runs any more when the hold on the upload ends."""
        for task in (self._writing, self._confirming):
            if task is None:
                continue
            with contextlib.suppress(Exception):
                await asyncio.shield(task)


def _update(batch: Sequence[bytes], hashes: Sequence[Any]) -> None:
    for chunk in batch:
        for digest in hashes:
            digest.update(chunk)

"""The use cases of uploads: start, see, send to, end, expire."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Final

from loadstone.identity.models import Actor
from loadstone.kernel.db import Row
from loadstone.kernel.errors import NotFoundError
from loadstone.kernel.ids import InvalidIdError, decode, encode
from loadstone.kernel.pages import Page, page, read_cursor
from loadstone.kernel.platform import Platform
from loadstone.publishing import store, tus
from loadstone.publishing.models import (
    OffsetMismatchError,
    TooManyUploadsError,
    Upload,
    UploadCompleteError,
    UploadGoneError,
    UploadTooLargeError,
)
from loadstone.publishing.receiving import Reception
from loadstone.publishing.staging import staging_of

_AT_ONCE: Final = 200
_FORGOTTEN_AFTER: Final = dt.timedelta(days=7)


async def start(platform: Platform, actor: Actor, length: int, metadata: Mapping[str, str]) -> Upload:
    """Open an upload of ``length`` bytes. Raises :class:`TooManyUploadsError` and
    :class:`~loadstone.publishing.models.StorageFullError`.
    """
    staging_of(platform).check_room(length)
    id_, now = platform.ids.new(), platform.clock.now()
    async with platform.transaction() as tx:
        most = platform.config.uploads_per_member
        if await store.unused_uploads(tx, actor.member, now) >= most:
            raise TooManyUploadsError(f"You have {most} unfinished uploads; finish them or end some with DELETE.")
        await store.insert_upload(
            tx, id_=id_, member=actor.member, length=length, metadata=metadata, now=now,
            expires_at=now + dt.timedelta(hours=platform.config.upload_hours),
        )  # fmt: skip
    return as_upload(await find(platform, actor, encode("upload", id_)))


async def find(platform: Platform, actor: Actor, name: str) -> Row:
    """An upload of the actor's, also one that is over. Raises :class:`NotFoundError`."""
    missing = NotFoundError("You have no upload of this id.")
    try:
        id_ = decode("upload", name)
    except InvalidIdError:
        raise missing from None
    row = await store.upload(platform.db, id_)
    if row is None or row["member_id"] != actor.member:
        raise missing
    return row


async def see(platform: Platform, actor: Actor, name: str) -> Row:
    """An upload of the actor's whose bytes are still here. Raises :class:`NotFoundError`,
    :class:`UploadGoneError`.
    """
    row = await find(platform, actor, name)
    _check_alive(platform, row)
    return row


async def listing(platform: Platform, actor: Actor, cursor: str | None, limit: int) -> Page[Upload]:
    """The actor's uploads, newest first."""
    name = f"uploads {actor.member}"
    after = read_cursor(platform.signer, name, cursor)
    rows = await store.uploads_of(platform.db, actor.member, after[0] if after else None, limit + 1)
    return page(platform.signer, name, rows, limit, lambda r: [r["id"]], as_upload)


async def send(
    platform: Platform,
    actor: Actor,
    name: str,
    *,
    offset: int,
    body: AsyncIterator[bytes],
    size: int | None = None,
    checksum: tus.Checksum | None = None,
) -> Upload:
    """Append a body to an upload at the offset that was acknowledged last.

    ``size`` is the body's length in bytes where the client said it. Raises what :meth:`Reception.take`
    does, :class:`UploadGoneError`, :class:`UploadCompleteError`, :class:`OffsetMismatchError`,
    :class:`UploadTooLargeError` and :class:`~loadstone.publishing.models.UploadBusyError`.
    """
    id_ = (await see(platform, actor, name))["id"]
    async with staging_of(platform).hold(id_) as writer:
        row = await see(platform, actor, name)  # again: only now nobody else moves it
        if row["state"] != "open":
            raise UploadCompleteError
        if offset != row["received"]:
            raise OffsetMismatchError(
                f"The upload stands at {row['received']}, not at {offset}; ask with HEAD and go on from there.",
                headers={"Upload-Offset": str(row["received"])},
            )
        if size is not None and offset + size > row["length"]:
            raise UploadTooLargeError(f"The upload was said to have {row['length']} bytes; these are more.")
        await writer.start(offset)
        reception = Reception(
            platform, writer, upload=id_, length=row["length"], offset=offset, checksum=checksum
        )  # fmt: skip
        await reception.take(body)
    return as_upload(await find(platform, actor, name))


async def end(platform: Platform, actor: Actor, name: str) -> None:
    """End an upload and delete its bytes; one that a release has taken stays with the release."""
    id_ = (await see(platform, actor, name))["id"]
    async with platform.transaction() as tx:
        ended = await store.end_upload(tx, id_)
    if not ended:
        raise UploadGoneError("A release was made of this upload; it cannot be ended any more.")
    await staging_of(platform).discard(id_)


async def expire(platform: Platform) -> None:
    """Expire what was abandoned and delete staged bytes that nothing needs; a timer calls it."""
    staging, now = staging_of(platform), platform.clock.now()
    more = True
    while more:
        async with platform.transaction() as tx:
            expired = await store.expire_uploads(tx, now, _AT_ONCE)
        for id_ in expired:
            await staging.discard(id_)
        more = len(expired) == _AT_ONCE
    await _sweep(platform)
    async with platform.transaction() as tx:
        await store.forget_uploads(tx, now - _FORGOTTEN_AFTER, 10 * _AT_ONCE)


async def _sweep(platform: Platform) -> None:
    """Delete what a crash left between the end of an upload and the deletion of its bytes."""
    staging = staging_of(platform)
    batch: list[int] = []

    async def discard_unneeded() -> None:
        needed = await store.needed_uploads(platform.db, batch)
        for id_ in batch:
            if id_ not in needed:
                await staging.discard(id_)
        batch.clear()

    async for id_ in staging.uploads():
        batch.append(id_)
        if len(batch) == _AT_ONCE:
            await discard_unneeded()
    if batch:
        await discard_unneeded()


def _check_alive(platform: Platform, row: Row) -> None:
    if row["state"] == "expired":
        raise UploadGoneError
    if row["state"] in {"open", "complete"} and row["expires_at"] <= platform.clock.now():
        raise UploadGoneError("This upload has expired; start a new one.")


def as_upload(row: Row) -> Upload:
    """The public form of an upload's row."""
    metadata = row["metadata"]
    return Upload(
        id=encode("upload", row["id"]), length=row["length"], received=row["received"], state=row["state"],
        file_name=metadata.get("filename") or metadata.get("name") or "",
        sha256=row["sha256"].hex() if row["sha256"] is not None else None,
        created_at=row["created_at"], expires_at=row["expires_at"],
    )  # fmt: skip

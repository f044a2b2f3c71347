"""What the pipeline does to releases and artifacts, each inside the caller's transaction."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadstone.catalog import release_writes, writes
from loadstone.catalog.authoring import mod_tags
from loadstone.kernel.db import Row, Transaction
from loadstone.kernel.platform import Platform


class OnItsWay(msgspec.Struct, frozen=True):
    """A release that the pipeline works on."""

    id: int
    chain_id: int
    mod_id: int
    game_id: int
    game_slug: str
    version: str
    created_by: int | None

    @property
    def tags(self) -> list[str]:
        """The cache tags that a change of it makes stale."""
        return [*mod_tags(self.mod_id, self.game_slug), f"release:{self.id}"]


async def add_release(tx: Transaction, values: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> bool:
    """A release in the state ``processing`` at the end of its chain, with its files.

    ``values`` are the columns of ``releases``; False when the chain has a release of this version.
    """
    await release_writes.lock_chain(tx, values["chain_id"])
    if not await release_writes.insert_release(tx, values):
        return False
    await release_writes.insert_files(tx, values["id"], files)
    return True


async def on_its_way(platform: Platform, release_id: int) -> OnItsWay | None:
    """A release as the pipeline needs it, in whatever state; None when there is none."""
    row = await release_writes.on_its_way(platform.db, release_id)
    return OnItsWay(**row) if row else None


async def files(platform: Platform, release_id: int) -> list[Row]:
    """A release's stored files: place, file_name, artifact_id, sha256, size, md5, verdict."""
    return await release_writes.files(platform.db, release_id)


async def attach(tx: Transaction, release_id: int, place: int, *, fresh_id: int, sha256: bytes, size: int) -> int:
    """Say what a release's file is made of; equal bytes are one artifact. Returns the artifact's id."""
    artifact_id = await release_writes.insert_artifact(tx, fresh_id, sha256, size)
    await release_writes.set_file_artifact(tx, release_id, place, artifact_id)
    return artifact_id


set_digests = release_writes.set_digests
insert_entries = release_writes.insert_entries
set_verdict = release_writes.set_verdict
unclean_files = release_writes.unclean_files


async def lock_processing(tx: Transaction, release: OnItsWay) -> bool:
    """Lock a release and its place; False when it is not on its way any more."""
    await release_writes.lock_chain(tx, release.chain_id)
    row = await writes.lock_release(tx, release.id)
    return row is not None and row["state"] == "processing"


async def publish(tx: Transaction, release: OnItsWay, now: dt.datetime) -> None:
    """Publish a locked release at the end of its chain, in its history and the event log too."""
    await release_writes.move_last(tx, release.id, release.chain_id)
    await release_writes.set_published(tx, release.id, now)
    await writes.touch_mod(tx, release.mod_id, now)
    await writes.record(
        tx, release.id, "publish", before={"state": "processing"}, after={"state": "published"},
        actor=release.created_by,
    )  # fmt: skip
    await tx.emit(
        "release.published", subject=release.id, game=release.game_id, actor=release.created_by,
        data={"mod": release.mod_id, "chain": release.chain_id, "version": release.version}, tags=release.tags,
    )  # fmt: skip


async def refuse(tx: Transaction, release: OnItsWay, reason: str) -> None:
    """Refuse a locked release; its version may be used again."""
    await writes.set_release_state(tx, release.id, "refused", reason, None)
    await writes.record(
        tx, release.id, "refuse", before={"state": "processing"}, after={"state": "refused"},
        actor=None, reason=reason,
    )  # fmt: skip
    await tx.emit(
        "release.refused", subject=release.id, game=release.game_id, actor=release.created_by,
        data={"mod": release.mod_id, "version": release.version, "reason": reason}, tags=release.tags,
    )  # fmt: skip

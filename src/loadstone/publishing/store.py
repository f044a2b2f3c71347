"""The SQL of uploads and of the stages of releases."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadstone.kernel.db import Database, Row, Transaction
from loadstone.publishing.models import STAGES, Piece

_UPLOAD: Final = "id, member_id, length, received, metadata, state, sha256, created_at, expires_at"


async def insert_upload(
    tx: Transaction, *, id_: int, member: int, length: int, metadata: Mapping[str, str], expires_at: dt.datetime,
    now: dt.datetime,
) -> None:  # fmt: skip
    await tx.execute(
        "insert into uploads (id, member_id, length, metadata, created_at, expires_at)"
        " values ($1, $2, $3, $4, $6, $5)",
        id_, member, length, dict(metadata), expires_at, now,
    )  # fmt: skip


async def unused_uploads(tx: Transaction, member: int, now: dt.datetime) -> int:
    """How many uploads of a member wait for bytes or a release; one count at a time per member."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended('loadstone uploads', $1))", member)
    found: int = await tx.fetchval(
        "select count(*) from uploads where member_id = $1 and state in ('open', 'complete') and expires_at > $2",
        member, now,
    )  # fmt: skip
    return found


async def upload(db: Database, id_: int) -> Row | None:
    return await db.fetchrow(f"select {_UPLOAD} from uploads where id = $1", id_)


async def uploads_by_id(db: Database, ids: Sequence[int], member: int) -> dict[int, Row]:
    rows = await db.fetch(f"select {_UPLOAD} from uploads where id = any($1) and member_id = $2", list(ids), member)
    return {row["id"]: row for row in rows}


async def uploads_of(db: Database, member: int, after: int | None, limit: int) -> list[Row]:
    """A member's uploads, newest first."""
    return await db.fetch(
        f"select {_UPLOAD} from uploads where member_id = $1 and ($2::bigint is null or id < $2)"
        " order by id desc limit $3",
        member, after, limit,
    )  # fmt: skip


async def acknowledge(
    tx: Transaction, id_: int, *, before: int, received: int, sha256: bytes | None, expires_at: dt.datetime,
    piece: Piece | None,
) -> bool:  # fmt: skip
    """Move the offset, if it still is ``before`` and the upload open; the last byte completes it."""
    moved = await tx.fetchval(
        "update uploads set received = $3, expires_at = $5,"
        " state = case when $3 = length then 'complete' else state end,"
        " sha256 = case when $3 = length then $4::bytea end"
        " where id = $1 and received = $2 and state = 'open' returning true",
        id_, before, received, sha256, expires_at,
    )  # fmt: skip
    if moved and piece is not None:
        await tx.execute(
            "insert into upload_pieces (upload_id, start, length, name) values ($1, $2, $3, $4)",
            id_, piece.start, piece.length, piece.name,
        )  # fmt: skip
    return bool(moved)


async def pieces(db: Database, upload: int) -> list[Piece]:
    rows = await db.fetch("select start, length, name from upload_pieces where upload_id = $1 order by start", upload)
    return [Piece(row["start"], row["length"], row["name"]) for row in rows]


async def end_upload(tx: Transaction, id_: int) -> bool:
    """Expire an upload that no release has taken."""
    return bool(
        await tx.fetchval(
            "update uploads set state = 'expired' where id = $1 and state in ('open', 'complete') returning true", id_
        )
    )


async def expire_uploads(tx: Transaction, now: dt.datetime, limit: int) -> list[int]:
    """Expire the uploads whose time is over."""
    rows = await tx.fetch(
        "update uploads set state = 'expired' where id in ("
        " select id from uploads where state in ('open', 'complete') and expires_at < $1"
        " order by expires_at limit $2 for update skip locked) returning id",
        now, limit,
    )  # fmt: skip
    return [row["id"] for row in rows]


async def forget_uploads(tx: Transaction, before: dt.datetime, limit: int) -> None:
    """Delete the rows of uploads that expired long ago."""
    await tx.execute(
        "delete from uploads where id in ("
        " select id from uploads where state = 'expired' and expires_at < $1 limit $2 for update skip locked)",
        before, limit,
    )  # fmt: skip


async def needed_uploads(db: Database, ids: Sequence[int]) -> set[int]:
    """Those of the uploads whose staged bytes are still needed."""
    rows = await db.fetch(
        "select id from uploads where id = any($1) and state in ('open', 'complete', 'used')", list(ids)
    )
    return {row["id"] for row in rows}


async def use_uploads(tx: Transaction, release: int, ids: Sequence[int], member: int) -> bool:
    """Give complete uploads to a release, in the order of its files; False when one was not to be had."""
    taken = await tx.fetch(
        "update uploads set state = 'used' where id = any($1) and member_id = $2 and state = 'complete' returning id",
        list(ids), member,
    )  # fmt: skip
    if len(taken) != len(ids):
        return False
    await tx.execute_many(
        "insert into release_uploads (release_id, place, upload_id) values ($1, $2, $3)",
        [(release, place, id_) for place, id_ in enumerate(ids)],
    )
    return True


async def uploads_of_release(db: Database, release: int) -> list[Row]:
    """The uploads that become a release's files, in order."""
    return await db.fetch(
        "select u.id, u.length, u.state, u.sha256, x.place from release_uploads x join uploads u on u.id = x.upload_id"
        " where x.release_id = $1 order by x.place",
        release,
    )


async def mark_stored(tx: Transaction, upload: int, sha256: bytes) -> None:
    await tx.execute("update uploads set state = 'stored', sha256 = $2 where id = $1", upload, sha256)


async def insert_stages(tx: Transaction, release: int, data: Mapping[str, Any]) -> None:
    """Make a release's stages; ``data`` is what its last stage will need."""
    await tx.execute_many(
        "insert into release_stages (release_id, place, stage, data) values ($1, $2, $3, $4)",
        [(release, place, stage, data if stage == STAGES[-1] else {}) for place, stage in enumerate(STAGES)],
    )


async def stages(db: Database, release: int) -> list[Row]:
    return await db.fetch(
        "select stage, state, detail, started_at, finished_at from release_stages where release_id = $1 order by place",
        release,
    )


async def begin_stage(tx: Transaction, release: int, stage: str, now: dt.datetime) -> Row | None:
    """Start or start again; None when the stage is over or the release not on its way any more."""
    return await tx.fetchrow(
        "update release_stages s set state = 'running', detail = '', started_at = coalesce(s.started_at, $3)"
        " from releases r where r.id = s.release_id and s.release_id = $1 and s.stage = $2"
        " and r.state = 'processing' and s.state in ('waiting', 'running', 'parked') returning s.data, r.mod_id",
        release, stage, now,
    )  # fmt: skip


async def end_stage(tx: Transaction, release: int, stage: str, state: str, detail: str, now: dt.datetime) -> bool:
    """False when it was over before."""
    return bool(
        await tx.fetchval(
            "update release_stages set state = $3, detail = $4, finished_at = $5"
            " where release_id = $1 and stage = $2 and state in ('waiting', 'running', 'parked') returning true",
            release, stage, state, detail, now,
        )
    )  # fmt: skip


async def park_stage(tx: Transaction, release: int, stage: str, detail: str) -> None:
    await tx.execute(
        "update release_stages set state = 'parked', detail = $3"
        " where release_id = $1 and stage = $2 and state in ('waiting', 'running')",
        release, stage, detail,
    )  # fmt: skip


async def verdict(db: Database, artifact: int, profile: str, extension: str) -> Row | None:
    return await db.fetchrow(
        "select verdict, reasons, warnings from artifact_verdicts"
        " where artifact_id = $1 and profile = $2 and extension = $3",
        artifact, profile, extension,
    )  # fmt: skip


async def insert_verdict(
    tx: Transaction, artifact: int, profile: str, extension: str, *, verdict: str, reasons: list[Any],
    warnings: list[Any],
) -> None:  # fmt: skip
    await tx.execute(
        "insert into artifact_verdicts (artifact_id, profile, extension, verdict, reasons, warnings)"
        " values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        artifact, profile, extension, verdict, reasons, warnings,
    )  # fmt: skip

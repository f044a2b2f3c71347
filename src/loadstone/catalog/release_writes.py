"""The SQL of releases on their way, and of the artifacts that they are made of."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from loadstone.kernel.db import Database, Row, Transaction


async def lock_chain(tx: Transaction, chain_id: int) -> None:
    """Releases of a chain are placed one at a time."""
    await tx.execute("select from chains where id = $1 for update", chain_id)


async def insert_release(tx: Transaction, values: Mapping[str, Any]) -> bool:
    """At the end of its chain, which is locked; False when the chain has a release of this version."""
    return bool(
        await tx.fetchval(
            "insert into releases (id, chain_id, mod_id, game_id, version, version_key, channel, line, changelog,"
            "   created_by, created_at, place)"
            " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
            "   coalesce((select max(place) from releases where chain_id = $2), 0) + 1)"
            " on conflict (chain_id, version) where state <> 'refused' do nothing returning true",
            values["id"], values["chain_id"], values["mod_id"], values["game_id"], values["version"],
            values["version_key"], values["channel"], values["line"], values["changelog"], values["created_by"],
            values["created_at"],
        )
    )  # fmt: skip


async def insert_files(tx: Transaction, release_id: int, files: Sequence[Mapping[str, Any]]) -> None:
    """A release's files in order; what they are made of comes later."""
    await tx.execute_many(
        "insert into release_artifacts (release_id, place, file_name, role, loaders, os, side, size)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8)",
        [
            (
                release_id, place, file["file_name"], file["role"], file["loaders"], file["os"], file["side"],
                file["size"],
            )
            for place, file in enumerate(files)
        ],
    )  # fmt: skip


async def move_last(tx: Transaction, release_id: int, chain_id: int) -> None:
    """Put a release at the end of its chain, which is locked; nothing happens when it is there."""
    await tx.execute(
        "update releases set place = (select max(place) + 1 from releases where chain_id = $2)"
        " where id = $1 and place < (select max(place) from releases where chain_id = $2)",
        release_id, chain_id,
    )  # fmt: skip


async def insert_artifact(tx: Transaction, id_: int, sha256: bytes, size: int) -> int:
    """The id of the one artifact with these bytes."""
    found: int = await tx.fetchval(
        "insert into artifacts (id, sha256, size) values ($1, $2, $3)"
        " on conflict (sha256) do update set size = artifacts.size returning id",
        id_, sha256, size,
    )  # fmt: skip
    return found


async def set_file_artifact(tx: Transaction, release_id: int, place: int, artifact_id: int) -> None:
    await tx.execute(
        "update release_artifacts set artifact_id = $3 where release_id = $1 and place = $2",
        release_id, place, artifact_id,
    )  # fmt: skip


async def files(db: Database, release_id: int) -> list[Row]:
    """A release's own files with their artifacts."""
    return await db.fetch(
        "select x.place, x.file_name, a.id as artifact_id, a.sha256, a.size, a.md5, a.verdict"
        " from release_artifacts x join artifacts a on a.id = x.artifact_id"
        " where x.release_id = $1 order by x.place",
        release_id,
    )


async def set_digests(
    tx: Transaction, artifact_id: int, *, md5: bytes, sha1: bytes, sha512: bytes, murmur2: int
) -> None:
    await tx.execute(
        "update artifacts set md5 = $2, sha1 = $3, sha512 = $4, murmur2 = $5 where id = $1",
        artifact_id, md5, sha1, sha512, murmur2,
    )  # fmt: skip


async def insert_entries(
    tx: Transaction, artifact_id: int, first: int, entries: Sequence[tuple[str, int, bytes, str]]
) -> None:
    """(path, size, SHA-256, kind) of an archive's files; those that are there stay."""
    paths, sizes, digests, kinds = zip(*entries, strict=True)
    await tx.execute(
        "insert into artifact_entries (artifact_id, place, path, size, sha256, kind)"
        " select $1, $2 + n.nth - 1, n.path, n.size, n.sha256, n.kind"
        " from unnest($3::text[], $4::bigint[], $5::bytea[], $6::text[]) with ordinality"
        "   as n (path, size, sha256, kind, nth) on conflict do nothing",
        artifact_id, first, paths, sizes, digests, kinds,
    )  # fmt: skip


async def set_verdict(
    tx: Transaction, artifact_id: int, *, verdict: str, reason: str, format_: str, entries: int | None,
    unpacked: int | None,
) -> None:  # fmt: skip
    """A clean verdict stands against a refusal by another game's rules; a quarantine stands against both."""
    await tx.execute(
        "update artifacts set verdict = $2, verdict_reason = $3, format = coalesce(nullif($4, ''), format),"
        " entry_count = coalesce($5, entry_count), unpacked_size = coalesce($6, unpacked_size)"
        " where id = $1 and (verdict = 'waiting' or (verdict = 'refused' and $2 = 'clean'))",
        artifact_id, verdict, reason, format_, entries, unpacked,
    )  # fmt: skip


async def unclean_files(tx: Transaction, release_id: int) -> list[Row]:
    """The files of a release that are not known to be clean, with what is known."""
    return await tx.fetch(
        "select x.file_name, coalesce(a.verdict, 'waiting') as verdict from release_artifacts x"
        " left join artifacts a on a.id = x.artifact_id"
        " where x.release_id = $1 and a.verdict is distinct from 'clean' order by x.place",
        release_id,
    )


async def set_published(tx: Transaction, release_id: int, now: dt.datetime) -> None:
    await tx.execute(
        "update releases set state = 'published', state_reason = '', published_at = $2, edit = edit + 1 where id = $1",
        release_id, now,
    )  # fmt: skip


async def on_its_way(db: Database, release_id: int) -> Row | None:
    return await db.fetchrow(
        "select r.id, r.chain_id, r.mod_id, r.game_id, g.slug as game_slug, r.version, r.created_by"
        " from releases r join games g on g.id = r.game_id where r.id = $1",
        release_id,
    )

"""Releases whose bytes are really in the store, made without the pipeline."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from loadstone.kernel.ids import decode, encode
from loadstone.kernel.platform import Platform


class Published(msgspec.Struct, frozen=True):
    """A release with one file."""

    id: str
    mod: str
    sha256: str
    content: bytes
    file_name: str

    @property
    def tickets(self) -> str:
        return f"/api/v1/releases/{self.id}/tickets"

    @property
    def number(self) -> int:
        return decode("release", self.id)

    @property
    def mod_number(self) -> int:
        return decode("mod", self.mod)


async def publish(
    platform: Platform,
    mod: dict[str, Any],
    content: bytes = b"sharp " * 1000,
    *,
    version: str = "1.0",
    file_name: str = "sharper swords.zip",
    state: str = "published",
    verdict: str = "clean",
) -> Published:
    """A release of the mod's default chain with this content as its main file."""
    sha256, size = await platform.blobs.put_stream(_one(content))
    artifact = platform.ids.new()
    async with platform.transaction() as tx:
        artifact = await tx.fetchval(
            "insert into artifacts (id, sha256, size, md5, verdict) values ($1, $2, $3, $4, $5)"
            " on conflict (sha256) do update set verdict = excluded.verdict returning id",
            artifact, bytes.fromhex(sha256), size, hashlib.md5(content, usedforsecurity=False).digest(), verdict,
        )  # fmt: skip
    release = await insert_release(platform, mod, version=version, state=state)
    async with platform.transaction() as tx:
        await tx.execute(
            "insert into release_artifacts (release_id, place, artifact_id, file_name) values ($1, 0, $2, $3)",
            release, artifact, file_name,
        )  # fmt: skip
    return Published(encode("release", release), mod["id"], sha256, content, file_name)


async def publish_elsewhere(platform: Platform, mod: dict[str, Any], url: str | None, *, version: str = "1.0") -> str:
    """A release whose file lies elsewhere; returns its id."""
    release = await insert_release(platform, mod, version=version, state="published")
    async with platform.transaction() as tx:
        await tx.execute(
            "insert into release_artifacts (release_id, place, file_name, size, url) values ($1, 0, 'far.zip', 7, $2)",
            release, url,
        )  # fmt: skip
    return encode("release", release)


async def insert_release(platform: Platform, mod: dict[str, Any], *, version: str, state: str) -> int:
    release = platform.ids.new()
    async with platform.transaction() as tx:
        await tx.execute(
            "insert into releases (id, chain_id, mod_id, game_id, version, version_key, place, state, published_at)"
            " select $1, c.id, c.mod_id, c.game_id, $3, $3::text::bytea,"
            "   coalesce((select max(place) from releases where chain_id = c.id), 0) + 1, $4, now()"
            " from chains c where c.mod_id = $2 and c.is_default",
            release, decode("mod", mod["id"]), version, state,
        )  # fmt: skip
    return release


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def grants(platform: Platform) -> list[Any]:
    """The download log."""
    return list(await platform.db.fetch("select *, xid::text from grants order by era, grants.xid, id"))

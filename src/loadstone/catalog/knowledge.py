"""What the solver knows of a game, and what it may offer: for rooms that plan installations.

Law 3 holds here as everywhere: mods that are not in reach and releases that were never published are not
read at all, and :func:`offered` asks the tables again just before something is handed out.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from loadstone.catalog import knowledge_store, service, store
from loadstone.catalog.models import Mod, Release, Visibility, may_fetch, may_see_release
from loadstone.catalog.service import as_artifact, as_release
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel.platform import Platform


class KnownChain(msgspec.Struct, frozen=True):
    """A chain of a mod in reach."""

    id: int
    package: str
    is_default: bool
    name: str
    mod_id: int
    mod_slug: str
    mod_name: str
    number: int
    visibility: Visibility
    downloads: int


class KnownRelease(msgspec.Struct, frozen=True):
    """A published, yanked or archived release."""

    id: int
    chain_id: int
    version: str
    channel: str
    state: str
    published_at: dt.datetime | None


class KnownFile(msgspec.Struct, frozen=True):
    """A file of a release of which not all files are for everybody and clean."""

    release_id: int
    role: str
    loaders: list[str]
    os: list[str]
    side: str
    verdict: str


class KnownClaim(msgspec.Struct, frozen=True):
    """A claim that stands, about a chain or one of its releases."""

    id: int
    chain_id: int
    release_id: int | None
    kind: str
    body: dict[str, Any]
    source: str


class Knowledge(msgspec.Struct, frozen=True):
    """Everything of a game, or of some of its mods. Releases newest first in each chain; claims oldest first."""

    chains: list[KnownChain]
    releases: list[KnownRelease]
    narrow_files: list[KnownFile]
    claims: list[KnownClaim]


class Offer(msgspec.Struct, frozen=True):
    """A release that anyone may fetch at this moment."""

    mod: Mod
    release: Release


async def of_game(platform: Platform, game_id: int, mod_ids: Sequence[int] | None = None) -> Knowledge:
    """What is known of a game, or of some of its mods, in four statements."""
    wanted = None if mod_ids is None else list(mod_ids)
    db = platform.db
    return Knowledge(
        [KnownChain(**row) for row in await knowledge_store.chains(db, game_id, wanted)],
        [KnownRelease(**row) for row in await knowledge_store.releases(db, game_id, wanted)],
        [KnownFile(**row) for row in await knowledge_store.narrow_files(db, game_id, wanted)],
        [KnownClaim(**row) for row in await knowledge_store.claims(db, game_id, wanted)],
    )


async def builds(platform: Platform, game_id: int) -> list[str]:
    """A game's builds, oldest first."""
    return [row["name"] for row in await store.builds(platform.db, game_id)]


async def mods_of(platform: Platform, ids: Sequence[int]) -> list[int]:
    """The mods that these ids are, or belong to as chains or releases."""
    return await knowledge_store.mods_of(platform.db, ids)


async def mods_by_slug(platform: Platform, game_slug: str, slugs: Sequence[str]) -> dict[str, int]:
    """Slug → mod, by old slugs too."""
    rows = await store.mod_ids_by_slug(platform.db, [(game_slug, slug) for slug in slugs])
    return {row["slug"]: row["mod_id"] for row in rows}


async def offered(platform: Platform, release_ids: Sequence[int]) -> dict[int, Offer]:
    """Those of the releases that anyone may fetch now, read from the tables; in three statements."""
    rows = await store.releases_by_id(platform.db, release_ids)
    mods = await service.see_mods(platform, ANONYMOUS, list({row["mod_id"] for row in rows}))
    files = await store.artifacts_of_releases(platform.db, release_ids) if rows else []
    by_release: dict[int, list[Any]] = {}
    for file in files:
        by_release.setdefault(file["release_id"], []).append(file)
    found: dict[int, Offer] = {}
    for row in rows:
        mod = mods.get(row["mod_id"])
        own = by_release.get(row["id"], [])
        if mod is None or not may_see_release(ANONYMOUS, row["state"], in_team=False):
            continue
        if all(
            file["artifact_id"] is None
            or may_fetch(ANONYMOUS, mod.mod.visibility, row["state"], file["verdict"], in_team=False)
            for file in own
        ):
            found[row["id"]] = Offer(mod.mod, as_release(row, [as_artifact(file) for file in own]))
    return found


class ReleaseGame(msgspec.Struct, frozen=True):
    """Which game a release belongs to, and how that orders versions."""

    id: int
    game_id: int
    version_scheme: str


async def games_of_releases(platform: Platform, release_ids: Sequence[int]) -> list[ReleaseGame]:
    """The games of those releases that exist."""
    return [ReleaseGame(**row) for row in await knowledge_store.games_of_releases(platform.db, release_ids)]


async def releases_of_files(platform: Platform, digests: Sequence[str]) -> dict[str, int]:
    """SHA-256 (hex) → the newest release in reach that holds such a file."""
    rows = await knowledge_store.releases_of_files(platform.db, [bytes.fromhex(digest) for digest in digests])
    return {row["sha256"].hex(): row["id"] for row in rows}

"""What may be downloaded: the visibility rule (law 3) applied to files, many at a time.

A right is remembered as the weakest one that suffices, so that a link made for it can be checked again
when its bytes are fetched: whoever was allowed as one of everyone loses it the moment everyone does.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

import msgspec

from loadstone.catalog import store
from loadstone.catalog.models import RemovedError, may_fetch, may_see_mod, may_see_release
from loadstone.identity.models import ANONYMOUS, Actor
from loadstone.kernel.db import Row
from loadstone.kernel.errors import NotFoundError, Problem
from loadstone.kernel.platform import Platform

FileKey = tuple[int, int]
"""A release's id and the file's place in it."""


class Right(IntEnum):
    """As whom someone may fetch a file, weakest first."""

    EVERYONE = 0
    TEAM = 1
    MODERATOR = 2


class Fetchable(msgspec.Struct, frozen=True):
    """A release's file that may be fetched now. ``artifact_id`` is None when its bytes lie elsewhere."""

    release_id: int
    place: int
    mod_id: int
    game_id: int
    artifact_id: int | None
    file_name: str
    size: int | None
    sha256: bytes | None
    md5: bytes | None
    sha1: bytes | None
    sha512: bytes | None
    url: str | None
    right: Right


_MODERATOR: Final = Actor(member_id=0, roles=frozenset({"moderator"}))


async def fetchable(platform: Platform, actor: Actor, keys: Sequence[FileKey]) -> dict[FileKey, Fetchable | Problem]:
    """For each file: what to deliver, or the problem that says why not. Two statements at most."""
    rows = {(r["release_id"], r["place"]): r for r in await store.files_to_fetch(platform.db, keys)}
    teams: Mapping[int, str] = {}
    if actor.member_id is not None and any(r["team_id"] is not None for r in rows.values()):
        teams = await store.teams_of(platform.db, actor.member_id)
    return {key: _judge(actor, rows.get(key), teams) for key in keys}


async def still_fetchable(platform: Platform, key: FileKey, right: Right) -> Fetchable:
    """The file as it stands now, for someone who was given the right a moment ago.

    Raises :class:`NotFoundError`, :class:`RemovedError` when the right carries it no more.
    """
    rows = await store.files_to_fetch(platform.db, [key])
    row = rows[0] if rows else None
    if row is None or row["file_name"] is None:
        raise NotFoundError("There is no such file.")
    if not _carries(right, row):
        raise _why_not(row)
    return _fetchable(row, right)


def _judge(actor: Actor, row: Row | None, teams: Mapping[int, str]) -> Fetchable | Problem:
    missing = NotFoundError("There is no such release.")
    if row is None:
        return missing
    in_team = row["team_id"] in teams
    if not may_see_mod(actor, row["visibility"], in_team=in_team):
        return _why_not(row) if row["visibility"] == "removed" else missing
    if not may_see_release(actor, row["state"], in_team=in_team):
        return missing
    if row["file_name"] is None:
        return NotFoundError("The release has no such file.")
    for right, held in (
        (Right.EVERYONE, True),
        (Right.TEAM, in_team),
        (Right.MODERATOR, actor.is_moderator),
    ):
        if held and _carries(right, row):
            return _fetchable(row, right)
    return _why_not(row)


def _carries(right: Right, row: Row) -> bool:
    """The rule for bytes; what lies elsewhere has no verdict of ours and follows the rest of the rule."""
    verdict = "clean" if row["artifact_id"] is None else row["verdict"]
    return may_fetch(
        _MODERATOR if right is Right.MODERATOR else ANONYMOUS,
        row["visibility"],
        row["state"],
        verdict,
        in_team=right is Right.TEAM,
    )


def _why_not(row: Row) -> Problem:
    if row["visibility"] == "removed" and row["published_at"] is not None:
        return RemovedError()
    return NotFoundError("This file cannot be fetched now.")


def _fetchable(row: Row, right: Right) -> Fetchable:
    return Fetchable(
        row["release_id"], row["place"], row["mod_id"], row["game_id"], row["artifact_id"], row["file_name"],
        row["size"], row["sha256"], row["md5"], row["sha1"], row["sha512"], row["url"], right,
    )  # fmt: skip

"""Granting downloads: a ticket is promised in the very transaction that counts it (laws 1 and 2)."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Final

from loadstone.catalog.fetching import Fetchable, FileKey, fetchable
from loadstone.delivery import store
from loadstone.delivery.links import make_link
from loadstone.delivery.models import ElsewhereError, ExpiredLinkError, Reason, Ticket, TicketRequest, Wanted
from loadstone.identity.models import Actor
from loadstone.kernel.errors import NotFoundError, Problem
from loadstone.kernel.ids import InvalidIdError, decode, encode, made_at
from loadstone.kernel.metrics import GRANTS
from loadstone.kernel.platform import Platform

RENEWABLE: Final = dt.timedelta(hours=24)
"""How long a ticket can be renewed: long enough to resume a large download the next morning."""


async def grant(platform: Platform, actor: Actor, release: str, asked: TicketRequest) -> Ticket:
    """A ticket for one file. Raises :class:`NotFoundError`, :class:`GoneError`, :class:`ElsewhereError`."""
    (outcome,) = await grant_many(platform, actor, [Wanted(release, asked.file)], asked.reason)
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


async def grant_many(
    platform: Platform, actor: Actor, wanted: Sequence[Wanted], reason: Reason
) -> list[Ticket | Problem]:
    """A ticket or a problem for each wanted file, in order; what is granted is counted in one transaction.

    A file that is named twice gets the same ticket and counts once.
    """
    keys = [_key(w) for w in wanted]
    found = await fetchable(platform, actor, list({k for k in keys if k is not None}))
    granted: dict[FileKey, tuple[store.Grant, Fetchable]] = {}
    outcomes: dict[FileKey, Ticket | Problem] = {}
    for key, file in found.items():
        if isinstance(file, Problem):
            outcomes[key] = file
        elif file.artifact_id is None:
            outcomes[key] = ElsewhereError(url=file.url)
        else:
            granted[key] = (_grant(platform, actor, file, file.artifact_id, reason), file)
    if granted:
        async with platform.transaction() as tx:
            await store.insert_grants(tx, [g for g, _ in granted.values()])
        GRANTS.inc(len(granted))
    for nth, (key, (row, file)) in enumerate(granted.items()):
        outcomes[key] = await _ticket(platform, row.id, file)
        if nth % 50 == 49:
            await asyncio.sleep(0)  # presigning a thousand links takes long enough to be felt by others
    return [outcomes[k] if k is not None else NotFoundError("There is no such release.") for k in keys]


async def renew(platform: Platform, actor: Actor, ticket: str) -> Ticket:
    """A fresh link for a ticket, without counting again; the visibility rule is asked anew.

    Raises :class:`NotFoundError` for another's ticket too, :class:`ExpiredLinkError` after a day.
    """
    missing = NotFoundError("There is no such ticket; ask for one at the release.")
    try:
        id_ = decode("grant", ticket)
    except InvalidIdError:
        raise missing from None
    row = await store.grant(platform.db, made_at(id_), id_)
    if row is None or row["member_id"] not in (None, actor.member_id):
        raise missing
    if platform.clock.now() - made_at(id_) > RENEWABLE:
        raise ExpiredLinkError("This ticket is older than a day; ask for a new one at the release.")
    key = (row["release_id"], row["place"])
    file = (await fetchable(platform, actor, [key]))[key]
    if isinstance(file, Problem):
        raise file
    if file.artifact_id != row["artifact_id"]:
        raise missing
    return await _ticket(platform, id_, file)


def _key(wanted: Wanted) -> FileKey | None:
    try:
        return decode("release", wanted.release), wanted.file
    except InvalidIdError:
        return None


def _grant(platform: Platform, actor: Actor, file: Fetchable, artifact_id: int, reason: Reason) -> store.Grant:
    id_ = platform.ids.new()
    return store.Grant(
        made_at(id_), id_, file.game_id, file.mod_id, file.release_id, file.place, artifact_id,
        actor.member_id, reason,
    )  # fmt: skip


async def _ticket(platform: Platform, id_: int, file: Fetchable) -> Ticket:
    assert file.sha256 is not None
    assert file.size is not None
    url, expires_at = await make_link(platform, id_, file)
    return Ticket(
        id=encode("grant", id_),
        release=encode("release", file.release_id),
        file=file.place,
        url=url,
        expires_at=expires_at,
        file_name=file.file_name,
        size=file.size,
        sha256=file.sha256.hex(),
        md5=file.md5.hex() if file.md5 else None,
        sha1=file.sha1.hex() if file.sha1 else None,
        sha512=file.sha512.hex() if file.sha512 else None,
    )

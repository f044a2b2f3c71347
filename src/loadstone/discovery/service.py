"""Searching: the index proposes, the tables decide (law 6): each hit is read again before it leaves."""

import hashlib
import re
from typing import Final

import msgspec

from loadstone.catalog import service as catalog
from loadstone.catalog.models import SHOWN, ModSummary
from loadstone.discovery.index import DEEPEST
from loadstone.discovery.models import After, Query, SearchPage, Sort, TooDeepError, Wanted
from loadstone.discovery.searching import open_searcher
from loadstone.discovery.typed import understand
from loadstone.identity.models import Actor
from loadstone.kernel.errors import FieldError, NotFoundError
from loadstone.kernel.pages import read_cursor
from loadstone.kernel.platform import Platform

MOST_TAGS: Final = 10
_GAME: Final = re.compile(r"[a-z0-9_-]{1,64}")
_SUMMARY_FIELDS: Final = ModSummary.__struct_fields__


async def search(platform: Platform, actor: Actor, query: Query) -> SearchPage:
    """Published mods that the query asks for.

    Nothing a person types is an error. Raises :class:`NotFoundError` for an unknown game,
    :class:`InvalidInputError` for a foreign cursor, :class:`TooDeepError`, and
    :class:`~loadstone.discovery.models.SearchBuildingError` while there is no index.
    """
    name = _list_name(query)
    after, any_word = _after(platform, name, query)
    wanted = await _wanted(platform, query, any_word=any_word)
    sort: Sort = "updated" if query.sort == "relevance" and wanted.typed.is_empty else query.sort
    searcher = open_searcher(platform)
    found = await searcher.find(wanted, sort, after, query.limit)
    if found.total == 0 and not any_word and _has_more_words_than_one(wanted):
        wanted = msgspec.structs.replace(wanted, any_word=True)
        found = await searcher.find(wanted, sort, after, query.limit)
    items = await _seen(platform, actor, found.ids)
    following = None
    if found.after is not None and found.after.offset < DEEPEST:
        following = platform.signer.sign(f"cursor {name}", [found.after, wanted.any_word])
    return SearchPage(
        items=items,
        next_cursor=following,
        total=found.total,
        facets=found.facets,
        hidden=len(found.ids) - len(items),
        relaxed=wanted.any_word and found.total > 0,
    )


async def _seen(platform: Platform, actor: Actor, ids: list[int]) -> list[ModSummary]:
    """Those of the hits that lists may show now, in their order."""
    if not ids:
        return []
    rows = await catalog.see_mods(platform, actor, ids)
    shown = [rows[id_].mod for id_ in ids if id_ in rows and rows[id_].mod.visibility in SHOWN]
    return [ModSummary(**{field: getattr(mod, field) for field in _SUMMARY_FIELDS}) for mod in shown]


async def _wanted(platform: Platform, query: Query, *, any_word: bool) -> Wanted:
    game_id = None
    if query.game is not None:
        if not _GAME.fullmatch(query.game):
            raise NotFoundError(f"There is no game “{query.game[:64]}” here.")
        game_id = (await catalog.find_game(platform, query.game))["id"]
    return Wanted(
        typed=understand(query.q),
        game_id=game_id,
        category=_plain(query.category),
        tags=tuple(sorted({_plain(tag) or "" for tag in query.tags[:MOST_TAGS]} - {""})),
        loader=_plain(query.loader),
        build=_plain(query.build),
        author=_plain(query.author),
        any_word=any_word,
    )


def _plain(text: str | None) -> str | None:
    """A filter's value; an empty one does not narrow. ``*`` is the index's own sign and no value."""
    if text is None:
        return None
    plain = text.encode("utf-8", "replace").decode().strip()[:200]
    return "?" if plain == "*" else plain or None


def _has_more_words_than_one(wanted: Wanted) -> bool:
    typed = wanted.typed
    return len(typed.words) + len(typed.phrases) + (typed.prefix is not None) > 1


def _list_name(query: Query) -> str:
    """A cursor fits the search that gave it, and no other."""
    asked = msgspec.structs.replace(query, cursor=None, limit=0, q=query.q.encode("utf-8", "replace").decode())
    parts = repr(msgspec.structs.astuple(asked)).encode("utf-8", "replace")
    return f"search {hashlib.sha256(parts).hexdigest()[:24]}"


def _after(platform: Platform, name: str, query: Query) -> tuple[After, bool]:
    keys = read_cursor(platform.signer, name, query.cursor)
    if keys is None:
        return After(), False
    after = msgspec.convert(keys[0], After)
    if after.offset + query.limit > DEEPEST:
        raise TooDeepError(errors=[FieldError("?cursor", f"behind {DEEPEST} hits")])
    return after, bool(keys[1])

"""From the tables to documents: a mod as the index holds it, always of what is in the tables now."""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from loadstone.compat.universe import BuildLine
from loadstone.discovery import store
from loadstone.discovery.models import Document
from loadstone.discovery.words import inner_words, key
from loadstone.kernel.db import Database, Row

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Span = tuple[float, float]
"""First and last place on a line of builds."""
_EVERYWHERE: Final[Span] = (-math.inf, math.inf)
_NOWHERE: Final[Span] = (math.inf, -math.inf)


class Lines:
    """The builds of games in order, read once for as long as this lives."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lines: dict[int, BuildLine] = {}

    async def of(self, game_id: int) -> BuildLine:
        if game_id not in self._lines:
            self._lines[game_id] = BuildLine(await store.builds(self._db, game_id))
        return self._lines[game_id]


async def documents(db: Database, ids: Sequence[int], lines: Lines) -> list[Document]:
    """The documents of those of the mods that are published; four statements, however many they are."""
    rows = await store.published_mods(db, ids)
    if not rows:
        return []
    there = [row["id"] for row in rows]
    files = _by_mod(await store.published_files(db, there))
    claims = _by_mod(await store.build_claims(db, there))
    return [
        _document(row, files.get(row["id"], []), claims.get(row["id"], []), await lines.of(row["game_id"]))
        for row in rows
    ]


def _by_mod(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row["mod_id"], []).append(row)
    return found


def _document(row: Row, files: Sequence[Row], claims: Sequence[Row], line: BuildLine) -> Document:
    releases = {file["release_id"] for file in files}
    builds = [_builds_of(release, claims, line) for release in releases]
    loaders = [file["loaders"] or [] for file in files]
    names = {row["slug"]: None, row["source_key"] or "": None, " ".join(inner_words(row["source_key"] or "")): None}
    return Document(
        id=row["id"],
        game_id=row["game_id"],
        title=row["name"],
        summary=row["summary"],
        description=row["description"],
        authors=tuple(row["authors"]),
        tags=tuple(row["tags"]),
        names=tuple(name for name in names if name and key(name) != key(row["name"])),
        category=row["category"],
        loaders=tuple(sorted({loader for some in loaders for loader in some})),
        builds=tuple(dict.fromkeys(build for some in builds for build in some or ())),
        fits_any_loader=any(not some for some in loaders),
        fits_any_build=any(some is None for some in builds),
        downloads=row["downloads"],
        published_ms=_millis(row["published_at"]),
        updated_ms=_millis(row["updated_at"]),
    )


def _builds_of(release_id: int, claims: Sequence[Row], line: BuildLine) -> list[str] | None:
    """The builds that a release works with; None where nothing narrows them."""
    mine = [claim for claim in claims if claim["release_id"] in {None, release_id}]
    works = [_span(claim["builds"], line) for claim in mine if claim["kind"] == "works_with"]
    broken = [_span(claim["builds"], line) for claim in mine if claim["kind"] == "broken_in"]
    if not works and not broken:
        return None
    spans = works or [_EVERYWHERE]
    points = [(build, line.span(build)[0]) for build in line.builds]
    return [build for build, at in points if _inside(at, spans) and not _inside(at, broken)]


def _inside(at: float, spans: Iterable[Span]) -> bool:
    return any(first <= at <= last for first, last in spans)


def _span(builds: Any, line: BuildLine) -> Span:
    """First and last place of a claim's builds on the line; what is malformed reaches nothing."""
    if not (isinstance(builds, list) and len(builds) == 2):
        return _NOWHERE
    try:
        first = _EVERYWHERE[0] if builds[0] is None else line.span(str(builds[0])[:100])[0]
        last = _EVERYWHERE[1] if builds[1] is None else line.span(str(builds[1])[:100])[1]
    except ValueError:  # no number that Python reads
        return _NOWHERE
    return first, last


def _millis(moment: dt.datetime | None) -> int:
    return 0 if moment is None else int((moment - _EPOCH) / dt.timedelta(milliseconds=1))

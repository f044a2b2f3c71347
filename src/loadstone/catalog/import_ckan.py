"""The catalogue of CKAN (Kerbal Space Program) as data to import.

What becomes what: an identifier is a mod whose default chain has the identifier as its package; a version is
a release. ``depends`` becomes ``requires`` or ``any_of``, ``recommends``, ``conflicts`` and ``provides``
keep their names, ``replaced_by`` of the newest version becomes ``replaces`` on the one that takes over; the
game bounds of a version become its ``works_with`` with ``builds`` [first, last], inclusive of all below a
prefix, None open, and ``strict`` where the author asked for it. Ranges are in the syntax of the ``ckan``
version scheme. A DLC is a mod without files whose chain ``needs`` {"dlc": itself}: it is never installed,
only owned; what depends on it requires its package as any other.

``suggests`` and ``supports`` state no more than a hint and have no kind of claim, so they are counted and
left out, as are the install stanzas and translations. Nothing is invented: no downloads, no dates except
that a version without one counts as old as its neighbour.
"""

import asyncio
import datetime as dt
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from loadstone.catalog.ckan_rows import Bound, Relation, Row
from loadstone.catalog.ckan_source import Located, Source, read_source
from loadstone.catalog.importing import (
    ImportedClaim,
    ImportedFile,
    ImportedGame,
    ImportedMod,
    ImportedRelease,
    Report,
    import_catalogue,
)
from loadstone.catalog.models import Channel, ClaimKind
from loadstone.compat.ranges import Range
from loadstone.compat.versions import InvalidVersion, scheme
from loadstone.kernel.platform import Platform

SOURCE: Final = "ckan"
GAME: Final = "kerbal-space-program"
_SCHEME: Final = scheme("ckan")
_CHANNELS: Final[dict[str, Channel]] = {"stable": "release", "testing": "beta", "development": "alpha"}
_RELATIONS: Final[tuple[tuple[str, ClaimKind], ...]] = (
    ("depends", "requires"), ("recommends", "recommends"), ("conflicts", "conflicts"),
)  # fmt: skip
_LEFT_OUT: Final = {
    "suggests": "suggests: a hint, weaker than any claim",
    "supports": "supports: a hint, weaker than any claim",
    "install": "install: CKAN's own installation stanzas",
    "locales": "locales: languages are not described yet",
}
_PACKAGE: Final = re.compile(r"[^\x00-\x20\x7f]{1,130}")
_VERSION: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_TAG: Final = re.compile(r"[a-z0-9](?:[a-z0-9 .+_-]*[a-z0-9+])?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+")
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')


class Catalogue:
    """A CKAN source turned into what :func:`importing.import_catalogue` takes; troubles go to ``report``."""

    def __init__(self, source: Source, report: Report) -> None:
        self._report = report
        self._heirs: dict[str, list[str]] = {}
        self.mods: list[ImportedMod] = []
        by_id: dict[str, dict[str, Located]] = {}
        for located in source.rows:
            self._sort_in(by_id, located)
        kept = {key: self._ordered(versions) for key, versions in by_id.items()}
        for key, rows in kept.items():
            self._note_heir(key, rows[-1], kept)
        for key in sorted(kept):
            self.mods.append(self._mod(key, kept[key]))
        self.game = ImportedGame(
            GAME, "Kerbal Space Program", "Build, fly and crash rockets with little green people.", "ckan",
            source.builds or _builds_seen(located.row for located in source.rows),
        )  # fmt: skip

    @property
    def releases(self) -> int:
        return sum(len(mod.releases) for mod in self.mods)

    def _sort_in(self, by_id: dict[str, dict[str, Located]], located: Located) -> None:
        row = located.row
        if not _PACKAGE.fullmatch(row.id):
            self._report.trouble("bad-identifier", located.where, "the identifier is empty, too long or has spaces")
            return
        if not _VERSION.fullmatch(row.version) or not row.version.strip():
            self._report.trouble("bad-version", located.where, "the version is empty, too long or not printable")
            return
        try:
            _SCHEME.sort_bytes(row.version)
        except InvalidVersion as error:
            self._report.trouble("bad-version", located.where, error.reason)
            return
        versions = by_id.setdefault(row.id, {})
        first = versions.setdefault(row.version, located)
        if first is not located:
            why = f"{row.id} {row.version} was at {first.where} already; the first one counts"
            self._report.trouble("duplicate-version", located.where, why)

    @staticmethod
    def _ordered(versions: dict[str, Located]) -> list[Located]:
        return sorted(versions.values(), key=lambda at: (_SCHEME.sort_bytes(at.row.version), at.row.version))

    def _note_heir(self, key: str, newest: Located, kept: dict[str, list[Located]]) -> None:
        heir = newest.row.replaced_by
        if heir is None:
            return
        if heir.name not in kept or heir.name == key:
            why = f"{key} names {heir.name[:130]!r} as its replacement, which is not in this catalogue"
            self._report.trouble("unknown-replacement", newest.where, why)
            return
        self._heirs.setdefault(heir.name, []).append(key)

    def _mod(self, key: str, rows: list[Located]) -> ImportedMod:
        newest = rows[-1].row
        dates = self._dates(rows)
        claims = [ImportedClaim("replaces", {"target": name}) for name in sorted(self._heirs.get(key, ()))]
        if newest.kind == "dlc":
            claims.append(ImportedClaim("needs", {"dlc": key}))
        summary, description = _texts(newest)
        return ImportedMod(
            key=key,
            name=_line(newest.name, 120) or key[:120],
            summary=summary,
            description=description,
            authors=[text for text in (_line(author, 120) for author in newest.authors[:50]) if text],
            tags=self._tags(rows[-1]),
            licence=_line(" or ".join(newest.license), 100),
            links=_links(newest),
            releases=tuple(self._release(at, date) for at, date in zip(rows, dates, strict=True)),
            claims=tuple(claims),
        )

    def _dates(self, rows: list[Located]) -> list[dt.datetime | None]:
        """Each version's date; one without is as old as the next newer one, or else the next older one."""
        dates = [_date(at.row) for at in rows]
        if None in dates:
            self._report.left_out["date: not given, taken from the version beside it"] += dates.count(None)
        for nth in range(len(dates) - 2, -1, -1):
            dates[nth] = dates[nth] or dates[nth + 1]
        for nth in range(1, len(dates)):
            dates[nth] = dates[nth] or dates[nth - 1]
        return dates

    def _release(self, at: Located, date: dt.datetime | None) -> ImportedRelease:
        row = at.row
        return ImportedRelease(
            row.version,
            _SCHEME.sort_bytes(row.version),
            _CHANNELS.get(row.release_status, "release"),
            date,
            _file(row) if row.kind == "package" else None,
            self._claims(at),
        )

    def _claims(self, at: Located) -> tuple[ImportedClaim, ...]:
        """The version's relations, each once."""
        row = at.row
        found: dict[tuple[str, str], ImportedClaim] = {}
        if row.game_min is not None or row.game_max is not None:
            body: dict[str, Any] = {"builds": [row.game_min, row.game_max]}
            found["works_with", ""] = ImportedClaim("works_with", body | ({"strict": True} if row.game_strict else {}))
        for field, kind in _RELATIONS:
            for relation in getattr(row, field):
                claim = self._claim(at, kind, relation)
                if claim is not None:
                    found.setdefault((claim.kind, repr(claim.body)), claim)
        for name in row.provides:
            if not _PACKAGE.fullmatch(name):
                self._report.trouble("bad-relation", at.where, f"provides {name[:60]!r}, which is no name")
            elif name != row.id:
                found.setdefault(("provides", name), ImportedClaim("provides", {"target": name}))
        for field, why in _LEFT_OUT.items():
            if getattr(row, field):
                self._report.left_out[why] += len(getattr(row, field))
        return tuple(found.values())

    def _claim(self, at: Located, kind: ClaimKind, relation: Relation) -> ImportedClaim | None:
        bounds = relation.any_of or (relation,)
        if len(bounds) > 100 or not all(_PACKAGE.fullmatch(bound.name) for bound in bounds):
            self._report.trouble("bad-relation", at.where, f"{kind} names something that is no package")
            return None
        try:
            ends = [_end(bound) for bound in bounds]
        except InvalidVersion as error:
            self._report.trouble("bad-relation", at.where, f"{kind} {bounds[0].name}: {error.reason}")
            return None
        if relation.suppress_recommendations:
            self._report.left_out["suppress_recommendations: what a dependency recommends is the player's choice"] += 1
        note = {"note": _line(relation.help, 300)} if relation.help else {}
        if len(ends) == 1:
            return ImportedClaim(kind, ends[0] | note)
        if kind == "requires":
            return ImportedClaim("any_of", {"any_of": ends} | note)
        if kind == "recommends":
            self._report.left_out["recommends: one of several has no kind of claim"] += 1
        else:
            self._report.trouble("bad-relation", at.where, f"{kind} one of several, which CKAN does not define")
        return None

    def _tags(self, at: Located) -> list[str]:
        fitting = {tag for tag in (_line(tag, 200).lower() for tag in at.row.tags) if _TAG.fullmatch(tag[:41])}
        kept = sorted(tag for tag in fitting if len(tag) <= 40)[:20]
        if len(kept) < len(set(at.row.tags)):
            self._report.trouble("bad-tag", at.where, "a tag is too long, one too many, or not of a-z, 0-9, space, -")
        return kept


def read_catalogue(path: Path, report: Report) -> Catalogue:
    """Read a CKAN source; blocking. Raises :class:`ckan_source.NotACatalogueError`."""
    return Catalogue(read_source(path, report), report)


async def import_ckan(
    platform: Platform, path: Path, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Report:
    """Import a CKAN source: a folder or a tar.gz of ``.ckan`` files, or the index as JSONL.

    ``progress`` gets the number of releases dealt with and of all. Raises
    :class:`ckan_source.NotACatalogueError`, :class:`importing.WrongSchemeError`.
    """
    started = time.monotonic()
    report = Report()
    catalogue = await asyncio.to_thread(read_catalogue, path, report)
    done, of = 0, catalogue.releases
    progress(0, of)

    def advance(releases: int) -> None:
        nonlocal done
        done += releases
        progress(done, of)

    if catalogue.mods:
        await import_catalogue(platform, SOURCE, catalogue.game, catalogue.mods, report, advance)
    report.seconds = round(time.monotonic() - started, 3)
    return report


def _end(bound: Bound | Relation) -> dict[str, str]:
    wanted = _range(bound.exactly, bound.at_least, bound.at_most)
    return {"target": bound.name} | ({"range": wanted} if wanted else {})


@lru_cache(maxsize=4096)
def _range(exactly: str | None, at_least: str | None, at_most: str | None) -> str:
    """Bounds in the scheme's own syntax; empty for any version. Raises InvalidVersion."""
    versions = Range.any()
    if exactly is not None:
        versions = versions.intersect(Range.exactly(_SCHEME.key(exactly), exactly))
    if at_least is not None:
        versions = versions.intersect(Range.at_least(_SCHEME.key(at_least), at_least))
    if at_most is not None:
        versions = versions.intersect(Range.at_most(_SCHEME.key(at_most), at_most))
    return "" if versions.is_any else _SCHEME.format_range(versions)


def _builds_seen(rows: Iterable[Row]) -> tuple[str, ...]:
    """Without a list of the game's builds: the complete versions (three numbers) that rows name."""
    seen = {bound for row in rows for bound in (row.game_min, row.game_max) if bound is not None}
    complete = [build for build in seen if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){2}", build)]
    return tuple(sorted(complete, key=lambda build: tuple(map(int, build.split(".")))))


def _date(row: Row) -> dt.datetime | None:
    """When it came out; else when the index first had it."""
    given = row.released or row.indexed
    if given is None:
        return None
    if given.tzinfo is None:
        return given.replace(tzinfo=dt.UTC)
    try:
        return given.astimezone(dt.UTC)
    except OverflowError:
        return None


def _file(row: Row) -> ImportedFile | None:
    name = _NOT_IN_NAMES.sub("-", f"{row.id}-{row.version}")[:190].strip() + ".zip"
    return ImportedFile(name, row.size, bytes.fromhex(row.sha256) if row.sha256 else None, row.url)


def _texts(row: Row) -> tuple[str, str]:
    """Summary (at most 300 characters) and description; a longer abstract is kept whole in the latter."""
    abstract = _line(row.abstract, 100_000)
    description = _UNPRINTABLE.sub(" ", row.description)[:60_000]
    if len(abstract) <= 300:
        return abstract, description
    whole = f"{abstract}\n\n{description}".strip()
    return abstract[:299].rstrip() + "…", whole[:60_000]


def _links(row: Row) -> dict[str, str]:
    """Addresses of the web alone: what a page links to must not be a script."""
    found = {}
    for name, address in row.links.items():
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64]
        if slug and re.fullmatch(r"https?://[^\s\x00-\x20\"<>]{1,1000}", address):
            found[slug] = address
    return dict(list(found.items())[:20])


def _line(text: str, most: int) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:most].strip()

"""Rows of a CKAN index (one JSON object per release) turned into neutral packages and claims.

Meaning of a row: at most one version per id; a bound is inclusive; `provides` has no version and
satisfies any bound; `conflicts` concerns names and what other ids provide; a DLC must be owned; game
bounds include everything below the named prefix; a release status other than stable is a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from loadstone.compat.universe import Candidate, Claim, ClaimKind, Package, Scheme, Target

CHANNELS = {"stable": "release", "testing": "beta", "development": "alpha"}

RELATIONS: tuple[tuple[str, ClaimKind], ...] = (
    ("depends", "requires"),
    ("recommends", "recommends"),
    ("conflicts", "conflicts"),
)


class Bound(msgspec.Struct, frozen=True, rename={"exactly": "eq", "at_least": "min", "at_most": "max"}):
    """One relation to one name."""

    name: str
    exactly: str | None = None
    at_least: str | None = None
    at_most: str | None = None

    def target(self) -> Target:
        return Target(self.name, exactly=self.exactly, at_least=self.at_least, at_most=self.at_most)


class Relation(msgspec.Struct, frozen=True, rename={"exactly": "eq", "at_least": "min", "at_most": "max"}):
    """A relation to one name, or to any of several."""

    name: str = ""
    exactly: str | None = None
    at_least: str | None = None
    at_most: str | None = None
    any_of: tuple[Bound, ...] = ()

    def targets(self) -> tuple[Target, ...]:
        if self.any_of:
            return tuple(bound.target() for bound in self.any_of)
        return (Target(self.name, exactly=self.exactly, at_least=self.at_least, at_most=self.at_most),)


class Replacement(msgspec.Struct, frozen=True):
    """The mod that takes over."""

    name: str


class Row(msgspec.Struct, frozen=True):
    """The fields of a row that the solver reads; all others are ignored."""

    id: str
    version: str
    name: str = ""
    kind: str = "package"
    release_status: str = "stable"
    game_min: str | None = None
    game_max: str | None = None
    depends: tuple[Relation, ...] = ()
    recommends: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    provides: tuple[str, ...] = ()
    replaced_by: Replacement | None = None
    released: str | None = None
    indexed: str | None = None


class Catalogue(msgspec.Struct, frozen=True):
    """Everything that `build_universe` wants to know."""

    packages: tuple[Package, ...]
    claims: tuple[Claim, ...]
    builds: tuple[str, ...]


def parse_row(line: bytes | str) -> Row:
    """Decode one line; raises msgspec.ValidationError with the place of the mistake."""
    return _DECODER.decode(line)


_DECODER = msgspec.json.Decoder(Row)


def read_catalogue(
    rows: Iterable[Row],
    scheme: Scheme,
    *,
    popularity: Mapping[str, float] | None = None,
    more_builds: Iterable[str] = (),
) -> Catalogue:
    """Group rows by id, order each id's releases newest first and turn relations into claims.

    `popularity` (id → figure) ranks the providers of a name. `more_builds` are game builds to know
    besides those that rows name.
    """
    by_id: dict[str, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    packages: list[Package] = []
    claims: list[Claim] = []
    for identifier in sorted(by_id):
        rows_of_id = by_id[identifier]
        ordered = sorted(rows_of_id, key=lambda row: (scheme.key(row.version), row.version), reverse=True)
        releases = _release_ids(ordered)
        packages.append(_package(identifier, ordered, releases, (popularity or {}).get(identifier, 0.0)))
        claims.extend(_claims(identifier, ordered, releases))
    builds = {bound for rows in by_id.values() for row in rows for bound in (row.game_min, row.game_max)}
    return Catalogue(tuple(packages), tuple(claims), ordered_builds({*builds, *more_builds} - {None}))


def ordered_builds(named: Iterable[str | None]) -> tuple[str, ...]:
    """The complete builds (three numbers or more) among the names, oldest first; prefixes are no builds."""
    complete = {text for text in named if text is not None and text.count(".") >= 2}
    return tuple(sorted(complete, key=_numbers))


def _numbers(build: str) -> tuple[tuple[int, ...], str]:
    return tuple(int(part) for part in build.split(".") if part.isdigit()), build


def _spans(row: Row) -> tuple[tuple[str | None, str | None], ...]:
    return () if row.game_min is None and row.game_max is None else ((row.game_min, row.game_max),)


def _release_ids(rows: list[Row]) -> list[str]:
    seen: dict[str, int] = {}
    ids = []
    for row in rows:
        seen[row.version] = times = seen.get(row.version, 0) + 1
        ids.append(f"{row.id}@{row.version}" + (f"#{times}" if times > 1 else ""))
    return ids


def _package(identifier: str, rows: list[Row], releases: list[str], rank: float) -> Package:
    return Package(
        id=identifier,
        name=rows[0].name or identifier,
        candidates=tuple(
            Candidate(
                release=release,
                version=row.version,
                channel=CHANNELS.get(row.release_status, row.release_status),
                builds=_spans(row),
                published_at=row.indexed or row.released,
            )
            for row, release in zip(rows, releases, strict=True)
        ),
        kind="dlc" if rows[0].kind == "dlc" else "mod",
        rank=rank,
    )


def _claims(identifier: str, rows: list[Row], releases: list[str]) -> Iterable[Claim]:
    """One claim for each different relation of an id, with the releases that state it."""
    stated: dict[tuple[ClaimKind, tuple[Target, ...]], list[str]] = {}
    for row, release in zip(rows, releases, strict=True):
        for field, kind in RELATIONS:
            for relation in getattr(row, field):
                targets = relation.targets()
                exact_kind: ClaimKind = "any_of" if kind == "requires" and len(targets) > 1 else kind
                stated.setdefault((exact_kind, targets), []).append(release)
        for name in row.provides:
            stated.setdefault(("provides", (Target(name),)), []).append(release)
    for (kind, targets), by in stated.items():
        yield _claim(identifier, kind, targets, by, len(rows))
    heir = rows[0].replaced_by
    if heir is not None:
        yield Claim(
            id=f"ckan:{heir.name}:replaces:{identifier}",
            kind="replaces",
            subject=heir.name,
            targets=(Target(identifier),),
            source="import",
        )


def _claim(identifier: str, kind: ClaimKind, targets: tuple[Target, ...], by: list[str], of: int) -> Claim:
    described = " | ".join(_described(target) for target in targets)
    return Claim(
        id=f"ckan:{identifier}:{kind}:{described}",
        kind=kind,
        subject=identifier,
        targets=targets,
        releases=() if len(set(by)) == of else tuple(dict.fromkeys(by)),
        source="import",
    )


def _described(target: Target) -> str:
    signs = (("=", target.exactly), (">=", target.at_least), ("<=", target.at_most))
    return target.name + "".join(f"{sign}{version}" for sign, version in signs if version is not None)

"""What the catalogue knows of a game, in the words of the solver.

A mod's part of the world is a :class:`Piece`; when something happens to a mod, its piece is made anew and the
universe takes over all the others. This file is pure: it reads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from loadstone.catalog.knowledge import Knowledge, KnownChain, KnownClaim, KnownFile, KnownRelease
from loadstone.compat.changes import Changed, with_changes
from loadstone.compat.ranges import InvalidRange
from loadstone.compat.universe import (
    Candidate,
    Claim,
    ClaimKind,
    ClaimSource,
    Package,
    Target,
    Universe,
    build_universe,
)
from loadstone.compat.versions import InvalidVersion, Scheme, scheme
from loadstone.kernel.ids import encode

_AXES: Final = ("loader", "os", "side", "dlc")
_SIMPLE: Final = frozenset(
    {"requires", "provides", "conflicts", "discouraged", "recommends", "replaces", "order_after", "order_before"}
)
_NARROWING: Final = frozenset({"author", "archive", "import"})
"""Whose ``works_with`` says all builds that a release is made for; others only add to what these say."""
_ONE_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]*")
_REMEMBERED: Final = 64
"""Changes of which a world remembers what they touched."""
Span = tuple[str | None, str | None]


class Piece(msgspec.Struct, frozen=True):
    """One mod: its packages and what is claimed about them."""

    packages: tuple[Package, ...]
    claims: tuple[Claim, ...]
    default_package: str
    slug: str
    number: int
    listed: bool = True


class Edition(msgspec.Struct, frozen=True):
    """A universe, the number of changes before it, and which packages the last of them touched (None: any)."""

    universe: Universe
    number: int
    touched: tuple[frozenset[int] | None, ...]

    def followed_by(self, changed: Changed) -> Edition:
        return Edition(changed.universe, self.number + 1, (*self.touched, changed.touched)[-_REMEMBERED:])

    def touched_since(self, number: int) -> frozenset[int] | None:
        """The packages that changed since another edition; None where that cannot be told any more."""
        news = self.number - number
        if not 0 <= news <= len(self.touched):
            return None
        found: set[int] = set()
        for touched in self.touched[len(self.touched) - news :]:
            if touched is None:
                return None
            found |= touched
        return frozenset(found)


class World:
    """One game: its pieces, the universe made of them, and how mods are named."""

    def __init__(self, scheme_name: str, builds: Sequence[str], pieces: Mapping[int, Piece]) -> None:
        self._scheme: Scheme = scheme(scheme_name)
        self._builds = tuple(builds)
        self._pieces = dict(pieces)
        self.edition = Edition(self._built(), 0, ())
        self._name()

    @property
    def universe(self) -> Universe:
        return self.edition.universe

    @property
    def size(self) -> int:
        """Releases and claims, as a measure of the memory that it takes."""
        return sum(
            len(piece.claims) + sum(len(package.candidates) for package in piece.packages)
            for piece in self._pieces.values()
        )

    def package_of(self, name: str) -> str | None:
        """The default package of a mod by slug, number or public id."""
        return self._by_name.get(name)

    def package_of_mod(self, mod_id: int) -> str | None:
        piece = self._pieces.get(mod_id)
        return piece.default_package if piece else None

    def mod_of(self, package: str) -> int | None:
        """The mod that a package belongs to."""
        return self._mods.get(package)

    def listed(self) -> Sequence[str]:
        """The packages that lists may name, in order: those of mods that are not only for who knows of them."""
        return self._listed

    def knows(self, package: str) -> bool:
        """Whether a package or a provided name is there."""
        return package in self.universe.index or package in self.universe.providers

    def has_build(self, name: str) -> bool:
        return name in self._builds

    def replace(self, mod_ids: Iterable[int], fresh: Mapping[int, Piece]) -> None:
        """Put new pieces in the place of those of ``mod_ids``; a mod without a new one is out of reach."""
        before = {mod_id: self._pieces.get(mod_id) for mod_id in mod_ids}
        if all(fresh.get(mod_id) == piece for mod_id, piece in before.items()):
            return
        self._pieces = {k: v for k, v in self._pieces.items() if k not in before} | dict(fresh)
        gone = {p.id for piece in before.values() if piece for p in piece.packages}
        if gone - {p.id for piece in fresh.values() for p in piece.packages}:
            changed = Changed(self._built(), None)
        else:
            changed = self._adapted([piece for piece in before.values() if piece], list(fresh.values()))
        self.edition = self.edition.followed_by(changed)  # in one step: others read it while this runs on a thread
        self._name()

    def _built(self) -> Universe:
        return build_universe(
            [package for piece in self._pieces.values() for package in piece.packages],
            [claim for piece in self._pieces.values() for claim in piece.claims],
            builds=self._builds,
            scheme=self._scheme,
        )

    def _adapted(self, before: Sequence[Piece], fresh: Sequence[Piece]) -> Changed:
        old_packages = {package.id: package for piece in before for package in piece.packages}
        old_claims = {claim.id: claim for piece in before for claim in piece.claims}
        new_claims = {claim.id: claim for piece in fresh for claim in piece.claims}
        # First what goes, then what comes: a claim that only speaks of one more release keeps its id.
        rest = with_changes(
            self.universe, remove=[id_ for id_, claim in old_claims.items() if new_claims.get(id_) != claim]
        )
        changed = with_changes(
            rest.universe,
            add=[claim for id_, claim in new_claims.items() if old_claims.get(id_) != claim],
            packages=[p for piece in fresh for p in piece.packages if old_packages.get(p.id) != p],
        )
        if rest.touched is None or changed.touched is None:
            return Changed(changed.universe, None)
        return Changed(changed.universe, rest.touched | changed.touched)

    def _name(self) -> None:
        found: dict[str, str] = {}
        for mod_id, piece in self._pieces.items():
            for name in (piece.slug, str(piece.number), encode("mod", mod_id)):
                found.setdefault(name, piece.default_package)
        self._by_name = found  # in one step: others read it while this runs on a thread
        self._mods = {p.id: mod_id for mod_id, piece in self._pieces.items() for p in piece.packages}
        self._listed = sorted(p.id for piece in self._pieces.values() if piece.listed for p in piece.packages)


def pieces(knowledge: Knowledge, scheme_name: str) -> dict[int, Piece]:
    """Each mod's part of the world."""
    reading = _Reading(knowledge, scheme(scheme_name))
    by_mod: dict[int, list[KnownChain]] = {}
    for chain in knowledge.chains:
        by_mod.setdefault(chain.mod_id, []).append(chain)
    return {mod_id: reading.piece(chains) for mod_id, chains in by_mod.items()}


class _Reading:
    """Rows by what they belong to."""

    def __init__(self, knowledge: Knowledge, scheme_: Scheme) -> None:
        self._scheme = scheme_
        self._releases: dict[int, list[KnownRelease]] = {}
        for release in knowledge.releases:
            self._releases.setdefault(release.chain_id, []).append(release)
        self._files: dict[int, list[KnownFile]] = {}
        for file in knowledge.narrow_files:
            self._files.setdefault(file.release_id, []).append(file)
        self._claims: dict[int, list[KnownClaim]] = {}
        for claim in knowledge.claims:
            self._claims.setdefault(claim.chain_id, []).append(claim)

    def piece(self, chains: Sequence[KnownChain]) -> Piece:
        ordered = sorted(chains, key=lambda chain: chain.package)
        default = next((chain for chain in ordered if chain.is_default), ordered[0])
        return Piece(
            tuple(self._package(chain) for chain in ordered),
            tuple(claim for chain in ordered for claim in self._stated(chain)),
            default.package,
            default.mod_slug,
            default.number,
            default.visibility == "published",
        )

    def _package(self, chain: KnownChain) -> Package:
        claims = self._claims.get(chain.id, [])
        is_dlc = any(claim.kind == "needs" and claim.body.get("dlc") == chain.package for claim in claims)
        spans = _Spans(claims)
        found = [self._candidate(release, spans) for release in self._releases.get(chain.id, [])]
        return Package(
            id=chain.package,
            name=chain.mod_name if chain.is_default else f"{chain.mod_name}: {chain.name}",
            candidates=tuple(candidate for candidate in found if candidate is not None),
            kind="dlc" if is_dlc else "mod",
            rank=float(chain.downloads),
        )

    def _candidate(self, release: KnownRelease, spans: _Spans) -> Candidate | None:
        files = self._files.get(release.id, [])
        if any(file.verdict != "clean" for file in files):
            return None  # no verdict, no download (law 4)
        main = [file for file in files if file.role == "main"]
        return Candidate(
            release=encode("release", release.id),
            version=release.version,
            channel=release.channel,
            yanked=release.state != "published",
            builds=spans.of(release.id),
            loaders=_fitting(file.loaders for file in main),
            oses=_fitting(file.os for file in main),
            sides=_fitting([] if file.side == "both" else [file.side] for file in main),
            published_at=release.published_at.isoformat() if release.published_at else None,
        )

    def _stated(self, chain: KnownChain) -> Iterable[Claim]:
        """One claim for each different statement, with the releases that make it."""
        merged: dict[tuple[Any, ...], list[KnownClaim]] = {}
        drafts: dict[tuple[Any, ...], Claim] = {}
        for known in self._claims.get(chain.id, []):
            if known.kind == "provides" and chain.visibility != "published":
                continue  # an unlisted mod is for those who name it, not for whoever looks for a name
            draft = self._draft(chain, known)
            if draft is not None:
                key = (draft.kind, draft.targets, draft.builds, draft.strength, draft.source, known.release_id is None)
                merged.setdefault(key, []).append(known)
                drafts.setdefault(key, draft)
        for key, stated in merged.items():
            ids = [encode("release", each.release_id) for each in stated if each.release_id is not None]
            yield msgspec.structs.replace(drafts[key], releases=tuple(dict.fromkeys(ids)))

    def _draft(self, chain: KnownChain, known: KnownClaim) -> Claim | None:
        targets = self._targets(chain, known)
        spans: tuple[Span, ...] = (_span(known.body),) if known.kind == "broken_in" else ()
        if known.kind == "works_with" or not (targets or spans):
            return None
        curated = known.source == "curator" and known.body.get("strength") == "require"
        return Claim(
            id=encode("claim", known.id),
            kind=cast("ClaimKind", known.kind),
            subject=chain.package,
            targets=targets,
            builds=spans,
            # An author may not have his patch installed wherever two other mods are: that would be everywhere.
            strength="require" if known.kind == "patches" and curated else "recommend",
            source=cast("ClaimSource", known.source),
            note=str(known.body.get("note", "")),
        )

    def _targets(self, chain: KnownChain, known: KnownClaim) -> tuple[Target, ...]:
        body = known.body
        if known.kind == "needs":
            return tuple(
                Target(str(body[axis]), axis=axis)
                for axis in _AXES
                if body.get(axis) and not (axis == "dlc" and body[axis] == chain.package)
            )
        ends = [body] if body.get("target") else []
        if known.kind in {"any_of", "patches"}:
            ends += [end for end in body.get("any_of") or [] if end.get("target")]
        elif known.kind not in _SIMPLE:
            return ()
        if known.kind == "provides":
            return tuple(Target(str(end["target"]), version=self._version(end.get("range"))) for end in ends)
        return tuple(Target(str(end["target"]), range=self._range(end.get("range"))) for end in ends)

    def _range(self, text: object) -> str:
        """The range as stored, or any version where an older rule let something else in."""
        if not isinstance(text, str) or not text:
            return ""
        try:
            self._scheme.parse_range(text)
        except InvalidRange:
            return ""
        return text

    def _version(self, text: object) -> str | None:
        """The single version that is provided; None, which is any, for what is no version."""
        if not isinstance(text, str) or not _ONE_VERSION.fullmatch(text):
            return None
        try:
            self._scheme.key(text)
        except InvalidVersion:
            return None
        return text


class _Spans:
    """Which game builds a chain's releases are for.

    What the author, the archive or an import says about a release narrows it; what they say about the chain
    holds for releases of which nothing is said; others (curators, telemetry) add builds to what is said.
    """

    def __init__(self, claims: Sequence[KnownClaim]) -> None:
        self._of_release: dict[int, list[Span]] = {}
        self._of_chain: list[Span] = []
        self._added: list[tuple[int | None, Span]] = []
        for claim in claims:
            if claim.kind != "works_with" or not claim.body.get("builds"):
                continue
            span = _span(claim.body)
            if claim.source not in _NARROWING:
                self._added.append((claim.release_id, span))
            elif claim.release_id is None:
                self._of_chain.append(span)
            else:
                self._of_release.setdefault(claim.release_id, []).append(span)

    def of(self, release_id: int) -> tuple[Span, ...]:
        said = self._of_release.get(release_id) or self._of_chain
        if not said:
            return ()
        added = [span for about, span in self._added if about in {None, release_id}]
        return tuple(dict.fromkeys([*said, *added]))


def _span(body: Mapping[str, Any]) -> Span:
    builds = body.get("builds") or [None, None]
    return builds[0], builds[1]


def _fitting(values: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """What the main files together fit; empty when one of them fits everything, or there are none."""
    each = list(values)
    if not each or any(not some for some in each):
        return ()
    return tuple(sorted({value for some in each for value in some}))

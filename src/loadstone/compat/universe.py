"""What exists and what is known about it: the immutable input of every solve.

A *package* is one chain of releases, a *candidate* one release of it, a *claim* one attributed fact.
A `Universe` binds them together for one game. It is built once, shared by all solves and never changed:
`Universe.changed` returns a new one that reuses everything the change does not touch.

Values of a package are bits of one integer: bit 0 is "absent", bit 1 the newest release, bit 2 the next
older one, and so on. Ranges arrive here as text and leave as such masks; nothing behind this file knows
how a version looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

import msgspec

ABSENT = 1
BUILD_AXIS = "@build"
LOADER_AXIS = "@loader"
RULEBOOK = "rulebook"
GAP_NUMBERS, GAP_MAX = 4, (1 << 24) - 1
STEP = 1 << 24 * GAP_NUMBERS
OPEN_END = 1 << 200

ClaimKind = Literal[
    "requires",
    "any_of",
    "provides",
    "conflicts",
    "discouraged",
    "recommends",
    "patches",
    "replaces",
    "order_after",
    "order_before",
    "works_with",
    "broken_in",
    "needs",
]
ClaimSource = Literal["author", "archive", "curator", "telemetry", "import"]


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """One end of a claim: a package or a provided name, and which of its versions are meant.

    `range` is in the syntax of the game's version scheme; `at_least`, `at_most` (both inclusive) and
    `exactly` are single versions. All that are given must hold. In a `provides` claim, `version` is the
    version provided; without it the name is provided at every version. In a `needs` claim `axis` says
    what kind of surroundings `name` is.
    """

    name: str
    range: str = ""
    at_least: str | None = None
    at_most: str | None = None
    exactly: str | None = None
    version: str | None = None
    axis: Literal["", "loader", "os", "side", "dlc"] = ""

    @property
    def is_bounded(self) -> bool:
        return bool(self.range or self.at_least or self.at_most or self.exactly)


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attributed fact about the releases of one package.

    It speaks of the releases in `releases` (ids), or of those in `subject_range`, or of all.
    `any_of` means that at least one of `targets` must be there; every other kind speaks of each target
    by itself. `patches` means: where all `targets` are installed, the subject is required or recommended
    (`strength`). `replaces` means: the subject replaces the targets. `works_with` and `broken_in` add and
    take away game builds, named by `builds` (min, max; inclusive; None is open).
    `at` and `until` are the times (RFC 3339, UTC) between which the claim was held to be true.
    """

    id: str
    kind: ClaimKind
    subject: str
    targets: tuple[Target, ...] = ()
    releases: tuple[str, ...] = ()
    subject_range: str = ""
    builds: tuple[tuple[str | None, str | None], ...] = ()
    strength: Literal["require", "recommend"] = "require"
    source: ClaimSource = "author"
    note: str = ""
    at: str | None = None
    until: str | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One release of a package, with what decides where it fits.

    Empty `builds`, `loaders`, `oses` and `sides` mean "fits everywhere". `builds` holds spans
    (min, max) of game builds, inclusive, of everything below the named prefix; None is open.
    """

    release: str
    version: str
    channel: str = "release"
    yanked: bool = False
    quarantined: bool = False
    builds: tuple[tuple[str | None, str | None], ...] = ()
    loaders: tuple[str, ...] = ()
    oses: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    published_at: str | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One chain: candidates from newest to oldest. `rank` orders providers of a name (higher first)."""

    id: str
    name: str
    candidates: tuple[Candidate, ...]
    kind: Literal["mod", "dlc", "axis"] = "mod"
    group: str = ""
    rank: float = 0.0


def _axis(name: str, values: Iterable[str]) -> Package:
    """Game builds or loaders as a package, so that the solver can choose one of them."""
    candidates = tuple(Candidate(release=f"{name}/{value}", version=value) for value in values)
    return Package(id=name, name=name[1:], candidates=candidates, kind="axis")


class RangeLike(Protocol):
    """A compiled range of versions."""

    def contains(self, key: Any, /) -> bool: ...


class Scheme(Protocol):
    """The part of a version scheme that the universe needs."""

    def key(self, raw: str, /) -> Any: ...

    def parse_range(self, text: str, /) -> RangeLike: ...


class BuildLine:
    """The game builds in order, and where any text stands among them.

    A listed build is a point. Any other text is compared by its dotted numbers and stands for every
    build below that prefix: `1.12` is `1.12.0` to `1.12.5`. Positions are integers: an odd number of
    STEPs for listed builds, even for the gaps between, and within a gap the numbers of the text.
    """

    def __init__(self, builds: Sequence[str]) -> None:
        self.builds = tuple(builds)
        self._at = {build: (2 * i + 1) * STEP for i, build in enumerate(self.builds)}
        self._keys = [_numbers(build) for build in self.builds]
        self._spans: dict[str, tuple[int, int]] = {}

    def span(self, text: str) -> tuple[int, int]:
        """First and last position of `text`, inclusive."""
        known = self._spans.get(text)
        if known is None:
            known = self._spans[text] = self._locate(text)
        return known

    def _locate(self, text: str) -> tuple[int, int]:
        if text in self._at:
            return self._at[text], self._at[text]
        key = _numbers(text)
        low = sum(1 for other in self._keys if other < key)
        inside = sum(1 for other in self._keys if other[: len(key)] == key)
        return 2 * low * STEP + _within_gap(key, 0), 2 * (low + inside) * STEP + _within_gap(key, GAP_MAX)


def _within_gap(key: tuple[int, ...], fill: int) -> int:
    """The place of a text among others in the same gap, from its first numbers."""
    place = 0
    for i in range(GAP_NUMBERS):
        place = place * (GAP_MAX + 1) + (min(key[i], GAP_MAX) if i < len(key) else fill)
    return place


def _numbers(text: str) -> tuple[int, ...]:
    digits = "".join(c if c.isdecimal() else " " for c in text)
    return tuple(int(part) for part in digits.split())


class UnknownPackageError(LookupError):
    """A package id that this universe does not hold."""

    code = "unknown-package"

    def __init__(self, package: str) -> None:
        super().__init__(f"There is no package {package!r}; check the spelling of its id.")
        self.package = package


class PackageIndex:
    """One package as the solver sees it: masks instead of versions."""

    __slots__ = ("_keys", "_masks", "_scheme", "every", "package", "present", "release_bits")

    def __init__(self, package: Package, scheme: Scheme) -> None:
        self.package = package
        self.present = ((1 << len(package.candidates)) - 1) << 1
        self.every = self.present | ABSENT
        self.release_bits = {c.release: 2 << i for i, c in enumerate(package.candidates)}
        self._scheme = scheme
        self._keys: list[Any] | None = None
        self._masks: dict[tuple[str | None, ...], int] = {}

    def keys(self) -> list[Any]:
        if self._keys is None:
            self._keys = [key_or_none(self._scheme, c.version) for c in self.package.candidates]
        return self._keys

    def mask_of(self, target: Target) -> int:
        """The releases that `target` means, whatever its name."""
        if not target.is_bounded:
            return self.present
        bounds = (target.range, target.at_least, target.at_most, target.exactly)
        known = self._masks.get(bounds)
        if known is None:
            test = bounds_test(self._scheme, target)
            known = sum(2 << i for i, key in enumerate(self.keys()) if test(key))
            self._masks[bounds] = known
        return known

    def mask_of_releases(self, releases: Iterable[str]) -> int:
        bits = self.release_bits
        mask = 0
        for release in releases:
            mask |= bits.get(release, 0)
        return mask

    def mask_of_version(self, version: str) -> int:
        """Releases whose raw version is this one, or else whose key is equal to its key."""
        mask = sum(2 << i for i, c in enumerate(self.package.candidates) if c.version == version)
        return mask or self.mask_of(Target(self.package.id, exactly=version))

    def candidate(self, bit: int) -> Candidate:
        return self.package.candidates[bit.bit_length() - 2]


def bounds_test(scheme: Scheme, target: Target) -> Callable[[Any], bool]:
    """Compile the bounds of a target into one test on a version's key."""
    tests: list[Callable[[Any], bool]] = []
    if target.range:
        tests.append(scheme.parse_range(target.range).contains)
    if target.at_least is not None:
        low = scheme.key(target.at_least)
        tests.append(lambda key: bool(key >= low))
    if target.at_most is not None:
        high = scheme.key(target.at_most)
        tests.append(lambda key: bool(key <= high))
    if target.exactly is not None:
        same = scheme.key(target.exactly)
        tests.append(lambda key: bool(key == same))
    return lambda key: key is not None and all(test(key) for test in tests)


def key_or_none(scheme: Scheme, version: str) -> Any:
    """The place of a version in the order; None where the scheme cannot read it: it is in no range."""
    try:
        return scheme.key(version)
    except ValueError:
        return None


def unreadable(scheme: Scheme, claim: Claim) -> str:
    """Why a claim's ranges cannot be read in the scheme; empty if they can."""
    try:
        for target in (*claim.targets, Target(claim.subject, range=claim.subject_range)):
            if target.is_bounded:
                bounds_test(scheme, target)
            if target.version is not None:
                scheme.key(target.version)
    except ValueError as error:
        return str(error)
    return ""


class Provision(msgspec.Struct, frozen=True):
    """Package number `index` provides a name in the releases `mask`, at `key` (None: at any version)."""

    index: int
    mask: int
    key: Any
    claim: str


class Universe:
    """All packages and claims of one game. Build it with `build_universe`.

    `orphans` are claims about packages that are not here. `unreadable` holds the ids of claims whose
    ranges the scheme cannot read, with the reason: they are left out, and whoever stored them is told.
    """

    def __init__(self, packages: Sequence[Package], claims: Iterable[Claim], builds: BuildLine, scheme: Scheme) -> None:
        self.scheme = scheme
        self.builds = builds
        self.memo: dict[object, object] = {}
        self._spans: dict[tuple[str | None, str | None], tuple[int, int]] = {}
        ordered = sorted(packages, key=lambda package: package.id)
        self.index: dict[str, int] = {package.id: i for i, package in enumerate(ordered)}
        if len(self.index) != len(ordered):
            twice = sorted({p.id for p in ordered if sum(1 for o in ordered if o.id == p.id) > 1})
            raise ValueError(f"Each package may be given once; these come twice: {', '.join(twice[:5])}.")
        self.first_axis = len(ordered)
        loaders = sorted({loader for p in ordered for c in p.candidates for loader in c.loaders})
        ordered += [_axis(BUILD_AXIS, reversed(builds.builds)), _axis(LOADER_AXIS, loaders)]
        self.axes = {BUILD_AXIS: self.first_axis, LOADER_AXIS: self.first_axis + 1}
        self.packages: list[PackageIndex] = [PackageIndex(package, scheme) for package in ordered]
        self.claims: dict[int, list[Claim]] = {}
        self.orphans: list[Claim] = []
        self.unreadable: dict[str, str] = {}
        for claim in sorted(claims, key=lambda claim: claim.id):
            subject = self.index.get(claim.subject)
            problem = unreadable(scheme, claim)
            if problem:
                self.unreadable[claim.id] = problem
            elif subject is None:
                self.orphans.append(claim)
            else:
                self.claims.setdefault(subject, []).append(claim)

    def __len__(self) -> int:
        return len(self.packages)

    def number(self, package: str) -> int:
        """The number of a package id; raises UnknownPackageError."""
        found = self.index.get(package)
        if found is None:
            raise UnknownPackageError(package)
        return found

    def span_of(self, pair: tuple[str | None, str | None]) -> tuple[int, int]:
        """The positions from the first to the last build of a span; None is open."""
        known = self._spans.get(pair)
        if known is None:
            low = -1 if pair[0] is None else self.builds.span(pair[0])[0]
            high = OPEN_END if pair[1] is None else self.builds.span(pair[1])[1]
            known = self._spans[pair] = (low, high)
        return known

    def __getstate__(self) -> dict[str, object]:
        """A snapshot keeps the compiled rules, but no views: whoever loads it makes the few it needs."""
        kept = {key: value for key, value in self.memo.items() if key == RULEBOOK}
        return {**self.__dict__, "memo": kept}

    def as_of(self, time: str) -> Universe:
        """What existed and was held to be true at a time (RFC 3339, UTC)."""
        packages = [p.package for p in self.packages[: self.first_axis]]
        claims = [claim for held in self.claims.values() for claim in held] + self.orphans
        return build_universe(packages, claims, builds=self.builds.builds, scheme=self.scheme, as_of=time)

    def subject_mask(self, index: int, claim: Claim) -> int:
        """The releases of package `index` that the claim speaks of."""
        package = self.packages[index]
        if claim.releases:
            return package.mask_of_releases(claim.releases)
        return package.mask_of(Target(claim.subject, range=claim.subject_range))

    @cached_property
    def providers(self) -> dict[str, list[Provision]]:
        """Who provides a name, besides the package that bears it."""
        found: dict[str, list[Provision]] = {}
        for index, claims in self.claims.items():
            for claim in claims:
                if claim.kind == "provides":
                    mask = self.subject_mask(index, claim)
                    for target in claim.targets:
                        key = None if target.version is None else self.scheme.key(target.version)
                        found.setdefault(target.name, []).append(Provision(index, mask, key, claim.id))
        return found

    def matches(self, target: Target) -> dict[int, int]:
        """Packages that answer to `target`, each with the mask of the releases that do.

        The package that bears the name comes first, then providers by rank and id.
        """
        found: dict[int, int] = {}
        named = self.index.get(target.name)
        if named is not None:
            mask = self.packages[named].mask_of(target)
            if mask:
                found[named] = mask
        provisions = self.providers.get(target.name)
        if not provisions:
            return found
        test = bounds_test(self.scheme, target) if target.is_bounded else None
        provided: dict[int, int] = {}
        for provision in provisions:
            if test is None or provision.key is None or test(provision.key):
                provided[provision.index] = provided.get(provision.index, 0) | provision.mask
        for index in sorted(provided, key=self._by_rank):
            found[index] = found.get(index, 0) | provided[index]
        return found

    def _by_rank(self, index: int) -> tuple[float, int]:
        return -self.packages[index].package.rank, index

    @cached_property
    def mentions(self) -> Mapping[str, frozenset[int]]:
        """For each name, the packages whose claims speak of it."""
        found: dict[str, set[int]] = {}
        for index, claims in self.claims.items():
            for claim in claims:
                for target in claim.targets:
                    found.setdefault(target.name, set()).add(index)
        return {name: frozenset(who) for name, who in found.items()}

    @cached_property
    def replacements(self) -> dict[str, tuple[Claim, ...]]:
        """For each package or name, the claims that something replaces it."""
        found: dict[str, tuple[Claim, ...]] = {}
        for claims in self.claims.values():
            for claim in claims:
                if claim.kind == "replaces":
                    for target in claim.targets:
                        found[target.name] = (*found.get(target.name, ()), claim)
        return found

    @cached_property
    def ordering(self) -> frozenset[int]:
        """Packages with claims about the load order."""
        return self._claiming("order_after", "order_before")

    @cached_property
    def fitting(self) -> frozenset[int]:
        """Packages with claims about what they fit besides what their releases say."""
        return self._claiming("needs", "works_with", "broken_in")

    @cached_property
    def of_note(self) -> frozenset[int]:
        """Packages about which a plan has something to note: discouraged company or a successor."""
        replaced = {self.index[name] for name in self.replacements if name in self.index}
        return self._claiming("discouraged") | replaced

    def _claiming(self, *kinds: ClaimKind) -> frozenset[int]:
        return frozenset(index for index, claims in self.claims.items() if any(claim.kind in kinds for claim in claims))

    @cached_property
    def claim_index(self) -> dict[str, Claim]:
        """Claim id → claim."""
        return {claim.id: claim for claims in self.claims.values() for claim in claims}

    @cached_property
    def release_index(self) -> dict[str, tuple[int, int]]:
        """Release id → (package number, bit)."""
        return {
            release: (i, bit)
            for i, package in enumerate(self.packages)
            for release, bit in package.release_bits.items()
        }


def build_universe(
    packages: Sequence[Package],
    claims: Iterable[Claim] = (),
    *,
    builds: Sequence[str] = (),
    scheme: Scheme,
    as_of: str | None = None,
) -> Universe:
    """Bind packages, claims and the ordered game builds (oldest first) into a universe.

    With `as_of` (RFC 3339, UTC) only releases published and claims held at that time exist, so that an
    old collection can be resolved as it was. Raises ValueError where a package id comes twice.
    """
    if as_of is not None:
        packages = [_package_as_of(package, as_of) for package in packages]
        claims = [claim for claim in claims if _held(claim, as_of)]
    return Universe(packages, claims, BuildLine(builds), scheme)


def _package_as_of(package: Package, as_of: str) -> Package:
    kept = tuple(c for c in package.candidates if c.published_at is None or c.published_at <= as_of)
    if len(kept) == len(package.candidates):
        return package
    return msgspec.structs.replace(package, candidates=kept)


def _held(claim: Claim, as_of: str) -> bool:
    return (claim.at is None or claim.at <= as_of) and (claim.until is None or as_of < claim.until)


def bits(mask: int) -> Iterable[int]:
    """The single bits of a mask, lowest (newest) first."""
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit

"""New knowledge about a universe: a new universe that reuses all that the news does not touch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from loadstone.compat.clauses import Rulebook
from loadstone.compat.solving import rulebook_of
from loadstone.compat.universe import RULEBOOK, Claim, Package, PackageIndex, Universe, build_universe, unreadable


class Changed(msgspec.Struct, frozen=True):
    """The universe after the news, and the packages whose rules or fit may differ (None: any may)."""

    universe: Universe
    touched: frozenset[int] | None


def with_changes(
    universe: Universe,
    *,
    add: Sequence[Claim] = (),
    remove: Iterable[str] = (),
    packages: Sequence[Package] = (),
) -> Changed:
    """Add claims, remove claims by id, replace or add packages.

    The result equals a universe built from scratch. A package that was not there before, and a new
    loader, lead to exactly that.
    """
    gone = set(remove)
    dropped = [universe.claim_index[claim] for claim in sorted(gone) if claim in universe.claim_index]
    if _needs_rebuild(universe, packages, add):
        return Changed(_rebuilt(universe, add, gone, packages), None)
    new = _copy(universe)
    touched = {universe.index[package.id] for package in packages}
    for package in packages:
        new.packages[universe.index[package.id]] = PackageIndex(package, universe.scheme)
    for claim in (*add, *dropped):
        subject = universe.index.get(claim.subject)
        problem = unreadable(universe.scheme, claim)
        if problem:
            new.unreadable = {**new.unreadable, claim.id: problem}
            continue
        if subject is None:
            new.orphans = [o for o in (*new.orphans, claim) if o.id not in gone]
            continue
        kept = [c for c in new.claims.get(subject, ()) if c.id not in gone and c.id != claim.id]
        if claim.id not in gone:
            kept.append(claim)
        new.claims[subject] = sorted(kept, key=lambda held: held.id)
        touched.add(subject)
    _forget(new, [*add, *dropped], bool(packages))
    names = _names_concerned(universe, new, (*add, *dropped), packages)
    for name in names:
        touched |= universe.mentions.get(name, frozenset()) | new.mentions.get(name, frozenset())
    touched |= _patched(universe, new, (*add, *dropped), names)
    _hand_over(universe, new, touched)
    return Changed(new, frozenset(touched))


def _needs_rebuild(universe: Universe, packages: Sequence[Package], add: Sequence[Claim]) -> bool:
    loaders = {c.version for c in universe.packages[universe.axes["@loader"]].package.candidates}
    return (
        any(package.id not in universe.index for package in packages)
        or any(loader not in loaders for p in packages for c in p.candidates for loader in c.loaders)
        or any(claim.id in universe.claim_index for claim in add)
    )


def _rebuilt(universe: Universe, add: Sequence[Claim], gone: set[str], packages: Sequence[Package]) -> Universe:
    everything = {held.package.id: held.package for held in universe.packages[: universe.first_axis]}
    everything.update({package.id: package for package in packages})
    claims = {claim.id: claim for held in universe.claims.values() for claim in held if claim.id not in gone}
    claims.update({claim.id: claim for claim in universe.orphans if claim.id not in gone})
    claims.update({claim.id: claim for claim in add})
    return build_universe(
        list(everything.values()), claims.values(), builds=universe.builds.builds, scheme=universe.scheme
    )


def _copy(universe: Universe) -> Universe:
    new = Universe.__new__(Universe)
    new.__dict__.update(universe.__dict__)
    new.memo = {}
    new.packages = list(universe.packages)
    new.claims = dict(universe.claims)
    return new


def _forget(new: Universe, claims: Sequence[Claim], packages: bool) -> None:
    """Drop the look-up tables that the news makes stale."""
    kinds = {claim.kind for claim in claims}
    stale = {"mentions", "claim_index"} if claims else set()
    if "provides" in kinds or packages:
        stale.add("providers")
    if kinds & {"replaces", "discouraged"}:
        stale |= {"replacements", "of_note"}
    if kinds & {"needs", "works_with", "broken_in"}:
        stale.add("fitting")
    if kinds & {"order_after", "order_before"}:
        stale.add("ordering")
    if packages:
        stale.add("release_index")
    for name in stale:
        new.__dict__.pop(name, None)


def _names_concerned(old: Universe, new: Universe, claims: Sequence[Claim], packages: Sequence[Package]) -> set[str]:
    """Names whose meaning may have changed: new releases, and whatever a package provides."""
    names = {target.name for claim in claims if claim.kind == "provides" for target in claim.targets}
    for package in packages:
        names.add(package.id)
        for universe in (old, new):
            held = universe.claims.get(universe.index[package.id], ())
            names |= {target.name for claim in held if claim.kind == "provides" for target in claim.targets}
    return names


def _patched(old: Universe, new: Universe, claims: Sequence[Claim], names: set[str]) -> set[int]:
    """Packages that carry the clauses of patches that changed or that speak of a changed name."""
    found: set[int] = set()
    for universe in (old, new):
        for held in universe.claims.values():
            for claim in held:
                if claim.kind != "patches" or not claim.targets:
                    continue
                spoken = {claim.subject, *(target.name for target in claim.targets)}
                if claim in claims or spoken & names:
                    found |= universe.matches(claim.targets[0]).keys()
    return found


def _hand_over(old: Universe, new: Universe, touched: set[int]) -> None:
    """Keep the compiled rules of every package that is not touched."""
    known = old.memo.get(RULEBOOK)
    if isinstance(known, Rulebook):
        new.memo[RULEBOOK] = known.for_universe(new, touched)
    else:
        rulebook_of(new)

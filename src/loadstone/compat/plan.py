"""From chosen bits to a plan: entries with their reasons, questions, notes, load order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from loadstone.compat.clauses import Clause, Rules
from loadstone.compat.surroundings import View
from loadstone.compat.universe import ABSENT, Target, Universe


class Chosen(msgspec.Struct, frozen=True, omit_defaults=True):
    """One release of the plan. `needed_by` holds the package ids that ask for it; empty: asked for itself.

    `was` is the version that was locked, where it differs.
    """

    package: str
    release: str
    version: str
    needed_by: tuple[str, ...] = ()
    was: str = ""


class Option(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer to a question."""

    package: str
    name: str
    versions: tuple[str, ...]


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """Several packages would do. The first option is the default by rank; `chosen` is in the plan.

    Answer by `Request.choices = ((asked_for, package), …)`.
    """

    asked_for: tuple[str, ...]
    asked_by: str
    claims: tuple[str, ...]
    options: tuple[Option, ...]
    chosen: str


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that the player should know about the plan."""

    kind: str
    text: str
    package: str = ""
    claims: tuple[str, ...] = ()


class OrderPair(msgspec.Struct, frozen=True):
    """`first` loads before `then`, because a claim says so."""

    first: str
    then: str
    claim: str


class Assembled(msgspec.Struct, frozen=True):
    """The parts of an answer that only need the chosen bits."""

    plan: tuple[Chosen, ...]
    questions: tuple[Question, ...]
    notes: tuple[Note, ...]
    order: tuple[OrderPair, ...]


def assemble(
    universe: Universe,
    view: View,
    plan: Mapping[int, int],
    picks: Sequence[tuple[Clause, int, int]],
    roots: Iterable[int],
    facts: Sequence[Clause],
    locks: Mapping[int, int],
) -> Assembled:
    """Drop what nothing needs, and say why the rest is there."""
    parents = _needed(view, plan, roots, facts)
    kept = {at: plan[at] for at in parents if at < universe.first_axis}
    return Assembled(
        plan=tuple(_chosen(universe, at, kept[at], parents[at], locks) for at in sorted(kept)),
        questions=tuple(_questions(universe, view, kept, picks)),
        notes=tuple(_notes(universe, kept, locks)),
        order=tuple(_order(universe, kept)),
    )


def _needed(view: View, plan: Mapping[int, int], roots: Iterable[int], facts: Sequence[Clause]) -> dict[int, set[int]]:
    """Packages reachable from what was asked for, each with those that need it."""
    parents: dict[int, set[int]] = {at: set() for at in sorted(roots) if at in plan}
    for fact in facts:
        for at, mask in fact.literals:
            if plan.get(at, 0) & mask:
                parents.setdefault(at, set())
    stack = list(parents)
    while stack:
        at = stack.pop()
        for other in needs_of(view.rules(at), at, plan):
            if other in parents:
                parents[other].add(at)
            else:
                parents[other] = {at}
                stack.append(other)
    return parents


def needs_of(rules: Rules, at: int, plan: Mapping[int, int]) -> Iterable[int]:
    """Planned packages that satisfy what a planned package requires."""
    bit = plan[at]
    for mine, other, theirs in rules.needs:
        if not bit & mine and plan.get(other, ABSENT) & theirs:
            yield other
    for clause in rules.wides:
        literals = clause.literals
        if any(package == at and bit & mask for package, mask in literals):
            continue
        for package, mask in literals:
            if not mask & ABSENT and plan.get(package, ABSENT) & mask:
                yield package


def _chosen(universe: Universe, at: int, bit: int, parents: set[int], locks: Mapping[int, int]) -> Chosen:
    package = universe.packages[at]
    candidate = package.candidate(bit)
    lock = locks.get(at, 0)
    was = package.candidate(lock).version if lock and lock != bit else ""
    ids = universe.packages
    needed_by = tuple([ids[parent].package.id for parent in sorted(parents)]) if parents else ()
    return Chosen(package.package.id, candidate.release, candidate.version, needed_by, was)


def _questions(
    universe: Universe, view: View, plan: Mapping[int, int], picks: Sequence[tuple[Clause, int, int]]
) -> Iterable[Question]:
    for clause, chosen, _ in picks:
        why = clause.why
        if why is None or chosen not in plan:
            continue
        options = []
        for at, mask in clause.literals:
            values = view.base[at] & mask
            if values and not mask & ABSENT:
                candidates = universe.packages[at].package.candidates
                versions = tuple(c.version for i, c in enumerate(candidates) if values & 2 << i)
                package = universe.packages[at].package
                options.append(Option(package.id, package.name, versions))
        if len(options) > 1:
            asked_by = universe.packages[why.subject].package.id if why.subject >= 0 else ""
            names = tuple(target.name for target in why.targets)
            yield Question(names, asked_by, why.claims, tuple(options), universe.packages[chosen].package.id)


def _notes(universe: Universe, plan: Mapping[int, int], locks: Mapping[int, int]) -> Iterable[Note]:
    for at, lock in locks.items():
        if at in plan and lock:
            yield from _yanked_notes(universe, at, plan[at], lock)
    for at in sorted(plan.keys() & universe.of_note):
        yield from _claim_notes(universe, at, plan[at], plan)


def _yanked_notes(universe: Universe, at: int, bit: int, lock: int) -> Iterable[Note]:
    package = universe.packages[at]
    locked = package.candidate(lock)
    if not locked.yanked:
        return
    if bit == lock:
        text = f"{package.package.name} {locked.version} was withdrawn by its author; it stays."
        yield Note("yanked-kept", text, package.package.id)
    else:
        text = f"{package.package.name} {locked.version} was withdrawn by its author."
        yield Note("yanked-replaced", text, package.package.id)


def _claim_notes(universe: Universe, at: int, bit: int, plan: Mapping[int, int]) -> Iterable[Note]:
    name = universe.packages[at].package.name
    for claim in universe.claims.get(at, ()):
        if claim.kind == "discouraged" and universe.subject_mask(at, claim) & bit:
            for target in claim.targets:
                for other, mask in universe.matches(target).items():
                    if other != at and plan.get(other, 0) & mask:
                        their = universe.packages[other].package.name
                        text = f"{name} is better not used together with {their}."
                        yield Note("discouraged", text, claim.subject, (claim.id,))
    for claim in universe.replacements.get(universe.packages[at].package.id, ()):
        text = f"{name} is replaced by {claim.subject}."
        yield Note("replaced", text, universe.packages[at].package.id, (claim.id,))


def _order(universe: Universe, plan: Mapping[int, int]) -> Iterable[OrderPair]:
    """Pairs from `order_after` and `order_before` claims between planned packages."""
    for at in sorted(plan.keys() & universe.ordering):
        bit = plan[at]
        for claim in universe.claims[at]:
            if claim.kind not in ("order_after", "order_before"):
                continue
            if not universe.subject_mask(at, claim) & bit:
                continue
            for other in _planned(universe, claim.targets, plan):
                if other != at:
                    first, then = (other, at) if claim.kind == "order_after" else (at, other)
                    ids = (universe.packages[first].package.id, universe.packages[then].package.id)
                    yield OrderPair(*ids, claim.id)


def _planned(universe: Universe, targets: Iterable[Target], plan: Mapping[int, int]) -> Iterable[int]:
    for target in targets:
        for other, mask in universe.matches(target).items():
            if plan.get(other, 0) & mask:
                yield other

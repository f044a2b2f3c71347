"""Claims compiled into clauses over package domains, package by package, only when a solve needs them.

A *literal* `(p, mask)` says "package p takes one of the values in mask"; a *clause* says that one of its
literals holds. "Releases M of P require N of Q" is `(P, not M) or (Q, N)`. A clause is therefore the
negation of a PubGrub incompatibility, and it keeps the claims it came from, so that every conclusion
can say who said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from loadstone.compat.fit import Fit
from loadstone.compat.universe import ABSENT, Claim, Target, Universe

Literals = tuple[tuple[int, int], ...]


class Why(msgspec.Struct, frozen=True):
    """The fact behind a clause: what kind, about which package and releases, and which claims say so."""

    kind: str
    subject: int
    mask: int
    targets: tuple[Target, ...]
    claims: tuple[str, ...]
    axis: str = ""


class Clause:
    """A disjunction of literals with the fact behind it (or, if learned, the clauses it follows from)."""

    __slots__ = ("antecedents", "literals", "why")

    def __init__(self, literals: Literals, why: Why | None, antecedents: tuple[Clause, ...] = ()) -> None:
        self.literals = literals
        self.why = why
        self.antecedents = antecedents


class Soft(msgspec.Struct, frozen=True):
    """A wish: the clause that would fulfil it and the claim that utters it."""

    literals: Literals
    why: Why


class Rules:
    """What follows once package `p` is installed.

    `units` restrict p alone; each of `pairs` is `(other values of p, q, values of q, clause)`; `wides`
    have three or more literals or offer a choice; `needs` are the pairs that ask for another package.
    `softs` are wishes that hold when p is there.
    """

    __slots__ = ("clauses", "needs", "pairs", "softs", "units", "wides")

    def __init__(self, index: int, clauses: list[Clause], softs: list[Soft]) -> None:
        self.clauses = clauses
        self.softs = softs
        self.units: list[tuple[int, Clause]] = []
        self.pairs: list[tuple[int, int, int, Clause]] = []
        self.wides: list[Clause] = []
        for clause in clauses:
            self._file(index, clause)
        self.needs = [(mine, other, theirs) for mine, other, theirs, _ in self.pairs if not theirs & ABSENT]

    def avoided(self, given_up: frozenset[str]) -> list[Clause]:
        """Discouraged company as conflicts, without the claims that were given up."""
        return [
            Clause(soft.literals, soft.why)
            for soft in self.softs
            if soft.why.kind == "discouraged" and given_up.isdisjoint(soft.why.claims)
        ]

    def _file(self, index: int, clause: Clause) -> None:
        literals = clause.literals
        if len(literals) == 1:
            self.units.append((literals[0][1], clause))
        elif len(literals) == 2 and index in (literals[0][0], literals[1][0]):
            mine, other = literals if literals[0][0] == index else (literals[1], literals[0])
            self.pairs.append((mine[1], other[0], other[1], clause))
        else:
            self.wides.append(clause)


class Rulebook:
    """The clauses of every package of a universe, compiled at first use and kept."""

    def __init__(
        self,
        universe: Universe,
        rules: Sequence[Rules | None] = (),
        fits: Sequence[Fit | None] = (),
    ) -> None:
        self.universe = universe
        self._rules = list(rules) or [None] * len(universe)
        self._fits = list(fits) or [None] * len(universe)
        self._patches = _patches_by_first_target(universe)

    def for_universe(self, universe: Universe, touched: Iterable[int]) -> Rulebook:
        """The same rules for a changed universe, to be compiled again for the packages that it touches."""
        rules, fits = list(self._rules), list(self._fits)
        for index in touched:
            rules[index] = fits[index] = None
        return Rulebook(universe, rules, fits)

    def fits(self, index: int) -> Fit:
        """What the releases of a package fit."""
        known = self._fits[index]
        if known is None:
            known = self._fits[index] = Fit(self.universe, index)
        return known

    def rules(self, index: int) -> Rules:
        known = self._rules[index]
        if known is None:
            known = self._rules[index] = self._compile(index)
        return known

    def _compile(self, index: int) -> Rules:
        clauses: list[Clause] = []
        softs: list[Soft] = []
        for claim, mask in _merged(self.universe, index):
            _compile_claim(self.universe, index, claim, mask, clauses, softs)
        for subject, claim in self._patches.get(index, ()):
            _compile_patch(self.universe, index, subject, claim, clauses, softs)
        return Rules(index, clauses, softs)


def _merged(universe: Universe, index: int) -> Iterable[tuple[Claim, int]]:
    for claim in universe.claims.get(index, ()):
        mask = universe.subject_mask(index, claim)
        if mask:
            yield claim, mask


def _compile_claim(
    universe: Universe, index: int, claim: Claim, mask: int, clauses: list[Clause], softs: list[Soft]
) -> None:
    if claim.kind in ("requires", "any_of"):
        groups = [claim.targets] if claim.kind == "any_of" else [(target,) for target in claim.targets]
        for targets in groups:
            literals = requirement(universe, index, mask, targets)
            if literals is not None:
                clauses.append(Clause(literals, Why("requires", index, mask, targets, (claim.id,))))
    elif claim.kind == "recommends":
        literals = requirement(universe, index, mask, claim.targets)
        if literals is not None and len(literals) > 1:
            softs.append(Soft(literals, Why("recommends", index, mask, claim.targets, (claim.id,))))
    elif claim.kind == "conflicts":
        clauses.extend(_conflicts(universe, index, claim, mask, "conflicts"))
    elif claim.kind == "discouraged":
        for clause in _conflicts(universe, index, claim, mask, "discouraged"):
            assert clause.why is not None
            softs.append(Soft(clause.literals, clause.why))
    elif claim.kind == "needs":
        _compile_needs(universe, index, claim, mask, clauses)


def requirement(universe: Universe, index: int, mask: int, targets: tuple[Target, ...]) -> Literals | None:
    """Literals of "releases `mask` of package `index` require one of `targets`"; None if always true."""
    own = universe.packages[index].every & ~mask
    options: dict[int, int] = {}
    for target in targets:
        for package, values in universe.matches(target).items():
            options[package] = options.get(package, 0) | values
    own |= options.pop(index, 0)
    if own == universe.packages[index].every:
        return None
    return ((index, own), *options.items())


def _conflicts(universe: Universe, index: int, claim: Claim, mask: int, kind: str) -> Iterable[Clause]:
    own = universe.packages[index].every & ~mask
    for target in claim.targets:
        for other, values in universe.matches(target).items():
            if other != index:
                literals = ((index, own), (other, universe.packages[other].every & ~values))
                yield Clause(literals, Why(kind, index, mask, (target,), (claim.id,)))


def _compile_needs(universe: Universe, index: int, claim: Claim, mask: int, clauses: list[Clause]) -> None:
    """`needs` a DLC is a requirement; needs of a loader, OS or side are part of the surroundings."""
    for target in claim.targets:
        if target.axis in ("", "dlc"):
            literals = requirement(universe, index, mask, (target,))
            if literals is not None:
                clauses.append(Clause(literals, Why("requires", index, mask, (target,), (claim.id,))))


def _patches_by_first_target(universe: Universe) -> dict[int, list[tuple[int, Claim]]]:
    found: dict[int, list[tuple[int, Claim]]] = {}
    for subject, claims in universe.claims.items():
        for claim in claims:
            if claim.kind == "patches" and claim.targets:
                for first in universe.matches(claim.targets[0]):
                    found.setdefault(first, []).append((subject, claim))
    return found


def _compile_patch(
    universe: Universe,
    first: int,
    subject: int,
    claim: Claim,
    clauses: list[Clause],
    softs: list[Soft],
) -> None:
    """Where `first` and one match of every further target are installed, so shall the subject be."""
    needed = universe.subject_mask(subject, claim)
    matches = [universe.matches(target) for target in claim.targets]
    premises: list[dict[int, int]] = [{first: matches[0][first]}]
    for match in matches[1:]:
        premises = [
            {**premise, package: premise.get(package, -1) & values}
            for premise in premises
            for package, values in match.items()
        ]
    for premise in premises:
        if not all(premise.values()):
            continue
        options = {package: universe.packages[package].every & ~values for package, values in premise.items()}
        if needed:
            options[subject] = options.get(subject, 0) | needed
        literals = tuple(options.items())
        why = Why("patches", subject, needed, claim.targets, (claim.id,))
        if claim.strength == "require":
            clauses.append(Clause(literals, why))
        else:
            softs.append(Soft(literals, why))

"""Which releases can be installed at all in some surroundings.

Every installable release has a *witness*, a whole plan that contains it; one plan witnesses all of its
releases, and a plan in which one release is exchanged for a sibling is checked before a new one is
searched for. Every uninstallable release has the packages of its refutation. After a change only
witnesses and refutations that touch a changed package are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from loadstone.compat.budget import Budget, OutOfBudgetError
from loadstone.compat.changes import Changed
from loadstone.compat.clauses import Rules
from loadstone.compat.search import Search, leaves
from loadstone.compat.solver import Fact, Request, Unsatisfiable, Wanted, solve
from loadstone.compat.solving import view_of
from loadstone.compat.surroundings import Surroundings, View
from loadstone.compat.universe import ABSENT, Universe, bits

STEPS_PER_RELEASE = 200_000

Plan = dict[int, int]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a package can be installed here: its installable versions and those that only seem to fit."""

    package: str
    installable: tuple[str, ...]
    uninstallable: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()


class Sweep:
    """The installability of every release that fits the surroundings by itself.

    Masks per package: `fitting` (fits by itself), `installable`, `undecided` (out of budget).
    """

    def __init__(
        self,
        universe: Universe,
        surroundings: Surroundings,
        before: Sweep | None = None,
        touched: frozenset[int] = frozenset(),
    ) -> None:
        """Sweep everything or, given the sweep `before` a change, what the `touched` packages concern."""
        self.universe = universe
        self.surroundings = surroundings
        self.installable: dict[int, int] = {}
        self.undecided: dict[int, int] = {}
        self.witnesses: dict[tuple[int, int], Plan] = {}
        self.refutations: dict[tuple[int, int], frozenset[int]] = {}
        self._search: Search | None = None
        if before is None:
            self.view: View = view_of(universe, surroundings)
            self._sweep_all()
        else:
            self.view = before.view.for_universe(universe, touched)
            self._sweep_again(before, touched)

    # -- answers ------------------------------------------------------------------------------------

    def verdicts(self) -> list[Verdict]:
        """One verdict for every package with a release that fits by itself."""
        return [self.verdict(at) for at in range(self.universe.first_axis) if self.view.base[at] & ~ABSENT]

    def verdict(self, at: int) -> Verdict:
        package = self.universe.packages[at]
        fitting, good = self.view.base[at] & ~ABSENT, self.installable.get(at, 0)
        unsure = self.undecided.get(at, 0)

        def versions(mask: int) -> tuple[str, ...]:
            return tuple(package.candidate(bit).version for bit in bits(mask))

        return Verdict(package.package.id, versions(good), versions(fitting & ~good & ~unsure), versions(unsure))

    def reason(self, package: str, release: str = "") -> tuple[Fact, ...]:
        """Why a package, or one release of it, cannot be installed here; empty if it can."""
        request = Request(wanted=(Wanted(package, release=release),), surroundings=self.surroundings, repairs=False)
        outcome = solve(self.universe, request)
        return outcome.facts if isinstance(outcome, Unsatisfiable) else ()

    def bitmap(self) -> frozenset[str]:
        """Ids of the packages with at least one installable release."""
        return frozenset(self.universe.packages[at].package.id for at, mask in self.installable.items() if mask)

    # -- after news ---------------------------------------------------------------------------------

    def after(self, changed: Changed) -> Sweep:
        """The same question after a change, answered again only where the change can matter."""
        if changed.touched is None:
            return Sweep(changed.universe, self.surroundings)
        return Sweep(changed.universe, self.surroundings, self, changed.touched)

    def _sweep_all(self) -> None:
        """Those with the most relations first: their plans witness the most others."""
        order = sorted(range(self.universe.first_axis), key=lambda at: (-len(self.view.rules(at).clauses), at))
        for at in order:
            if self.view.base[at] & ~ABSENT:
                self._decide_all(at, self.view.base[at] & ~ABSENT)

    def _sweep_again(self, before: Sweep, touched: frozenset[int]) -> None:
        self.installable = dict(before.installable)
        self.witnesses = dict(before.witnesses)
        self.refutations = dict(before.refutations)
        again = self._open_questions(before, touched)
        for at in sorted(again):
            possible = self.view.base[at] & ~ABSENT
            self.installable[at] = self.installable.get(at, 0) & possible & ~again[at]
        for at in sorted(again):
            self._decide_all(at, again[at] & self.view.base[at] & ~ABSENT)

    def _open_questions(self, before: Sweep, touched: frozenset[int]) -> Plan:
        """Package → releases whose old answer the change may have overthrown."""
        again: Plan = {at: before.view.base[at] | self.view.base[at] for at in touched}
        again.update({at: again.get(at, 0) | mask for at, mask in before.undecided.items()})
        sound: dict[int, bool] = {}
        for (at, bit), plan in before.witnesses.items():
            if at in touched:
                continue
            good = sound.get(id(plan))
            if good is None:
                good = sound[id(plan)] = self._still_holds(plan, touched)
            if not good:
                again[at] = again.get(at, 0) | bit
        for (at, bit), core in before.refutations.items():
            if at not in touched and not core.isdisjoint(touched):
                again[at] = again.get(at, 0) | bit
        for at, mask in again.items():
            for bit in bits(mask):
                self.witnesses.pop((at, bit), None)
                self.refutations.pop((at, bit), None)
        return again

    def _still_holds(self, plan: Plan, touched: frozenset[int]) -> bool:
        base = self.view.base
        for at, bit in plan.items():
            if at in touched and not (base[at] & bit and holds(self.view.rules(at), at, plan)):
                return False
        return True

    # -- deciding -----------------------------------------------------------------------------------

    def _decide_all(self, at: int, mask: int) -> None:
        """Decide the given releases of a package, newest first."""
        good = self.installable.get(at, 0)
        plan: Plan | None = None
        for bit in bits(mask & ~good):
            if self.installable.get(at, 0) & bit:
                continue
            if plan is not None:
                exchanged = {**plan, at: bit}
                if self._holds_around(at, exchanged):
                    self._witness(at, bit, exchanged)
                    continue
            plan = self._search_for(at, bit) or plan

    def _holds_around(self, at: int, plan: Plan) -> bool:
        """Whether a plan in which only `at` was exchanged still holds: all clauses that mention it."""
        rules = self.view.rules
        if not holds(rules(at), at, plan):
            return False
        return all(holds_towards(rules(other), other, at, plan) for other in plan if other != at)

    def _witness(self, at: int, bit: int, plan: Plan) -> None:
        self.installable[at] = self.installable.get(at, 0) | bit
        self.witnesses[at, bit] = plan

    def _search_for(self, at: int, bit: int) -> Plan | None:
        search = self._search
        if search is None:
            search = self._search = Search(self.view.base, self.view.rules, Budget(0))
        search.budget = Budget(STEPS_PER_RELEASE)
        try:
            found = search.can_be(at, bit)
        except OutOfBudgetError:
            self.undecided[at] = self.undecided.get(at, 0) | bit
            self._search = None
            return None
        if not found:
            core = leaves(search.why_not(at, bit))
            self.refutations[at, bit] = frozenset(package for clause in core for package, _ in clause.literals) | {at}
            return None
        plan = search.chosen()
        for package, chosen in plan.items():
            if not self.installable.get(package, 0) & chosen:
                self._witness(package, chosen, plan)
        return plan


def holds(rules: Rules, at: int, plan: Mapping[int, int]) -> bool:
    """Whether all clauses of a planned package are true of the plan."""
    bit = plan[at]
    if any(not bit & mask for mask, _ in rules.units):
        return False
    for mine, other, theirs, _ in rules.pairs:
        if not bit & mine and not plan.get(other, ABSENT) & theirs:
            return False
    return all(any(plan.get(package, ABSENT) & mask for package, mask in clause.literals) for clause in rules.wides)


def holds_towards(rules: Rules, at: int, towards: int, plan: Mapping[int, int]) -> bool:
    """Whether those clauses of a planned package that mention another one are true of the plan."""
    bit = plan[at]
    for mine, other, theirs, _ in rules.pairs:
        if other == towards and not bit & mine and not plan.get(other, ABSENT) & theirs:
            return False
    return all(
        any(plan.get(package, ABSENT) & mask for package, mask in clause.literals)
        for clause in rules.wides
        if _mentions(clause.literals, towards)
    )


def _mentions(literals: Iterable[tuple[int, int]], package: int) -> bool:
    return any(other == package for other, _ in literals)

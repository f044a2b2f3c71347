"""One request on its way through search and policy to a plan or to the clauses that contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from loadstone.compat.budget import Budget, OutOfBudgetError
from loadstone.compat.clauses import Clause, Rulebook, Rules, Why
from loadstone.compat.plan import Chosen, Note, OrderPair, Question, assemble
from loadstone.compat.policy import Behind, Changes, change_preference, measured
from loadstone.compat.search import Search, leaves, literals_hold, newest_first, oldest_first
from loadstone.compat.surroundings import Surroundings, View
from loadstone.compat.universe import ABSENT, RULEBOOK, PackageIndex, Target, Universe

Policy = Literal["newest", "minimal_change", "oldest"]

POLISH_STEPS = 20_000
"""Steps that may go into fewer versions behind the newest once a plan is found."""

VIEWS_KEPT = 16
FACTS_KEPT = 10_000


class Wanted(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """A package, or a name that others provide, which must be there.

    `range` is in the game's scheme; `version` (as written) or `release` (id) pin it.
    """

    name: str
    range: str = ""
    version: str = ""
    release: str = ""


class Locked(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """What is installed of a package: a release id, or a version where no id is known."""

    package: str
    release: str = ""
    version: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked for. `steps` and `seconds` bound the work; `seconds` need a clock given to `solve`,
    and count for finding the answer, explaining it and repairing the request each.

    `choices` answer earlier questions: (name asked for, package chosen). `recommends` adds recommended
    packages that fit beside the plan. `explain` and `repairs` say whether an impossible request gets reasons
    and verified ways out. `as_of` (RFC 3339, UTC) asks what would have been answered then.
    """

    wanted: tuple[Wanted, ...]
    locked: tuple[Locked, ...] = ()
    surroundings: Surroundings = Surroundings()
    policy: Policy = "newest"
    recommends: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    as_of: str | None = None
    explain: bool = True
    repairs: bool = True
    steps: int = 200_000
    seconds: float | None = None


class Solved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A plan that holds. `proven` says whether the policy's optimum was proven within the budget.

    `behind` is the number of newer fitting releases passed over, summed over the plan; `changes` the
    number of packages that differ from what was locked.
    """

    plan: tuple[Chosen, ...]
    questions: tuple[Question, ...] = ()
    notes: tuple[Note, ...] = ()
    order: tuple[OrderPair, ...] = ()
    build: str | None = None
    loader: str | None = None
    behind: int = 0
    changes: int = 0
    proven: bool = True
    steps: int = 0


class Refuted(msgspec.Struct, frozen=True, kw_only=True):
    """There is no plan: these clauses contradict each other in these surroundings."""

    core: tuple[Clause, ...]
    steps: int = 0


class GaveUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The budget ran out before an answer. `known` holds what is certain: package → versions left."""

    reason: str
    known: tuple[tuple[str, tuple[str, ...]], ...] = ()
    steps: int = 0


def at_time(universe: Universe, as_of: str | None) -> Universe:
    """The universe as it was known at a time (RFC 3339, UTC), or itself for None."""
    if as_of is None:
        return universe
    known = universe.memo.get(("as_of", as_of))
    if not isinstance(known, Universe):
        known = universe.memo[("as_of", as_of)] = universe.as_of(as_of)
    return known


def view_of(universe: Universe, surroundings: Surroundings) -> View:
    """The universe seen from these surroundings; the last few are kept."""
    views = universe.memo.setdefault("views", {})
    assert isinstance(views, dict)
    view = views.get(surroundings)
    if view is None:
        if len(views) >= VIEWS_KEPT:
            views.pop(next(iter(views)))
        view = views[surroundings] = View(universe, rulebook_of(universe), surroundings)
    assert isinstance(view, View)
    return view


def rulebook_of(universe: Universe) -> Rulebook:
    """The compiled clauses of the universe."""
    known = universe.memo.get(RULEBOOK)
    if not isinstance(known, Rulebook):
        known = universe.memo[RULEBOOK] = Rulebook(universe)
    return known


def warm(universe: Universe) -> Universe:
    """Compile everything that no request changes, as for a snapshot; returns the same universe."""
    rulebook = rulebook_of(universe)
    for index in range(len(universe)):
        rulebook.fits(index)
        rulebook.rules(index)
    return universe


class Solving:
    """One request on its way: base values, clauses of the request, search, policy, plan."""

    def __init__(self, universe: Universe, request: Request, clock: Callable[[], float] | None) -> None:
        self.universe = universe
        self.request = request
        self.view = view_of(universe, request.surroundings)
        self.budget = Budget(request.steps, request.seconds, clock)
        self.polish_steps = POLISH_STEPS
        self.notes: list[Note] = []
        self.locks = self._locks()
        self.base = self._base()
        self.facts = self.request_facts()

    def run(self) -> Solved | Refuted | GaveUp:
        search = self.new_search()
        try:
            if not search.require(self.facts) or not search.run():
                assert search.refutation is not None
                return Refuted(core=tuple(leaves(search.refutation)), steps=self.budget.steps)
        except OutOfBudgetError as error:
            return GaveUp(reason=error.reason, known=self._known(search), steps=self.budget.steps)
        return self._finish(self._avoid_discouraged(search))

    def _avoid_discouraged(self, search: Search) -> Search:
        """Another search if the plan keeps discouraged company that can be avoided.

        Discouraged claims are taken as conflicts; where they contradict the request, the last of those
        involved (by claim id) is given up, and at the end taken back if it fits after all.
        """
        plan = search.chosen()
        if not any(self._is_discouraged(at, plan) for at in plan.keys() & self.universe.of_note):
            return search
        given_up: list[str] = []
        best = search
        while True:
            attempt, blamed = self._without_company(frozenset(given_up))
            if attempt is not None:
                best = attempt
                break
            if not blamed:
                return search
            given_up.append(blamed[-1])
        for claim in sorted(given_up)[:-1]:
            fewer = [other for other in given_up if other != claim]
            attempt, _ = self._without_company(frozenset(fewer))
            if attempt is not None:
                best, given_up = attempt, fewer
        return best

    def _is_discouraged(self, at: int, plan: dict[int, int]) -> bool:
        return any(
            soft.why.kind == "discouraged" and not literals_hold(soft.literals, plan)
            for soft in self.view.rules(at).softs
        )

    def _without_company(self, given_up: frozenset[str]) -> tuple[Search | None, list[str]]:
        """A search that found a plan without discouraged company, or else the claims that forbid it."""
        known: dict[int, Rules] = {}

        def rules(at: int) -> Rules:
            if at not in known:
                plain = self.view.rules(at)
                known[at] = Rules(at, [*plain.clauses, *plain.avoided(given_up)], plain.softs)
            return known[at]

        search = self.new_search(rules)
        try:
            if search.require(self.facts) and search.run():
                return search, []
        except OutOfBudgetError:
            return None, []
        assert search.refutation is not None
        whys = [clause.why for clause in leaves(search.refutation)]
        return None, sorted(c for why in whys if why is not None and why.kind == "discouraged" for c in why.claims)

    def new_search(self, rules: Callable[[int], Rules] | None = None) -> Search:
        """A search with this request's policy, nothing required yet."""
        favour = self._favour()
        rules = rules or self.view.rules
        if self.request.policy == "minimal_change":
            return Search(
                self.base,
                rules,
                self.budget,
                change_preference(self.locks),
                favour,
                sorted(self.locks),
            )
        prefer = oldest_first if self.request.policy == "oldest" else newest_first
        return Search(self.base, rules, self.budget, prefer, favour)

    def request_facts(self) -> list[Clause]:
        """What the request itself demands, in an order that does not depend on how it was written."""
        facts = self.view.axis_facts()
        for wanted in sorted(set(self.request.wanted)):
            facts.append(self._wanted_fact(wanted))
        return facts

    def _wanted_fact(self, wanted: Wanted) -> Clause:
        known = self.universe.memo.setdefault("wanted", {})
        assert isinstance(known, dict)
        fact = known.get(wanted)
        if fact is None:
            if len(known) >= FACTS_KEPT:
                known.clear()
            fact = known[wanted] = self._compile_wanted(wanted)
        assert isinstance(fact, Clause)
        return fact

    def _compile_wanted(self, wanted: Wanted) -> Clause:
        target = Target(wanted.name, range=wanted.range)
        at = self.universe.index.get(wanted.name)
        if at is not None:
            package = self.universe.packages[at]
            mask = package.mask_of(target) & _pinned(package, wanted)
            literals: tuple[tuple[int, int], ...] = ((at, mask),) if mask else ()
            return Clause(literals, Why("wanted", at, mask, (_shown(wanted),), ()))
        matches = self.universe.matches(target) if not (wanted.version or wanted.release) else {}
        return Clause(tuple(matches.items()), Why("wanted", -1, 0, (_shown(wanted),), ()))

    def _locks(self) -> dict[int, int]:
        """Package → bit of the locked release; 0 where that release exists no longer."""
        locks: dict[int, int] = {}
        for locked in sorted(set(self.request.locked)):
            at = self.universe.index.get(locked.package)
            if at is None:
                self.notes.append(
                    Note("lock-unknown-package", f"{locked.package} was locked but is not known any more.")
                )
                continue
            package = self.universe.packages[at]
            bit = package.release_bits.get(locked.release, 0)
            if not bit and locked.version:
                mask = package.mask_of_version(locked.version)
                bit = mask & -mask
            if not bit:
                shown = locked.version or locked.release
                text = f"{package.package.name} {shown} was locked but does not exist any more."
                self.notes.append(Note("lock-unknown-release", text, locked.package))
            locks[at] = bit
        return locks

    def _base(self) -> list[int]:
        """The view's values, and yanked releases where they are what is installed already."""
        if not self.locks:
            return self.view.base
        base = list(self.view.base)
        for at, bit in self.locks.items():
            if bit and not base[at] & bit and self._only_yanked(at, bit):
                base[at] |= bit
        return base

    def _only_yanked(self, at: int, bit: int) -> bool:
        return all(obstacle == "yanked" for obstacle, mask in self.view.blocked(at) if mask & bit)

    def _favour(self) -> Callable[[int], int] | None:
        chosen = {self.universe.index.get(package, -1) for _, package in self.request.choices}
        locked = self.locks if self.request.policy == "minimal_change" else {}
        if not chosen and not locked:
            return None
        return lambda package: 0 if package in chosen else 1 if package in locked else 2

    def _finish(self, search: Search) -> Solved:
        """Improve the plan as far as the policy asks, then put it into words."""
        plan, picks = search.chosen(), list(search.picks)
        proven = True
        if self.request.policy == "minimal_change":
            changes = Changes(self.locks, self.universe.first_axis)
            plan, picks, proven = self._improve(search, changes, self.budget, plan, picks)
        elif self.request.policy == "newest":
            behind = Behind(self.base, self.universe.first_axis)
            if self.polish_steps and measured(behind, plan):
                plan, picks, proven = self._improve(search, behind, self.budget.allow(self.polish_steps), plan, picks)
        return assemble_solved(self, plan, picks, proven)

    def _improve(
        self,
        search: Search,
        objective: Behind | Changes,
        budget: Budget,
        plan: dict[int, int],
        picks: list[tuple[Clause, int, int]],
    ) -> tuple[dict[int, int], list[tuple[Clause, int, int]], bool]:
        """Branch and bound: ask for a cheaper plan until that is refuted or the budget ends."""
        search.budget = budget
        try:
            while True:
                cost = measured(objective, plan)
                if not cost or not search.assign(objective, cost - 1) or not search.run():
                    return plan, picks, True
                plan, picks = search.chosen(), list(search.picks)
        except OutOfBudgetError:
            return plan, picks, False

    def _known(self, search: Search) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What level 0 settled: for each package that must be there, the versions left."""
        search.reset()
        known = []
        for at in sorted(search.active):
            package = self.universe.packages[at].package
            left = tuple(c.version for i, c in enumerate(package.candidates) if search.dom[at] & 2 << i)
            known.append((package.id, left))
        return tuple(known)


def assemble_solved(
    solving: Solving, plan: dict[int, int], picks: list[tuple[Clause, int, int]], proven: bool
) -> Solved:
    """The plan in words: entries, questions, notes and load order."""
    request, universe = solving.request, solving.universe
    roots = {why.why.subject for why in solving.facts if why.why is not None}
    if request.policy == "minimal_change":
        roots |= {at for at in solving.locks if at in plan}
    if request.recommends:
        plan, more = with_recommended(solving, plan)
        roots |= more
    assembled = assemble(universe, solving.view, plan, picks, roots, solving.facts, solving.locks)
    versions = {chosen.package: chosen.version for chosen in assembled.plan}
    axes = {axis: universe.packages[at] for axis, at in universe.axes.items()}
    picked = {axis: plan.get(universe.axes[axis], ABSENT) for axis in axes}
    kept = {universe.index[package] for package in versions}
    final = {at: bit for at, bit in plan.items() if at in kept}
    return Solved(
        plan=assembled.plan,
        questions=assembled.questions,
        notes=(*solving.notes, *assembled.notes),
        order=assembled.order,
        build=_axis_value(axes["@build"], picked["@build"]),
        loader=_axis_value(axes["@loader"], picked["@loader"]) or request.surroundings.loader,
        behind=measured(Behind(solving.base, universe.first_axis), final),
        changes=Changes(solving.locks, universe.first_axis).count(final)
        if request.locked or request.policy == "minimal_change"
        else 0,
        proven=proven,
        steps=solving.budget.steps,
    )


def with_recommended(solving: Solving, plan: dict[int, int]) -> tuple[dict[int, int], set[int]]:
    """Add recommendations of what is planned, in order of package and claim, where they fit beside it.

    A recommendation never changes what is planned already; one that was added counts as planned.
    """
    pinned = list(solving.base)
    for at, bit in plan.items():
        pinned[at] = bit | ABSENT  # the fact that it is there, below, is what brings its rules in
    added: set[int] = set()
    for at in sorted(plan):
        for soft in solving.view.rules(at).softs:
            if soft.why.kind not in ("recommends", "patches"):
                continue
            if any(plan.get(package, ABSENT) & mask for package, mask in soft.literals):
                continue
            search = Search(pinned, solving.view.rules, solving.budget.allow(POLISH_STEPS), newest_first)
            facts = [Clause(((p, bit),), None) for p, bit in sorted(plan.items())]
            try:
                fits = search.require([*facts, Clause(soft.literals, soft.why)]) and search.run()
            except OutOfBudgetError:
                fits = False
            if fits:
                plan = search.chosen()
                added |= {p for p, mask in soft.literals if plan.get(p, 0) & mask}
                for package, bit in plan.items():
                    pinned[package] = bit | ABSENT
    return plan, added


def _axis_value(axis: PackageIndex, bit: int) -> str | None:
    return axis.candidate(bit).version if bit > ABSENT else None


def _pinned(package: PackageIndex, wanted: Wanted) -> int:
    if wanted.release:
        return package.release_bits.get(wanted.release, 0)
    if wanted.version:
        return package.mask_of_version(wanted.version)
    return -1


def _shown(wanted: Wanted) -> Target:
    return Target(wanted.name, range=wanted.range, exactly=wanted.version or None)

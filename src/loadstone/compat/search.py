"""Finite-domain PubGrub: unit propagation over bitmask domains, learning from every dead end.

Only packages that something needs are looked at: a package becomes *active* when "absent" leaves its
domain, and only then are its own clauses attached. What is never activated stays absent, which satisfies
every clause it could have brought. Clauses that are already satisfied or unit at activation need no
watcher, because they can only be undone together with the activation itself.

The search is deterministic: it reads no clock to decide anything, only to give up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from loadstone.compat.budget import CONFLICT_STEPS, Budget
from loadstone.compat.clauses import Clause, Literals, Rules
from loadstone.compat.universe import ABSENT

RESTART_UNIT = 64
DECAY = 0.95
RESCALE = 1e100


class Objective(Protocol):
    """What a plan costs: a sum over packages."""

    def cost(self, package: int, domain: int) -> int:
        """The least that any value in the domain costs."""

    def cheaper(self, package: int, cost: int) -> int:
        """The values of the package that cost less than this."""


Prefer = Callable[[int, int], int]
"""(package, its present values as a mask) → the one bit to try first."""


def newest_first(_package: int, values: int) -> int:
    return values & -values


def oldest_first(_package: int, values: int) -> int:
    return 1 << (values.bit_length() - 1)


class Search:
    """One solve. `base` holds the values that each package may take at all in these surroundings."""

    def __init__(
        self,
        base: Sequence[int],
        rules: Callable[[int], Rules],
        budget: Budget,
        prefer: Prefer = newest_first,
        favour: Callable[[int], int] | None = None,
        extra: Sequence[int] = (),
    ) -> None:
        self.base = base
        self.dom = list(base)
        self.rules = rules
        self.budget = budget
        self.prefer = prefer
        self.favour = favour  # among the providers of a choice, the one with the lowest figure first
        self.extra = extra  # packages to decide although nothing needs them
        self.trail: list[tuple[int, int, Clause | None]] = []
        self.levels: list[tuple[int, int, int, int]] = []  # trail, active, choices, cursor before each
        self.cursor = 0  # active packages before this place are decided
        self.history: dict[int, list[tuple[int, int]]] = {}  # package → (level, values before)
        self.active: list[int] = []
        self.is_active = bytearray(len(self.dom))
        self.choices: list[Clause] = []
        self.pairs: dict[int, list[tuple[int, int, int, Clause]]] = {}
        self.wides: dict[int, list[list[int | Clause]]] = {}
        self.attached: set[int] = set()
        self.queue: list[int] = []
        self.picks: list[tuple[Clause, int, int]] = []  # (choice, package, level)
        self.activity: dict[int, float] = {}
        self.bump = 1.0
        self._heap: list[tuple[float, int]] = []  # (minus activity, package), with stale entries
        self._heaped: dict[int, float] = {}  # package → the activity of its entry that counts
        self.conflicts = 0
        self.refutation: Clause | None = None
        self._until = RESTART_UNIT
        self.objective: Objective | None = None
        self.bound = 0
        self.total = 0
        self.costs: dict[int, int] = {}

    # -- the outside --------------------------------------------------------------------------------

    def require(self, clauses: Iterable[Clause]) -> bool:
        """Add clauses at level 0; False if they cannot hold together (see `refutation`)."""
        self._backtrack(0)
        for clause in clauses:
            if not self._add(clause):
                return False
        return self._settle()

    def run(self) -> bool:
        """Search for values of all active packages. True: found, in `dom`; False: there are none.

        Raises OutOfBudgetError.
        """
        if self.refutation is not None or not self._settle():
            return False
        restarts, until = 0, RESTART_UNIT
        while True:
            if self.conflicts >= until:
                restarts += 1
                until = self.conflicts + RESTART_UNIT * _luby(restarts)
                self._backtrack(0)
                if not self._settle():
                    return False
            if not self._decide():
                return True
            if not self._settle():
                return False

    def assign(self, objective: Objective, bound: int) -> bool:
        """Ask for a cheaper plan than the last: at most `bound`. False if that is refuted already."""
        if self.refutation is not None:
            return False
        self._backtrack(0)
        self.bound = bound
        self.objective = objective
        self.costs = {}
        self.total = 0
        for package in dict.fromkeys((*self.active, *self.extra, *(moved for moved, _, _ in self.trail))):
            self._price(objective, package)
        return self.total <= bound and self._settle()

    def can_be(self, package: int, values: int) -> bool:
        """Whether some plan gives the package one of these values. What is learned stays for the next question.

        On True the plan is in `dom`. Raises OutOfBudgetError.
        """
        self._backtrack(0)
        while self.refutation is None:
            if not self.levels:
                left = self.dom[package] & values
                if not left:
                    return False
                self._open_level()
                if self.dom[package] != left:
                    self._shrink(package, left, None)
            elif self.conflicts >= self._until:
                self._until = self.conflicts + 4 * RESTART_UNIT
                self._backtrack(0)
                continue
            elif not self._decide():
                return True
            if not self._settle():
                return False
        return False

    def why_not(self, package: int, value: int) -> Clause:
        """After `can_be` said False: what that rests on, as an empty clause."""
        if self.refutation is not None:
            return self.refutation
        self._backtrack(0)
        return self._refute(Clause(((package, value),), None))

    def reset(self) -> None:
        """Back to what is certain."""
        self._backtrack(0)

    def chosen(self) -> dict[int, int]:
        """Package → bit, of every active package."""
        return {package: self.dom[package] for package in self.active}

    def _add(self, clause: Clause) -> bool:
        conflict: Clause | None = None
        if len(clause.literals) > 1:
            conflict = self._attach_wide(clause)
        else:
            package, mask = clause.literals[0] if clause.literals else (-1, 0)
            left = self.dom[package] & mask if clause.literals else 0
            if not left:
                conflict = clause
            elif left != self.dom[package]:
                self._shrink(package, left, clause)
        if conflict is not None:
            self.refutation = self._refute(conflict)
        return conflict is None

    # -- propagation --------------------------------------------------------------------------------

    def _settle(self) -> bool:
        """Propagate; turn each conflict into a learned clause. False if the empty clause was learned."""
        while True:
            conflict = self._propagate()
            if conflict is None:
                return True
            self.conflicts += 1
            self.budget.spend(CONFLICT_STEPS)
            self.queue.clear()
            if not self._learn(conflict):
                return False

    def _shrink(self, package: int, values: int, reason: Clause | None) -> None:
        old = self.dom[package]
        self.trail.append((package, old, reason))
        before = self.history.get(package)
        if before is None:
            self.history[package] = [(len(self.levels), old)]
        else:
            before.append((len(self.levels), old))
        self.dom[package] = values
        self.queue.append(package)

    def _propagate(self) -> Clause | None:
        dom, queue, spent = self.dom, self.queue, 0
        is_active, pairs, wides, objective = self.is_active, self.pairs, self.wides, self.objective
        conflict: Clause | None = None
        while queue and conflict is None:
            package = queue.pop()
            spent += 1
            values = dom[package]
            if package in pairs:
                conflict = self._visit_pairs(package, values)
            if conflict is None and package in wides:
                conflict = self._visit_wides(package)
            if conflict is None and not values & ABSENT and not is_active[package]:
                conflict = self._activate(package)
            if conflict is None and objective is not None:
                conflict = self._check_price(objective, package)
        self.budget.spend(spent)
        return conflict

    def _visit_pairs(self, package: int, values: int) -> Clause | None:
        """Propagate the watched two-literal clauses whose literal on this package became false."""
        dom = self.dom
        for mine, other, theirs, clause in self.pairs[package]:
            if not values & mine:
                now = dom[other]
                left = now & theirs
                if left != now:
                    if not left:
                        return clause
                    self._shrink(other, left, clause)
        return None

    def _activate(self, package: int) -> Clause | None:
        """The package is needed: bring in its clauses."""
        self.is_active[package] = 1
        self.active.append(package)
        if package in self.activity:
            self._queue_by_activity(package)
        dom = self.dom
        rules = self.rules(package)
        for mask, clause in rules.units:
            left = dom[package] & mask
            if left != dom[package]:
                if not left:
                    return clause
                self._shrink(package, left, clause)
        conflict = self._fire_pairs(package, rules)
        if conflict is not None:
            return conflict
        for clause in rules.wides:
            conflict = self._attach_wide(clause)
            if conflict is not None:
                return conflict
        return None

    def _fire_pairs(self, package: int, rules: Rules) -> Clause | None:
        """Propagate the two-literal clauses of a package; watch those that are still open."""
        dom = self.dom
        values = dom[package]
        for mine, other, theirs, clause in rules.pairs:
            now = dom[other]
            left = now & theirs
            if left == now:
                continue
            if not values & mine:
                if not left:
                    return clause
                self._shrink(other, left, clause)
            elif values & ~mine:
                if left:
                    self._watch_pair(package, mine, other, theirs, clause)
                else:
                    values &= mine
                    self._shrink(package, values, clause)
        return None

    def _watch_pair(self, package: int, mine: int, other: int, theirs: int, clause: Clause) -> None:
        if id(clause) in self.attached:
            return
        self.attached.add(id(clause))
        self.pairs.setdefault(package, []).append((mine, other, theirs, clause))
        self.pairs.setdefault(other, []).append((theirs, package, mine, clause))

    def _attach_wide(self, clause: Clause) -> Clause | None:
        """Attach a clause of three or more literals; it may turn out unit or false at once."""
        dom, literals = self.dom, clause.literals
        self.choices.append(clause)
        if id(clause) in self.attached:
            return None
        open_at: list[int] = []
        for at, (package, mask) in enumerate(literals):
            values = dom[package]
            if values & mask:
                if not values & ~mask:
                    return None
                open_at.append(at)
        if not open_at:
            return clause
        if len(open_at) == 1:
            package, mask = literals[open_at[0]]
            self._shrink(package, dom[package] & mask, clause)
            return None
        self._watch_wide(clause, open_at[0], open_at[1])
        return None

    def _watch_wide(self, clause: Clause, first: int, second: int) -> None:
        self.attached.add(id(clause))
        watcher: list[int | Clause] = [clause, first, second]
        for at in (first, second):
            self.wides.setdefault(clause.literals[at][0], []).append(watcher)

    def _visit_wides(self, package: int) -> Clause | None:
        """Move the watchers of clauses whose watched literal became false; propagate those left unit."""
        dom = self.dom
        watchers = self.wides[package]
        kept: list[list[int | Clause]] = []
        conflict: Clause | None = None
        for position, watcher in enumerate(watchers):
            clause, first, second = watcher
            assert isinstance(clause, Clause)
            assert isinstance(first, int)
            assert isinstance(second, int)
            literals = clause.literals
            mine, other = (first, second) if literals[first][0] == package else (second, first)
            if dom[package] & literals[mine][1]:
                kept.append(watcher)
                continue
            other_package, other_mask = literals[other]
            now = dom[other_package]
            if not now & ~other_mask:
                kept.append(watcher)
                continue
            for at, (candidate, mask) in enumerate(literals):
                if at not in (mine, other) and dom[candidate] & mask:
                    watcher[1], watcher[2] = at, other
                    self.wides.setdefault(candidate, []).append(watcher)
                    break
            else:
                kept.append(watcher)
                left = now & other_mask
                if not left:
                    conflict = clause
                    kept.extend(watchers[position + 1 :])
                    break
                self._shrink(other_package, left, clause)
        self.wides[package] = kept
        return conflict

    def _price(self, objective: Objective, package: int) -> None:
        """Keep the lower bound of the cost up to date with one package's domain."""
        cost = objective.cost(package, self.dom[package])
        self.total += cost - self.costs.get(package, 0)
        self.costs[package] = cost

    def _check_price(self, objective: Objective, package: int) -> Clause | None:
        self._price(objective, package)
        return self._too_dear(objective) if self.total > self.bound else None

    def _too_dear(self, objective: Objective) -> Clause:
        """The plan gets too expensive: one of the packages that cost something must cost less."""
        return Clause(tuple((p, objective.cheaper(p, paid)) for p, paid in self.costs.items() if paid), None)

    # -- decisions ----------------------------------------------------------------------------------

    def _decide(self) -> bool:
        """Open a level with one decision. False if everything is decided."""
        dom = self.dom
        best = self._most_active()
        if best < 0:
            active, at = self.active, self.cursor
            while at < len(active) and not dom[active[at]] & (dom[active[at]] - 1):
                at += 1
            if at < len(active):
                best = active[at]
            self.cursor = at
        if best >= 0:
            self._open_level()
            self._shrink(best, self.prefer(best, dom[best]), None)
            return True
        for package in self.extra:
            if dom[package] & (dom[package] - 1):
                self._open_level()
                self._shrink(package, self.prefer(package, dom[package]), None)
                return True
        choice = self._open_choice()
        if choice is None:
            return False
        clause, package, mask = choice
        self._open_level()
        self.picks.append((clause, package, len(self.levels)))
        self._shrink(package, dom[package] & mask, None)
        return True

    def _most_active(self) -> int:
        """The open package that took part most in recent conflicts; -1 if none did."""
        heap, dom = self._heap, self.dom
        while heap:
            weight, package = heap[0]
            if self._heaped.get(package) == -weight:
                if self.is_active[package] and dom[package] & (dom[package] - 1):
                    return package
                del self._heaped[package]
            heappop(heap)
        return -1

    def _queue_by_activity(self, package: int) -> None:
        activity = self.activity[package]
        if self._heaped.get(package) != activity:
            self._heaped[package] = activity
            heappush(self._heap, (-activity, package))

    def _open_choice(self) -> tuple[Clause, int, int] | None:
        dom, favour = self.dom, self.favour
        for clause in self.choices:
            option: tuple[int, int] | None = None
            literals: Iterable[tuple[int, int]] = clause.literals
            if favour is not None:
                literals = sorted(literals, key=lambda literal: favour(literal[0]))
            for package, mask in literals:
                values = dom[package]
                if values & mask:
                    if not values & ~mask or values & mask & ABSENT:
                        break  # holds already, or will when what is not needed stays absent
                    if option is None:
                        option = (package, mask)
            else:
                assert option is not None, "a clause without open literals is a conflict"
                return clause, *option
        return None

    def _open_level(self) -> None:
        self.levels.append((len(self.trail), len(self.active), len(self.choices), self.cursor))

    def _backtrack(self, level: int) -> None:
        if len(self.levels) <= level:
            return
        trail_size, active_size, choices_size, self.cursor = self.levels[level]
        dom, history = self.dom, self.history
        objective, activity = self.objective, self.activity
        for package, old, _ in reversed(self.trail[trail_size:]):
            dom[package] = old
            history[package].pop()
            if package in activity:
                self._queue_by_activity(package)
            if objective is not None:
                self._price(objective, package)
        del self.trail[trail_size:]
        for package in self.active[active_size:]:
            self.is_active[package] = 0
        del self.active[active_size:]
        del self.choices[choices_size:]
        del self.levels[level:]
        while self.picks and self.picks[-1][2] > level:
            self.picks.pop()
        self.queue.clear()

    # -- learning -----------------------------------------------------------------------------------

    def _learn(self, conflict: Clause) -> bool:
        """Resolve the conflict to its first unique implication point, jump back and assert it."""
        level = self._level_of(conflict)
        if level == 0:
            self.refutation = self._refute(conflict)
            return False
        self._backtrack(level)
        literals, used = self._resolve(conflict, level)
        asserted, back = -1, 0
        for package, mask in literals.items():
            at = self._falsified_at(package, mask)
            if at == level:
                asserted = package
            elif at > back:
                back = at
        self._backtrack(back)
        clause = Clause(tuple(sorted(literals.items())), None, used)
        self._bump_all(literals)
        if len(clause.literals) == 2:
            (a, a_mask), (b, b_mask) = clause.literals
            self._watch_pair(a, a_mask, b, b_mask, clause)
        elif len(clause.literals) > 2:
            self._watch_learned(clause, asserted)
        self._shrink(asserted, self.dom[asserted] & literals[asserted], clause)
        return True

    def _watch_learned(self, clause: Clause, asserted: int) -> None:
        """Watch the asserted literal and the one that was falsified last."""
        first, second, latest = -1, -1, -1
        for at, (package, mask) in enumerate(clause.literals):
            if package == asserted:
                first = at
                continue
            level = self._falsified_at(package, mask)
            if level > latest:
                second, latest = at, level
        self._watch_wide(clause, first, second)

    def _resolve(self, conflict: Clause, level: int) -> tuple[dict[int, int], tuple[Clause, ...]]:
        """Walk the trail of this level backwards until one literal of the level is left.

        Where the reason constrained the same package, both constraints meet in one literal, as in
        PubGrub's "prior cause": (p in A or X) and (p in B or Y) give (p in A and B) or X or Y.
        Literals that the surroundings falsify are left out; they are looked up again for explanations.
        """
        base = self.base
        start = self.levels[level - 1][0]
        before: dict[int, int] = {}
        for package, old, _ in self.trail[start:]:
            before.setdefault(package, old)
        literals: dict[int, int] = {}
        here: set[int] = set()
        used = [conflict]

        def merge(package: int, mask: int) -> None:
            whole = literals.get(package, 0) | mask
            if base[package] & whole:
                literals[package] = whole
                if before.get(package, 0) & whole:
                    here.add(package)

        for package, mask in conflict.literals:
            merge(package, mask)
        for package, old, reason in reversed(self.trail[start:]):
            if package not in here or not old & literals[package]:
                continue
            if len(here) == 1 or reason is None:
                break
            used.append(reason)
            pivot = literals.pop(package)
            here.discard(package)
            for other, mask in reason.literals:
                merge(other, pivot & mask if other == package else mask)
        return literals, tuple(used)

    def _level_of(self, conflict: Clause) -> int:
        """The level at which the clause became false (below the present one after a late wake-up)."""
        level = 0
        for package, mask in conflict.literals:
            level = max(level, self._falsified_at(package, mask))
        return level

    def _falsified_at(self, package: int, mask: int) -> int:
        for level, old in reversed(self.history.get(package, ())):
            if old & mask:
                return level
        return 0

    def _refute(self, conflict: Clause) -> Clause:
        """Everything that a conflict at level 0 rests on, as one empty clause."""
        literals: dict[int, int] = {}
        for package, mask in conflict.literals:
            literals[package] = literals.get(package, 0) | mask
        used = [conflict]
        for package, old, reason in reversed(self.trail):
            pivot = literals.get(package, 0)
            if not old & pivot:
                continue
            assert reason is not None, "level 0 holds no decisions"
            used.append(reason)
            del literals[package]
            for other, mask in reason.literals:
                literals[other] = literals.get(other, 0) | (pivot & mask if other == package else mask)
        return Clause((), None, tuple(used))

    def _bump_all(self, packages: Iterable[int]) -> None:
        for package in packages:
            self.activity[package] = self.activity.get(package, 0.0) + self.bump
            self._queue_by_activity(package)
        self.bump /= DECAY
        if self.bump > RESCALE:
            self.activity = {p: a / RESCALE for p, a in self.activity.items()}
            self.bump /= RESCALE
            self._heap, self._heaped = [], {}
            for package in self.activity:
                self._queue_by_activity(package)


def _luby(i: int) -> int:
    """The i-th term (from 1) of 1 1 2 1 1 2 4 and so on."""
    k = i.bit_length()
    while i != (1 << k) - 1:
        i -= (1 << (k - 1)) - 1
        k = i.bit_length()
    return int(1 << (k - 1))


def leaves(clause: Clause) -> list[Clause]:
    """The original clauses that a learned one follows from, each once, in a stable order."""
    found: dict[int, Clause] = {}
    seen: set[int] = set()
    stack = [clause]
    while stack:
        top = stack.pop()
        if id(top) in seen:
            continue
        seen.add(id(top))
        if top.antecedents:
            stack.extend(reversed(top.antecedents))
        elif top.why is not None:
            found[id(top)] = top
    return list(found.values())


def literals_hold(literals: Literals, plan: dict[int, int]) -> bool:
    """Whether a clause is true of a plan in which everything else is absent."""
    return any(plan.get(package, ABSENT) & mask for package, mask in literals)

"""Why a request cannot be met: a subset-minimal set of facts, in plain sentences.

The clauses that refuted the request are grouped into *statements* (one sentence each), and every
statement whose removal leaves a contradiction is removed. What remains is minimal: without any one of
the facts, the rest can be satisfied. What releases of a package fit here is a statement of its own, so
that "has no release for this build" appears exactly where it matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadstone.compat.budget import Budget, OutOfBudgetError
from loadstone.compat.clauses import Clause, Rules
from loadstone.compat.search import Search, leaves
from loadstone.compat.solving import Solving
from loadstone.compat.wording import Fact, Speaker, Statement

MAX_SENTENCES = 8
MINIMISE_STEPS = 40_000


class Reasons:
    """A refuted request and its minimal contradiction."""

    def __init__(self, solving: Solving, core: Iterable[Clause], budget: Budget | None = None) -> None:
        """Out of budget, the facts are true and contradict each other but may not be minimal."""
        self.solving = solving
        self.universe = solving.universe
        self._budget = budget or Budget(MINIMISE_STEPS)
        self.statements = self._minimise(self._grouped(core))

    def wanted(self) -> list[str]:
        """Names that were asked for and take part in the contradiction."""
        return sorted(
            {
                target.name
                for statement in self.statements
                for clause in statement.clauses
                if clause.why is not None and clause.why.kind == "wanted"
                for target in clause.why.targets
            }
        )

    def packages(self, kind: str) -> list[int]:
        """Packages of the statements of one kind."""
        return sorted({p for s in self.statements if s.kind == kind for p in s.packages})

    def facts(self) -> tuple[Fact, ...]:
        """The contradiction in sentences, at most MAX_SENTENCES, as a tree by `parent`."""
        return Speaker(self.solving).tell(self.statements, MAX_SENTENCES)

    def contradict(self, statements: Sequence[Statement]) -> bool:
        """Whether these statements cannot all hold."""
        return self._contradiction(statements, Budget(MINIMISE_STEPS)) is not None

    # -- minimising ---------------------------------------------------------------------------------

    def _grouped(self, core: Iterable[Clause]) -> list[Statement]:
        groups: dict[tuple[object, ...], Statement] = {}
        involved: set[int] = set()
        for clause in core:
            why = clause.why
            if why is None:
                continue
            involved.update(package for package, _ in clause.literals)
            key: tuple[object, ...]
            if why.kind == "wanted":
                key = (why.kind, why.targets)
            elif why.kind == "conflicts":
                key = (why.kind, *sorted(package for package, _ in clause.literals))
            else:
                key = (why.kind, why.subject, tuple(target.name for target in why.targets), why.axis)
            packages = () if why.subject < 0 else (why.subject,)
            groups.setdefault(key, Statement(why.kind, packages, [])).clauses.append(clause)
        base = self.solving.base
        for package in sorted(involved):
            if base[package] != self.universe.packages[package].every:
                groups["fits", package] = Statement("fits", (package,), [])
        return list(groups.values())

    def _minimise(self, statements: list[Statement]) -> list[Statement]:
        """Drop statements while the rest still contradicts itself; of two attempts the shorter one."""
        attempts = []
        for order in (list(reversed(statements)), statements):
            attempts.append(self._deleted(order, self._budget))
            if len(attempts[-1]) <= 3:
                break
        best = min(attempts, key=len)
        return [statement for statement in statements if any(statement is kept for kept in best)]

    def _deleted(self, statements: list[Statement], budget: Budget) -> list[Statement]:
        kept = statements
        at = 0
        while at < len(kept):
            try:
                rest = self._contradiction(kept[:at] + kept[at + 1 :], budget)
            except OutOfBudgetError:
                return kept
            if rest is None:
                at += 1
            else:
                # Only statements behind `at` can have gone besides: those before it are all needed.
                kept = rest
        return kept

    def _contradiction(self, statements: Sequence[Statement], budget: Budget) -> list[Statement] | None:
        """Those of the statements that a new refutation rests on; None if they can hold together."""
        by_home: dict[int, list[Clause]] = {}
        facts: list[Clause] = []
        used: dict[int, Statement] = {}
        base = list(self.solving.base)
        restricted = set()
        packages = self.universe.packages
        involved: set[int] = set()
        for statement in statements:
            if statement.kind == "fits":
                restricted.add(statement.packages[0])
            for clause in statement.clauses:
                used[id(clause)] = statement
                involved.update(package for package, _ in clause.literals)
                if statement.kind in ("wanted", "axis-choice"):
                    facts.append(clause)
                else:
                    by_home.setdefault(clause.literals[0][0], []).append(clause)
        for package in involved - restricted:
            base[package] = packages[package].every
        search = Search(base, lambda at: Rules(at, by_home.get(at, []), []), budget)
        if search.require(facts) and search.run():
            return None
        assert search.refutation is not None
        needed = {id(used[id(clause)]) for clause in leaves(search.refutation)}
        return [s for s in statements if id(s) in needed or s.kind == "fits"]


def render(facts: Sequence[Fact]) -> str:
    """The facts as an indented text, each with the claims behind it."""
    depths: list[int] = []
    lines = []
    for fact in facts:
        depths.append(0 if fact.parent is None else depths[fact.parent] + 1)
        said = f"  [{', '.join(fact.sources)}: {', '.join(fact.claims)}]" if fact.claims else ""
        lines.append(f"{'  ' * depths[-1]}{'because ' if depths[-1] else ''}{fact.text}{said}")
    return "\n".join(lines)

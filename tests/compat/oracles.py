"""Verdicts of CaDiCaL (python-sat) and libsolv (solv) on plain worlds. Both are for tests only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.compat.plain_world import PlainWorld


class SatOracle:
    """One incremental CaDiCaL for a world; a request is a set of assumptions."""

    def __init__(self, world: PlainWorld) -> None:
        from pysat.solvers import Solver

        self.world = world
        self._solver = Solver(name="cadical153")
        self.clauses: list[list[int]] = []
        self.top = len(world.releases)
        self.wanted: dict[str, int] = {}
        for numbers in world.by_package.values():
            self._at_most_one([n + 1 for n in numbers])
        for number, release in enumerate(world.releases):
            for options in release.requires:
                self._add([-(number + 1), *(n + 1 for n in sorted(options))])
            for other in sorted(release.conflicts):
                self._add([-(number + 1), -(other + 1)])
        for premises, conclusion in world.patches:
            self._add_patch(premises, conclusion)
        for package, numbers in world.by_package.items():
            self.top += 1
            self.wanted[package] = self.top
            self._add([-self.top, *(n + 1 for n in numbers)])
            for n in numbers:
                self._add([self.top, -(n + 1)])

    def _add(self, clause: list[int]) -> None:
        self.clauses.append(clause)
        self._solver.add_clause(clause)

    def _at_most_one(self, literals: list[int]) -> None:
        """Sequential encoding: linear in the number of releases."""
        if len(literals) <= 4:
            for i, a in enumerate(literals):
                for b in literals[i + 1 :]:
                    self._add([-a, -b])
            return
        before = 0
        for literal in literals:
            self.top += 1
            self._add([-literal, self.top])
            if before:
                self._add([-before, self.top])
                self._add([-before, -literal])
            before = self.top

    def _add_patch(self, premises: list[frozenset[int]], conclusion: frozenset[int]) -> None:
        present = []
        for premise in premises:
            self.top += 1
            present.append(self.top)
            for n in premise:
                self._add([-(n + 1), self.top])
        self._add([*(-p for p in present), *(n + 1 for n in sorted(conclusion))])

    def satisfiable(self, wanted: Iterable[str]) -> bool:
        assumptions = []
        for name in wanted:
            if name not in self.wanted:
                return False
            assumptions.append(self.wanted[name])
        return bool(self._solver.solve(assumptions=assumptions))

    def close(self) -> None:
        self._solver.delete()


class SolvOracle:
    """libsolv's verdict. Each relation becomes a capability that all matching releases provide."""

    def __init__(self, world: PlainWorld) -> None:
        import solv

        self._solv = solv
        self.world = world
        pool = self._pool = solv.Pool()
        pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        pool.setarch("x86_64")
        repo = pool.add_repo("world")
        capabilities: dict[frozenset[int], str] = {}
        provided: dict[int, list[str]] = {}

        def capability(numbers: frozenset[int]) -> str:
            name = capabilities.get(numbers)
            if name is None:
                name = capabilities[numbers] = f"cap-{len(capabilities)}"
                for number in numbers:
                    provided.setdefault(number, []).append(name)
            return name

        needs = [
            ([capability(r) for r in release.requires], capability(frozenset(release.conflicts)))
            for release in world.releases
        ]
        for number, release in enumerate(world.releases):
            solvable = repo.add_solvable()
            solvable.name = f"mod-{release.package}"
            solvable.evr = f"{1_000_000 - release.newer}-1"
            solvable.arch = "noarch"
            requires, conflicts = needs[number]
            for name in requires:
                solvable.add_deparray(solv.SOLVABLE_REQUIRES, pool.Dep(name))
            if release.conflicts:
                solvable.add_deparray(solv.SOLVABLE_CONFLICTS, pool.Dep(conflicts))
            for name in provided.get(number, ()):
                solvable.add_deparray(solv.SOLVABLE_PROVIDES, pool.Dep(name))
            solvable.add_deparray(
                solv.SOLVABLE_PROVIDES,
                pool.rel2id(pool.str2id(solvable.name), pool.str2id(solvable.evr), solv.REL_EQ),
            )
        repo.internalize()
        pool.createwhatprovides()

    def plan(self, wanted: Iterable[str]) -> dict[str, str] | None:
        """Package → version, or None where libsolv sees problems."""
        solv, pool = self._solv, self._pool
        jobs = []
        for name in sorted(set(wanted)):
            selection = pool.select(f"mod-{name}", solv.Selection.SELECTION_NAME)
            if selection.isempty():
                return None
            jobs += selection.jobs(solv.Job.SOLVER_INSTALL)
        solver = pool.Solver()
        solver.set_flag(solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, 1)
        if solver.solve(jobs):
            return None
        newer = {}
        for solvable in solver.transaction().newsolvables():
            newer[solvable.name.removeprefix("mod-")] = 1_000_000 - int(solvable.evr.split("-")[0])
        return {
            package: self.world.releases[self.world.by_package[package][behind]].version
            for package, behind in newer.items()
        }


def least_changes(world: PlainWorld, wanted: Iterable[str], lock: Mapping[str, str]) -> int | None:
    """The least number of packages that differ from `lock` in any plan (RC2, an exact MaxSAT solver)."""
    from pysat.examples.rc2 import RC2
    from pysat.formula import WCNF

    oracle = SatOracle(world)
    formula = WCNF()
    for clause in oracle.clauses:
        formula.append(clause)
    oracle.close()
    for name in wanted:
        if name not in oracle.wanted:
            return None
        formula.append([oracle.wanted[name]])
    lost = 0
    for package in lock.keys() | world.by_package.keys():
        numbers = world.by_package.get(package, [])
        kept = [n for n in numbers if world.releases[n].version == lock.get(package)]
        if kept:
            formula.append([kept[0] + 1], weight=1)
        elif package in lock:
            lost += 1
        else:
            formula.append([-oracle.wanted[package]], weight=1)
    with RC2(formula) as solver:
        return None if solver.compute() is None else int(solver.cost) + lost

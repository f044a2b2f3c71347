"""What makes one plan better than another, as a cost summed over packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadstone.compat.search import Objective, Prefer
from loadstone.compat.universe import ABSENT

CHANGE = 1_000_000
REMOVAL = 1_000


class Behind:
    """How many newer releases that fit here are passed over. `base` holds the values that fit."""

    def __init__(self, base: Sequence[int], first_axis: int) -> None:
        self._base = base
        self._first_axis = first_axis

    def cost(self, package: int, domain: int) -> int:
        best = domain & -domain
        if best == ABSENT or package >= self._first_axis:
            return 0
        return (self._base[package] & (best - 1) & ~ABSENT).bit_count()

    def cheaper(self, package: int, cost: int) -> int:
        left = self._base[package] & ~ABSENT
        mask = ABSENT
        for _ in range(cost):
            mask |= left & -left
            left &= left - 1
        return mask


class Changes:
    """How many packages differ from what is locked: first of all their number, then removals.

    A package that is not locked costs a change when it is added, a locked one when it moves or goes.
    """

    def __init__(self, locks: Mapping[int, int], first_axis: int) -> None:
        self._locks = locks
        self._first_axis = first_axis

    def cost(self, package: int, domain: int) -> int:
        lock = self._locks.get(package)
        if lock is None:
            return 0 if domain & ABSENT or package >= self._first_axis else CHANGE
        if domain & lock:
            return 0
        return CHANGE + 1 if domain & ~ABSENT else CHANGE + 1 + REMOVAL

    def cheaper(self, package: int, cost: int) -> int:
        lock = self._locks.get(package)
        if lock is None:
            return ABSENT
        return ~ABSENT if cost > CHANGE + 1 else lock

    def missing(self, plan: Mapping[int, int]) -> int:
        """The cost of locked packages that the plan leaves out."""
        return sum(self.cost(package, ABSENT) for package in self._locks if package not in plan)

    def count(self, plan: Mapping[int, int]) -> int:
        """The number of changed, added and removed packages of a whole plan."""
        added = sum(1 for package in plan if package not in self._locks and package < self._first_axis)
        return added + sum(1 for package, lock in self._locks.items() if plan.get(package, ABSENT) != lock)


def measured(objective: Objective, plan: Mapping[int, int]) -> int:
    """The cost of a plan over the packages that it or the objective speaks of."""
    cost = sum(objective.cost(package, bit) for package, bit in plan.items())
    if isinstance(objective, Changes):
        cost += objective.missing(plan)
    return cost


def change_preference(locks: Mapping[int, int]) -> Prefer:
    """What is locked stays; what cannot stay moves to its newest release; the rest is newest."""

    def prefer(package: int, values: int) -> int:
        kept = values & locks.get(package, 0)
        if kept:
            return kept
        present = values & ~ABSENT
        return present & -present if present else ABSENT

    return prefer

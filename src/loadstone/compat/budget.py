"""How much work an answer may take."""

from __future__ import annotations

from collections.abc import Callable

CONFLICT_STEPS = 20
"""What learning from a conflict costs, measured in domain changes looked at."""


class OutOfBudgetError(Exception):
    """The step budget or the deadline is used up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Budget:
    """Steps (one per domain change looked at, CONFLICT_STEPS per conflict) and a deadline on an injected clock."""

    __slots__ = ("_clock", "_deadline", "_outer", "limit", "steps")

    def __init__(
        self,
        steps: int,
        seconds: float | None = None,
        clock: Callable[[], float] | None = None,
        outer: Budget | None = None,
    ) -> None:
        self.limit = steps
        self.steps = 0
        self._clock = clock
        self._deadline = clock() + seconds if clock is not None and seconds is not None else None
        self._outer = outer

    def spend(self, steps: int) -> None:
        """Raises OutOfBudgetError when nothing is left."""
        self.steps += steps
        if self._outer is not None:
            self._outer.spend(steps)
        if self.steps > self.limit:
            raise OutOfBudgetError("steps")
        if self._deadline is not None and self._clock is not None and self._clock() > self._deadline:
            raise OutOfBudgetError("time")

    def allow(self, steps: int) -> Budget:
        """A smaller budget within this one, for work that may be left undone."""
        return Budget(min(steps, max(0, self.limit - self.steps)), outer=self)

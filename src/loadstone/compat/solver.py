"""Ask for mods, get a plan, the reasons why there is none, or a typed "gave up".

`solve` is a pure function of the universe and the request: the order of the request, earlier solves and
the machine do not change a byte of the answer, as long as the step budget and not the clock ends it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from loadstone.compat.budget import Budget
from loadstone.compat.explain import MINIMISE_STEPS, Reasons, render
from loadstone.compat.plan import Chosen, Note, Option, OrderPair, Question
from loadstone.compat.repair import Mender, Repair
from loadstone.compat.solving import (
    GaveUp,
    Locked,
    Policy,
    Refuted,
    Request,
    Solved,
    Solving,
    Wanted,
    at_time,
    rulebook_of,
    view_of,
    warm,
)
from loadstone.compat.surroundings import Surroundings
from loadstone.compat.universe import Universe
from loadstone.compat.wording import Fact

__all__ = [
    "Chosen",
    "Fact",
    "GaveUp",
    "Locked",
    "Note",
    "Option",
    "OrderPair",
    "Outcome",
    "Policy",
    "Question",
    "Repair",
    "Request",
    "Solved",
    "Surroundings",
    "Unsatisfiable",
    "Wanted",
    "at_time",
    "render",
    "rulebook_of",
    "solve",
    "view_of",
    "warm",
]

REPAIR_STEPS = 100_000
REPAIR_STEPS_PER_MOD = 30


class Unsatisfiable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """There is no plan. `facts` contradict each other, and none of them can be left out."""

    facts: tuple[Fact, ...] = ()
    repairs: tuple[Repair, ...] = ()
    steps: int = 0

    @property
    def text(self) -> str:
        """The facts as an indented tree."""
        return render(self.facts)


Outcome = Solved | Unsatisfiable | GaveUp


def solve(universe: Universe, request: Request, clock: Callable[[], float] | None = None) -> Outcome:
    """Resolve a request. `clock` returns seconds and is only read to keep the deadline of the request.

    Raises ValueError for a range that is not of the game's scheme.
    """
    known = at_time(universe, request.as_of)
    solving = Solving(known, request, clock)
    outcome = solving.run()
    if not isinstance(outcome, Refuted):
        return outcome
    if not (request.explain or request.repairs):
        return Unsatisfiable(steps=outcome.steps)
    reasons = Reasons(solving, outcome.core, Budget(MINIMISE_STEPS, request.seconds, clock))
    facts = reasons.facts() if request.explain else ()
    repairs: tuple[Repair, ...] = ()
    if request.repairs:
        budget = Budget(REPAIR_STEPS + REPAIR_STEPS_PER_MOD * len(request.wanted), request.seconds, clock)
        repairs = Mender(known, request, reasons, budget).repairs()
    return Unsatisfiable(facts=facts, repairs=repairs, steps=outcome.steps)

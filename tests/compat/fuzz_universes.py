"""Solver against oracles on generated universes: `python -m tests.compat.fuzz_universes --count 100000`.

For each small universe: the verdict of CaDiCaL and of libsolv, the plan by the independent checker and by
the plain world, the same plan for a shuffled request, and for some the minimal number of changes by
MaxSAT and the truth of explanations and repairs. Prints one line of figures and the seed of any failure.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import msgspec

from loadstone.compat.checker import check
from loadstone.compat.solver import GaveUp, Outcome, Request, Solved, Unsatisfiable, solve
from loadstone.compat.universe import Universe
from tests.compat.oracles import SatOracle, SolvOracle, least_changes
from tests.compat.plain_world import PlainWorld, universe_world
from tests.compat.worlds import World, random_lock, random_request, random_world


def examine(seed: int, counts: Counter[str], *, with_solv: bool = True) -> list[str]:
    """All that is wrong with the answers to one generated universe; an empty list is the aim."""
    rng = random.Random(seed)
    world = random_world(rng, mods=rng.choice((4, 8, 12)), patches=rng.random() < 0.4)
    universe = world.universe()
    wrong: list[str] = []
    for _ in range(2):
        request = random_request(rng, world)
        wrong += list(_examine_request(rng, world, universe, request, counts, with_solv=with_solv))
    return [f"seed {seed}: {problem}" for problem in wrong]


def _examine_request(
    rng: random.Random,
    world: World,
    universe: Universe,
    request: Request,
    counts: Counter[str],
    *,
    with_solv: bool,
) -> Iterator[str]:
    plain = universe_world(universe, request.surroundings)
    oracle = SatOracle(plain)
    names = [wanted.name for wanted in request.wanted]
    expected = oracle.satisfiable(names)
    oracle.close()
    outcome = solve(universe, request)
    counts["requests"] += 1
    counts["satisfiable"] += expected
    if isinstance(outcome, GaveUp):
        counts["gave up"] += 1
        return
    if isinstance(outcome, Solved) != expected:
        yield f"verdict {type(outcome).__name__}, CaDiCaL says {expected}: {names}"
        return
    if with_solv and not plain.patches:
        counts["libsolv"] += 1
        if (SolvOracle(plain).plan(names) is not None) != expected:
            yield f"libsolv disagrees with {expected}: {names}"
    if isinstance(outcome, Solved):
        yield from _examine_plan(rng, universe, plain, request, outcome)
        if rng.random() < 0.3:
            yield from _examine_changes(rng, world, universe, plain, request, counts)
    else:
        yield from _examine_reasons(universe, request, outcome, counts)


def _examine_plan(
    rng: random.Random, universe: Universe, plain: PlainWorld, request: Request, outcome: Solved
) -> Iterator[str]:
    versions = {chosen.package: chosen.version for chosen in outcome.plan}
    yield from plain.violations(versions)
    yield from (violation.text for violation in check(universe, request, outcome.plan))
    shuffled = list(request.wanted)
    rng.shuffle(shuffled)
    again = solve(universe, msgspec.structs.replace(request, wanted=tuple(shuffled)))
    if msgspec.json.encode(again) != msgspec.json.encode(outcome):
        yield "the order of the request changed the plan"


def _examine_changes(
    rng: random.Random,
    world: World,
    universe: Universe,
    plain: PlainWorld,
    request: Request,
    counts: Counter[str],
) -> Iterator[str]:
    locked = msgspec.structs.replace(request, locked=random_lock(rng, world), policy="minimal_change")
    outcome = solve(universe, locked)
    if not isinstance(outcome, Solved):
        yield "minimal change found no plan although there is one"
        return
    counts["minimal changes"] += 1
    yield from (violation.text for violation in check(universe, locked, outcome.plan))
    lock = {entry.package: entry.release.split("@")[1] for entry in locked.locked}
    least = least_changes(plain, [w.name for w in request.wanted], lock)
    if outcome.changes != least or not outcome.proven:
        yield f"{outcome.changes} changes (proven: {outcome.proven}), MaxSAT needs {least}"


def _examine_reasons(universe: Universe, request: Request, outcome: Outcome, counts: Counter[str]) -> Iterator[str]:
    assert isinstance(outcome, Unsatisfiable)
    counts["unsatisfiable"] += 1
    counts["with repair"] += bool(outcome.repairs)
    if not 1 <= len(outcome.facts) <= 8:
        yield f"{len(outcome.facts)} facts"
    for repair in outcome.repairs:
        repaired = repair.apply(request)
        mended = solve(universe, repaired)
        if not isinstance(mended, Solved) or check(universe, repaired, mended.plan):
            yield f"the repair does not hold: {repair.text}"


def run(first: int, count: int, seconds: float, *, with_solv: bool) -> int:
    """Examine `count` seeds or as many as fit into `seconds`; the number of problems."""
    counts: Counter[str] = Counter()
    problems = 0
    started = time.monotonic()
    seed = first
    while seed < first + count and time.monotonic() - started < seconds:
        for problem in examine(seed, counts, with_solv=with_solv):
            problems += 1
            print(problem, flush=True)
        seed += 1
        if (seed - first) % 1000 == 0:
            print(f"\r{seed - first} universes, {problems} problems", end="", file=sys.stderr, flush=True)
    figures = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"{seed - first} universes, {problems} problems: {figures}; {time.monotonic() - started:.0f} s")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--no-solv", action="store_true")
    options = parser.parse_args()
    return min(1, run(options.first, options.count, options.seconds, with_solv=not options.no_solv))


if __name__ == "__main__":
    sys.exit(main())

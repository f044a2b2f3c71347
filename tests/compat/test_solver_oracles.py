"""A sample of the comparison with CaDiCaL, libsolv and MaxSAT; `make fuzz-compat` runs the long one."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing

import pytest

from loadstone.compat.solver import GaveUp, Solved, solve
from tests.compat.fuzz_requests import GAMES, Arena, RealIndex, data_folder
from tests.compat.fuzz_universes import examine
from tests.compat.oracles import SatOracle
from tests.compat.plain_world import universe_world
from tests.compat.worlds import pigeonhole, three_sat

pytest.importorskip("pysat", reason="the oracle CaDiCaL (python-sat) is not installed")
pytest.importorskip("solv", reason="the oracle libsolv (solv) is not installed")


@pytest.fixture(scope="module")
def index() -> RealIndex:
    if not (data_folder() / "ckan.jsonl.zst").exists():
        pytest.skip("the real CKAN index is not here; set LOADSTONE_TEST_DATA to its folder")
    return RealIndex(data_folder())


@pytest.mark.parametrize("block", range(4))
def test_generated_universes_get_the_same_verdict_and_sound_minimal_plans(block):
    counts: Counter[str] = Counter()
    problems = [p for seed in range(block * 150, block * 150 + 150) for p in examine(seed, counts)]
    assert problems == []
    assert counts["satisfiable"] > 50
    assert counts["unsatisfiable"] > 50
    assert counts["minimal changes"] > 10
    assert not counts["gave up"]


@pytest.mark.parametrize("game", GAMES)
def test_real_requests_get_the_same_verdict_and_sound_plans(index, game):
    rng = random.Random(game)
    counts: Counter[str] = Counter()
    problems = []
    with closing(Arena(index, game)) as arena:
        for size in (1, 2, 5, 10, 30, 60):
            for popular in (True, False):
                for grown in (True, False):
                    ids = arena.draw(rng, size, popular=popular, grown=grown)
                    problems += arena.examine(ids, counts)
    assert problems == []
    assert 10 < counts["satisfiable"] < counts["requests"]
    assert counts["versions behind, ours"] <= counts["versions behind, libsolv"]


@pytest.mark.parametrize("seed", range(6))
def test_random_three_sat_at_the_phase_transition_is_decided_rightly(seed):
    world, request = three_sat(random.Random(seed), 30)
    universe = world.universe()
    with closing(SatOracle(universe_world(universe, request.surroundings))) as oracle:
        expected = oracle.satisfiable([wanted.name for wanted in request.wanted])
    assert isinstance(solve(universe, request), Solved) == expected


@pytest.mark.parametrize("holes", [2, 4, 5, 9])
def test_pigeons_without_holes_are_refused_or_given_up_never_housed(holes):
    world, request = pigeonhole(holes)
    outcome = solve(world.universe(), type(request)(wanted=request.wanted, steps=5_000, repairs=False))
    assert not isinstance(outcome, Solved)
    if holes <= 4:
        assert not isinstance(outcome, GaveUp)

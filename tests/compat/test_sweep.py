"""The sweep says of every release whether it can be installed, and stays right after changes."""

from __future__ import annotations

import random

import msgspec
import pytest

from loadstone.compat.changes import with_changes
from loadstone.compat.solver import Request, Solved, Surroundings, Wanted, solve, warm
from loadstone.compat.sweep import Sweep
from loadstone.compat.universe import Candidate, Target, Universe
from tests.compat.fuzz_requests import RealIndex, data_folder
from tests.compat.worlds import BUILDS, World, random_world


def by_solving(universe: Universe, here: Surroundings) -> dict[str, tuple[str, ...]]:
    """Package → installable versions, one solve for each release."""
    found = {}
    for held in universe.packages[: universe.first_axis]:
        package = held.package
        found[package.id] = tuple(
            candidate.version
            for candidate in package.candidates
            if isinstance(solve(universe, one(package.id, candidate, here)), Solved)
        )
    return {package: versions for package, versions in found.items() if versions}


def one(package: str, candidate: Candidate, here: Surroundings) -> Request:
    wanted = (Wanted(package, release=candidate.release),)
    return Request(wanted=wanted, surroundings=here, explain=False, repairs=False)


def by_sweeping(sweep: Sweep) -> dict[str, tuple[str, ...]]:
    return {verdict.package: verdict.installable for verdict in sweep.verdicts() if verdict.installable}


@pytest.mark.parametrize("seed", range(40))
def test_the_sweep_agrees_with_solving_each_release(seed):
    rng = random.Random(seed)
    universe = random_world(rng, mods=10).universe()
    here = Surroundings(builds=(rng.choice(BUILDS),))
    assert by_sweeping(Sweep(universe, here)) == by_solving(universe, here)


@pytest.mark.parametrize("seed", range(25))
def test_after_each_change_the_sweep_equals_a_new_one(seed):
    rng = random.Random(1000 + seed)
    world = random_world(rng, mods=10)
    held_back = world.claims[len(world.claims) // 2 :]
    del world.claims[len(world.claims) // 2 :]
    here = Surroundings(builds=("1.1",))
    universe = warm(world.universe())
    sweep = Sweep(universe, here)
    for claim in held_back:
        changed = with_changes(sweep.universe, add=[claim])
        sweep = sweep.after(changed)
        world.claims.append(claim)
        fresh = Sweep(world.universe(), here)
        assert by_sweeping(sweep) == by_sweeping(fresh)
    for claim in held_back[:3]:
        sweep = sweep.after(with_changes(sweep.universe, remove=[claim.id]))
        world.claims.remove(claim)
        assert by_sweeping(sweep) == by_sweeping(Sweep(world.universe(), here))


@pytest.mark.parametrize("seed", range(20))
def test_a_new_release_is_swept_like_everything_else(seed):
    rng = random.Random(2000 + seed)
    world = random_world(rng, mods=8)
    here = Surroundings()
    sweep = Sweep(world.universe(), here)
    at = rng.randrange(len(world.packages))
    package = world.packages[at]
    newer = Candidate(release=f"{package.id}@9.0", version="9.0")
    package = msgspec.structs.replace(package, candidates=(newer, *package.candidates))
    sweep = sweep.after(with_changes(sweep.universe, packages=[package]))
    world.packages[at] = package
    assert by_sweeping(sweep) == by_sweeping(Sweep(world.universe(), here))


def test_a_whole_new_package_makes_others_installable():
    world = World()
    world.mod("app", "1.0")
    world.claim("requires", "app", "lib")
    sweep = Sweep(world.universe(), Surroundings())
    assert sweep.bitmap() == frozenset()
    world.mod("lib", "1.0")
    sweep = sweep.after(with_changes(sweep.universe, packages=[world.packages[-1]]))
    assert sweep.bitmap() == {"app", "lib"}


def test_what_cannot_be_installed_explains_itself():
    world = World()
    world.mod("app", "1.0")
    world.mod("lib", "1.0", builds=(("1.0", "1.0"),))
    world.claim("requires", "app", Target("lib"))
    sweep = Sweep(world.universe(), Surroundings(builds=("2.0",)))
    assert sweep.bitmap() == frozenset()
    assert "does not run on game build 2.0" in sweep.reason("app")[-1].text
    assert [verdict.package for verdict in sweep.verdicts()] == ["app"]


def test_five_percent_of_the_real_index_only_seem_to_be_installable():
    if not (data_folder() / "ckan.jsonl.zst").exists():
        pytest.skip("the real CKAN index is not here; set LOADSTONE_TEST_DATA to its folder")
    universe = RealIndex(data_folder()).universe
    sweep = Sweep(universe, Surroundings(builds=("1.12.5",)))
    verdicts = sweep.verdicts()
    assert len(verdicts) == 1_779
    assert not any(verdict.undecided for verdict in verdicts)
    barred = [verdict.package for verdict in verdicts if not verdict.installable]
    assert 0.04 < len(barred) / len(verdicts) < 0.07
    assert all(sweep.reason(package) for package in barred[:20])

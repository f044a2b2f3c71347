"""The universe turns ranges and names into masks, and knows where game builds stand."""

from __future__ import annotations

import pickle

import pytest

from loadstone.compat.changes import with_changes
from loadstone.compat.solver import Surroundings, solve, view_of, warm
from loadstone.compat.universe import ABSENT, BuildLine, Target, UnknownPackageError, bits
from tests.compat.worlds import World, asked


def test_bits_run_from_absent_over_the_newest_to_the_oldest():
    world = World()
    world.mod("app", "3.0", "2.0", "1.0")
    package = world.universe().packages[0]
    assert package.every == 0b1111
    assert package.present == 0b1110
    assert [package.candidate(bit).version for bit in bits(package.present)] == ["3.0", "2.0", "1.0"]
    assert not package.present & ABSENT


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target("app"), ["3.0", "2.0", "1.0"]),
        (Target("app", at_least="2.0"), ["3.0", "2.0"]),
        (Target("app", at_most="2.0"), ["2.0", "1.0"]),
        (Target("app", exactly="2.0"), ["2.0"]),
        (Target("app", range=">1.0", at_most="2.0"), ["2.0"]),
        (Target("app", range="<1.0"), []),
    ],
)
def test_bounds_become_masks(target, expected):
    world = World()
    world.mod("app", "3.0", "2.0", "1.0")
    package = world.universe().packages[0]
    assert [package.candidate(bit).version for bit in bits(package.mask_of(target))] == expected


def test_a_name_is_answered_by_its_bearer_first_and_then_by_rank():
    world = World()
    for name, rank in (("lib", 0.0), ("a", 1.0), ("b", 5.0)):
        world.mod(name, "1.0", rank=rank)
    world.claim("provides", "a", "lib")
    world.claim("provides", "b", "lib")
    universe = world.universe()
    assert [universe.packages[i].package.id for i in universe.matches(Target("lib"))] == ["lib", "b", "a"]


def test_unknown_ids_are_named():
    with pytest.raises(UnknownPackageError, match="ghost"):
        World().universe().number("ghost")


@pytest.mark.parametrize(
    ("text", "listed_inside"),
    [("1.12.5", ["1.12.5"]), ("1.12", ["1.12.0", "1.12.5"]), ("1.12.99", []), ("1", ["1.11.0", "1.12.0", "1.12.5"])],
)
def test_a_prefix_stands_for_every_build_below_it(text, listed_inside):
    line = BuildLine(["1.11.0", "1.12.0", "1.12.5", "2.0.0"])
    low, high = line.span(text)
    assert [build for build in line.builds if low <= line.span(build)[0] <= high] == listed_inside


def test_a_build_between_two_listed_ones_keeps_its_place():
    line = BuildLine(["1.11.0", "1.12.0", "1.12.5", "2.0.0"])
    assert line.span("1.12.5") < line.span("1.12.99") < line.span("2.0.0")


def test_listed_builds_keep_the_given_order_whatever_their_names():
    line = BuildLine(["alpha", "23w45a", "1.20.3", "april-fools"])
    positions = [line.span(build) for build in line.builds]
    assert positions == sorted(positions)


def test_a_snapshot_answers_like_the_original():
    world = World()
    world.mod("app", "2.0", "1.0", builds=(("1.0", "1.1"),))
    world.mod("lib", "1.0")
    world.claim("requires", "app", Target("lib", range=">=1.0"))
    universe = warm(world.universe())
    request = asked("app", surroundings=Surroundings(builds=("1.1",)))
    expected = solve(universe, request)
    restored = pickle.loads(pickle.dumps(universe))
    assert solve(restored, request) == expected


def test_a_change_leaves_the_old_universe_as_it_was_and_keeps_what_it_can():
    world = World()
    for name in ("app", "lib", "far"):
        world.mod(name, "1.0")
    world.claim("requires", "app", "lib")
    before = warm(world.universe())
    claim = World().claim("conflicts", "app", "lib", id="new")
    changed = with_changes(before, add=[claim])
    assert changed.touched == {before.number("app")}
    assert "new" in changed.universe.claim_index
    assert "new" not in before.claim_index
    assert changed.universe.packages[0] is before.packages[0]
    assert [type(solve(u, asked("app"))).__name__ for u in (before, changed.universe)] == ["Solved", "Unsatisfiable"]


def test_the_same_surroundings_share_one_view():
    universe = World().universe()
    assert view_of(universe, Surroundings(builds=("1.0",))) is view_of(universe, Surroundings(builds=("1.0",)))

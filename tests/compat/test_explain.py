"""Explanations are minimal, short and true; every repair that is offered holds."""

from __future__ import annotations

import random

import msgspec
import pytest

from loadstone.compat.checker import check
from loadstone.compat.explain import MAX_SENTENCES, Reasons
from loadstone.compat.solver import Solved, Surroundings, Unsatisfiable, Wanted, render, solve
from loadstone.compat.solving import Refuted, Solving
from loadstone.compat.universe import Target
from tests.compat.worlds import World, asked, deep_chain, random_request, random_world


def refused(world: World, request) -> Unsatisfiable:
    outcome = solve(world.universe(), request)
    assert isinstance(outcome, Unsatisfiable)
    return outcome


def a_quarrel() -> World:
    """`left` and `right` need different versions of `core`; much else is about as well."""
    world = World()
    for name in ("left", "right", "noise", "more-noise"):
        world.mod(name, "2.0", "1.0")
    world.mod("core", "2.0", "1.0")
    world.claim("requires", "left", Target("core", at_least="2.0"), id="left says")
    world.claim("requires", "right", Target("core", at_most="1.0"), id="right says", source="curator")
    world.claim("requires", "noise", "core")
    world.claim("conflicts", "more-noise", Target("noise", exactly="1.0"))
    return world


def test_the_facts_name_the_real_cause_and_who_said_it():
    outcome = refused(a_quarrel(), asked("noise", "left", "more-noise", "right"))
    assert [fact.text for fact in outcome.facts] == [
        "You asked for left.",
        "left requires core 2.0 or newer.",
        "You asked for right.",
        "right requires core 1.0 or older.",
    ]
    assert [fact.claims for fact in outcome.facts] == [(), ("left says",), (), ("right says",)]
    assert outcome.facts[3].sources == ("curator",)
    assert [fact.parent for fact in outcome.facts] == [None, 0, None, 2]


def test_the_text_form_is_an_indented_tree():
    outcome = refused(a_quarrel(), asked("left", "right"))
    assert render(outcome.facts).splitlines() == [
        "You asked for left.",
        "  because left requires core 2.0 or newer.  [author: left says]",
        "You asked for right.",
        "  because right requires core 1.0 or older.  [curator: right says]",
    ]


def test_dropping_either_side_of_a_quarrel_is_offered():
    outcome = refused(a_quarrel(), asked("left", "right", "noise"))
    assert {repair.drop for repair in outcome.repairs} == {("left",), ("right",)}


def test_no_fact_of_an_explanation_can_be_left_out():
    seen = 0
    for seed in range(150):
        rng = random.Random(seed)
        world = random_world(rng, mods=8)
        solving = Solving(world.universe(), random_request(rng, world), None)
        outcome = solving.run()
        if not isinstance(outcome, Refuted):
            continue
        reasons = Reasons(solving, outcome.core)
        assert reasons.contradict(reasons.statements)
        for left_out in reasons.statements:
            assert not reasons.contradict([s for s in reasons.statements if s is not left_out])
            seen += 1
    assert seen > 200


def test_long_chains_are_told_in_few_sentences():
    world, request = deep_chain(40, broken=True)
    outcome = refused(world, request)
    assert len(outcome.facts) <= MAX_SENTENCES
    assert "n000039 requires missing, which nothing here offers" in outcome.text


def test_repairs_come_with_the_smallest_change_first_and_hold():
    world = World()
    world.mod("app", "1.0", builds=(("1.0", "1.1"),))
    world.mod("other", "1.0")
    world.mod("expansion", "1.0", kind="dlc")
    world.claim("requires", "other", "expansion")
    universe = world.universe()
    request = asked("app", "other", surroundings=Surroundings(builds=("1.1",)))
    outcome = refused(world, request)
    assert [repair.kind for repair in outcome.repairs] == ["own", "drop"]
    for repair in outcome.repairs:
        mended = repair.apply(request)
        solved = solve(universe, mended)
        assert isinstance(solved, Solved)
        assert check(universe, mended, solved.plan) == []
        assert len(solved.plan) == repair.plan_size


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (Wanted("app", version="1.0"), "loosen"),
        (Wanted("old"), "substitute"),
        (Wanted("beta"), "accept_channel"),
        (Wanted("past"), "use_build"),
    ],
)
def test_each_kind_of_obstacle_has_its_way_out(wanted, kind):
    world = World()
    world.mod("app", "2.0", "1.0")
    world.claim("requires", "app", "nothing", releases=("app@1.0",))
    world.mod("old", "1.0", builds=(("1.0", "1.0"),))
    world.mod("successor", "1.0")
    world.claim("replaces", "successor", "old")
    world.mod("beta", "1.0-beta", channel="beta")
    world.mod("past", "1.0", builds=(("1.0", "1.1"),))
    request = msgspec.structs.replace(asked(surroundings=Surroundings(builds=("2.0",))), wanted=(wanted,))
    assert kind in [repair.kind for repair in refused(world, request).repairs]


def test_where_nothing_fits_the_build_that_saves_most_is_offered():
    world = World()
    world.mod("a", "1.0", builds=(("1.0", "1.0"),))
    world.mod("b", "1.0", builds=(("1.0", "1.0"),))
    world.mod("c", "1.0", builds=(("1.1", "1.1"),))
    outcome = refused(world, asked("a", "b", "c", surroundings=Surroundings(builds=("2.0",))))
    assert ("1.0", ("c",)) in [(repair.use_build, repair.drop) for repair in outcome.repairs]

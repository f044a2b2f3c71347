"""What the solver understands, one behaviour at a time."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest

from loadstone.compat.checker import check
from loadstone.compat.solver import (
    GaveUp,
    Locked,
    Outcome,
    Request,
    Solved,
    Surroundings,
    Unsatisfiable,
    Wanted,
    solve,
)
from loadstone.compat.universe import Candidate, Package, Target
from tests.compat.worlds import World, asked, deep_chain, pigeonhole, three_sat, wide_any_of


def versions(outcome: Outcome) -> dict[str, str]:
    assert isinstance(outcome, Solved), outcome
    return {chosen.package: chosen.version for chosen in outcome.plan}


def resolve(world: World, request: Request) -> dict[str, str]:
    """The plan, which the independent checker must find sound."""
    universe = world.universe()
    outcome = solve(universe, request)
    plan = versions(outcome)
    assert check(universe, request, outcome.plan) == []
    return plan


def test_the_newest_release_is_chosen_and_its_needs_come_along():
    world = World()
    world.mod("app", "2.0", "1.0")
    world.mod("lib", "3.0", "2.0")
    world.mod("other", "1.0")
    world.claim("requires", "app", "lib")
    assert resolve(world, asked("app")) == {"app": "2.0", "lib": "3.0"}


def test_the_oldest_policy_takes_the_oldest_that_holds():
    world = World()
    world.mod("app", "2.0", "1.0")
    world.mod("lib", "3.0", "2.0", "1.0")
    world.claim("requires", "app", Target("lib", at_least="2.0"))
    assert resolve(world, asked("app", policy="oldest")) == {"app": "1.0", "lib": "2.0"}


def test_where_a_greedy_walk_fails_an_older_release_is_found():
    world = World()
    world.mod("a", "2.0", "1.0")
    world.mod("b", "1.0")
    world.mod("lib", "2.0", "1.0")
    world.claim("requires", "a", Target("lib", at_least="2.0"), releases=("a@2.0",))
    world.claim("requires", "b", Target("lib", at_most="1.0"))
    assert resolve(world, asked("a", "b")) == {"a": "1.0", "b": "1.0", "lib": "1.0"}


@pytest.mark.parametrize("range_", [">=1.0 <2.0", "1.5"])
def test_a_range_of_the_request_is_kept(range_):
    world = World()
    world.mod("app", "2.0", "1.5", "0.5")
    request = Request(wanted=(Wanted("app", range=range_),))
    assert resolve(world, request) == {"app": "1.5"}


def test_a_pin_by_version_or_release_is_kept():
    world = World()
    world.mod("app", "2.0", "1.5", "0.5")
    assert resolve(world, Request(wanted=(Wanted("app", version="0.5"),))) == {"app": "0.5"}
    assert resolve(world, Request(wanted=(Wanted("app", release="app@1.5"),))) == {"app": "1.5"}


def test_contradictory_pins_are_refused_with_both_as_facts():
    world = World()
    world.mod("app", "2.0", "1.0")
    outcome = solve(world.universe(), Request(wanted=(Wanted("app", version="2.0"), Wanted("app", version="1.0"))))
    assert isinstance(outcome, Unsatisfiable)
    assert [fact.text for fact in outcome.facts] == ["You asked for app 1.0.", "You asked for app 2.0."]


def test_an_unversioned_provide_satisfies_any_bound():
    world = World()
    world.mod("app", "1.0")
    world.mod("fork", "0.1")
    world.claim("requires", "app", Target("lib", at_least="5.0"))
    world.claim("provides", "fork", "lib")
    assert resolve(world, asked("app")) == {"app": "1.0", "fork": "0.1"}


def test_a_versioned_provide_only_satisfies_bounds_that_hold_its_version():
    world = World()
    world.mod("app", "1.0")
    world.mod("fork", "2.0", "1.0")
    world.claim("requires", "app", Target("lib", at_least="5.0"))
    world.claim("provides", "fork", Target("lib", version="4.0"), releases=("fork@2.0",))
    world.claim("provides", "fork", Target("lib", version="6.0"), releases=("fork@1.0",))
    assert resolve(world, asked("app")) == {"app": "1.0", "fork": "1.0"}


def test_a_conflict_meets_providers_but_never_the_claimant_itself():
    world = World()
    world.mod("red", "1.0")
    world.mod("blue", "1.0")
    for name in ("red", "blue"):
        world.claim("provides", name, "colour")
        world.claim("conflicts", name, "colour")
    assert resolve(world, asked("red")) == {"red": "1.0"}
    assert isinstance(solve(world.universe(), asked("red", "blue")), Unsatisfiable)


def test_variants_of_one_mod_exclude_each_other():
    world = World()
    for size in ("1k", "2k", "4k"):
        world.mod(f"textures-{size}", "1.0", group="textures")
        world.claim("provides", f"textures-{size}", "textures")
        world.claim("conflicts", f"textures-{size}", "textures")
    assert isinstance(solve(world.universe(), asked("textures-1k", "textures-4k")), Unsatisfiable)
    assert len(resolve(world, asked("textures"))) == 1


def test_a_choice_between_providers_is_asked_and_can_be_answered():
    world = World()
    world.mod("app", "1.0")
    world.mod("small", "1.0", rank=1.0)
    world.mod("large", "1.0", rank=9.0)
    world.claim("requires", "app", "config", id="needs-config")
    world.claim("provides", "small", "config")
    world.claim("provides", "large", "config")
    outcome = solve(world.universe(), asked("app"))
    assert isinstance(outcome, Solved)
    [question] = outcome.questions
    assert [option.package for option in question.options] == ["large", "small"]
    assert (question.chosen, question.asked_by, question.claims) == ("large", "app", ("needs-config",))
    assert "small" in resolve(world, asked("app", choices=(("config", "small"),)))


def test_no_question_is_asked_where_something_wanted_provides_it_already():
    world = World()
    world.mod("app", "1.0")
    world.mod("small", "1.0")
    world.mod("large", "1.0")
    world.claim("any_of", "app", "large", "small")
    outcome = solve(world.universe(), asked("app", "small"))
    assert versions(outcome) == {"app": "1.0", "small": "1.0"}
    assert outcome.questions == ()


def test_a_yanked_release_is_never_newly_chosen_but_stays_where_it_is_locked():
    world = World()
    world.packages.append(
        Package(
            id="app",
            name="App",
            candidates=(
                Candidate(release="app@2.0", version="2.0", yanked=True),
                Candidate(release="app@1.0", version="1.0"),
            ),
        )
    )
    assert resolve(world, asked("app")) == {"app": "1.0"}
    locked = asked("app", locked=(Locked("app", release="app@2.0"),), policy="minimal_change")
    assert resolve(world, locked) == {"app": "2.0"}
    outcome = solve(world.universe(), locked)
    assert [note.kind for note in outcome.notes] == ["yanked-kept"]


def test_a_quarantined_release_is_gone_even_where_it_is_locked():
    world = World()
    world.mod("app", "1.0", quarantined=True)
    locked = asked("app", locked=(Locked("app", release="app@1.0"),), policy="minimal_change")
    assert isinstance(solve(world.universe(), locked), Unsatisfiable)


def test_channels_are_tolerated_as_a_whole_or_for_one_package():
    world = World()
    for name in ("a", "b"):
        world.packages.append(
            Package(
                id=name,
                name=name,
                candidates=(
                    Candidate(release=f"{name}@2.0-beta", version="2.0-beta", channel="beta"),
                    Candidate(release=f"{name}@1.0", version="1.0"),
                ),
            )
        )
    assert resolve(world, asked("a", "b")) == {"a": "1.0", "b": "1.0"}
    both = Surroundings(channels=("release", "beta"))
    assert resolve(world, asked("a", "b", surroundings=both)) == {"a": "2.0-beta", "b": "2.0-beta"}
    one = Surroundings(package_channels=(("b", ("beta",)),))
    assert resolve(world, asked("a", "b", surroundings=one)) == {"a": "1.0", "b": "2.0-beta"}


def test_a_dlc_must_be_owned():
    world = World()
    world.mod("app", "1.0")
    world.mod("expansion", "1.0", kind="dlc")
    world.claim("requires", "app", "expansion")
    assert isinstance(solve(world.universe(), asked("app")), Unsatisfiable)
    assert "expansion" in resolve(world, asked("app", surroundings=Surroundings(owned=("expansion",))))


@pytest.mark.parametrize(("build", "expected"), [("1.0", "1.0"), ("1.2", "2.0"), ("2.0", "3.0")])
def test_game_builds_limit_releases(build, expected):
    world = World()
    limits = {"3.0": ("2.0", None), "2.0": ("1.1", "1.2"), "1.0": (None, "1.0")}
    candidates = tuple(
        Candidate(release=f"app@{version}", version=version, builds=(span,)) for version, span in limits.items()
    )
    world.packages.append(Package(id="app", name="App", candidates=candidates))
    assert resolve(world, asked("app", surroundings=Surroundings(builds=(build,)))) == {"app": expected}


def test_what_was_found_out_about_builds_counts_beside_what_the_author_said():
    world = World()
    world.mod("app", "2.0", "1.0", builds=(("1.0", "1.0"),))
    here = asked("app", surroundings=Surroundings(builds=("1.1",)))
    assert isinstance(solve(world.universe(), here), Unsatisfiable)
    world.claim("works_with", "app", builds=(("1.1", "1.2"),), source="curator")
    assert resolve(world, here) == {"app": "2.0"}
    world.claim("broken_in", "app", builds=(("1.1", "1.1"),), releases=("app@2.0",), source="telemetry")
    assert resolve(world, here) == {"app": "1.0"}


def test_the_solver_can_choose_one_build_for_all():
    world = World()
    world.mod("a", "1.0", builds=((None, "1.1"),))
    world.mod("b", "1.0", builds=(("1.1", None),))
    world.mod("c", "1.0", builds=(("1.2", None),))
    anywhere = Surroundings(choose_build=True)
    outcome = solve(world.universe(), asked("a", "b", surroundings=anywhere))
    assert versions(outcome) == {"a": "1.0", "b": "1.0"}
    assert outcome.build == "1.1"
    refused = solve(world.universe(), asked("a", "c", surroundings=anywhere))
    assert isinstance(refused, Unsatisfiable)
    assert {"a", "c"} <= {package for fact in refused.facts for package in fact.packages}


def test_the_solver_can_choose_one_loader_for_all():
    world = World()
    world.mod("a", "1.0", loaders=("fabric", "quilt"))
    world.mod("b", "1.0", loaders=("forge", "quilt"))
    outcome = solve(world.universe(), asked("a", "b", surroundings=Surroundings(choose_loader=True)))
    assert versions(outcome) == {"a": "1.0", "b": "1.0"}
    assert outcome.loader == "quilt"


def test_loader_os_and_side_limit_releases():
    world = World()
    world.mod("a", "2.0", "1.0")
    world.claim("needs", "a", Target("fabric", axis="loader"), releases=("a@2.0",))
    world.claim("needs", "a", Target("client", axis="side"), releases=("a@1.0",))
    assert resolve(world, asked("a", surroundings=Surroundings(loader="forge"))) == {"a": "1.0"}
    on_server = Surroundings(loader="forge", side="server")
    assert isinstance(solve(world.universe(), asked("a", surroundings=on_server)), Unsatisfiable)


def test_a_patch_is_required_where_both_mods_are_there():
    world = World()
    for name in ("a", "b", "patch"):
        world.mod(name, "1.0")
    world.claim("patches", "patch", "a", "b")
    assert resolve(world, asked("a")) == {"a": "1.0"}
    assert set(resolve(world, asked("a", "b"))) == {"a", "b", "patch"}


def test_a_recommended_patch_comes_with_recommendations_only():
    world = World()
    for name in ("a", "b", "patch"):
        world.mod(name, "1.0")
    world.claim("patches", "patch", "a", "b", strength="recommend")
    assert "patch" not in resolve(world, asked("a", "b"))
    assert "patch" in resolve(world, asked("a", "b", recommends=True))


def test_recommendations_are_added_in_order_where_they_fit_beside_the_plan():
    world = World()
    for name in ("app", "first", "second", "third"):
        world.mod(name, "1.0")
    world.claim("recommends", "app", "first", id="1")
    world.claim("recommends", "app", "second", id="2")
    world.claim("recommends", "app", "third", id="3")
    world.claim("conflicts", "second", "first")
    assert set(resolve(world, asked("app", recommends=True))) == {"app", "first", "third"}
    assert set(resolve(world, asked("app", "second", recommends=True))) == {"app", "second", "third"}


def test_discouraged_company_is_avoided_but_not_at_the_price_of_the_request():
    world = World()
    world.mod("app", "1.0")
    world.mod("bad", "1.0", rank=9.0)
    world.mod("good", "1.0")
    world.claim("any_of", "app", "bad", "good")
    world.claim("discouraged", "app", "bad", id="they quarrel")
    assert set(resolve(world, asked("app"))) == {"app", "good"}
    outcome = solve(world.universe(), asked("app", "bad"))
    assert set(versions(outcome)) == {"app", "bad"}
    assert [note.claims for note in outcome.notes] == [("they quarrel",)]


def test_load_order_claims_between_planned_mods_come_back_as_pairs():
    world = World()
    for name in ("a", "b", "c"):
        world.mod(name, "1.0")
    world.claim("order_after", "a", "b", "c")
    world.claim("order_before", "b", "a", "nobody")
    outcome = solve(world.universe(), asked("a", "b"))
    assert {(pair.first, pair.then) for pair in outcome.order} == {("b", "a")}


def test_a_lock_changes_as_little_as_it_can():
    world = World()
    world.mod("old", "3.0", "2.0", "1.0")
    world.mod("lib", "3.0", "2.0", "1.0")
    world.mod("new", "1.0")
    world.claim("requires", "new", Target("lib", at_least="2.0"))
    lock = (Locked("old", version="1.0"), Locked("lib", version="1.0"))
    outcome = solve(world.universe(), asked("new", "old", locked=lock, policy="minimal_change"))
    assert versions(outcome) == {"lib": "3.0", "new": "1.0", "old": "1.0"}
    assert (outcome.changes, outcome.proven) == (2, True)
    assert {chosen.package: chosen.was for chosen in outcome.plan if chosen.was} == {"lib": "1.0"}


def test_a_lock_keeps_what_nobody_asked_for():
    world = World()
    world.mod("kept", "2.0", "1.0")
    world.mod("new", "1.0")
    lock = (Locked("kept", version="1.0"),)
    assert resolve(world, asked("new", locked=lock, policy="minimal_change")) == {"kept": "1.0", "new": "1.0"}


def test_a_lock_on_what_no_longer_exists_is_noted_and_does_no_harm():
    world = World()
    world.mod("app", "1.0")
    lock = (Locked("ghost", version="1.0"), Locked("app", version="0.9"))
    outcome = solve(world.universe(), asked("app", locked=lock, policy="minimal_change"))
    assert versions(outcome) == {"app": "1.0"}
    assert [note.kind for note in outcome.notes] == ["lock-unknown-release", "lock-unknown-package"]


def test_as_of_sees_only_what_was_published_and_held_then():
    world = World()
    world.packages.append(
        Package(
            id="app",
            name="App",
            candidates=(
                Candidate(release="app@2.0", version="2.0", published_at="2026-02-01T00:00:00Z"),
                Candidate(release="app@1.0", version="1.0", published_at="2025-01-01T00:00:00Z"),
            ),
        )
    )
    world.mod("lib", "1.0")
    world.claim("requires", "app", "lib", at="2025-06-01T00:00:00Z", until="2026-01-01T00:00:00Z")
    plans = {
        time: resolve(world, asked("app", as_of=f"{time}T00:00:00Z"))
        for time in ("2025-03-01", "2025-07-01", "2026-03-01")
    }
    assert plans == {
        "2025-03-01": {"app": "1.0"},
        "2025-07-01": {"app": "1.0", "lib": "1.0"},
        "2026-03-01": {"app": "2.0"},
    }


def test_the_order_of_the_request_does_not_change_a_byte():
    rng = random.Random(3)
    world, request = three_sat(rng, 20, ratio=3.0)
    universe = world.universe()
    answers = set()
    for _ in range(5):
        wanted = list(request.wanted)
        rng.shuffle(wanted)
        answers.add(msgspec.json.encode(solve(universe, msgspec.structs.replace(request, wanted=tuple(wanted)))))
    assert len(answers) == 1


def test_the_order_of_packages_and_claims_does_not_change_a_byte():
    world = World()
    for name in ("app", "x", "y", "z"):
        world.mod(name, "2.0", "1.0")
    world.claim("any_of", "app", "x", "y")
    world.claim("conflicts", "x", Target("z", at_least="2.0"))
    world.claim("provides", "y", "z")
    answers = set()
    for packages in itertools.permutations(world.packages):
        shuffled = World(list(packages), list(reversed(world.claims)))
        answers.add(msgspec.json.encode(solve(shuffled.universe(), asked("app", "z"))))
    assert len(answers) == 1


# -- bad input and bounds ---------------------------------------------------------------------------


def test_cycles_are_installed_together():
    world = World()
    world.mod("a", "1.0")
    world.mod("b", "1.0")
    world.claim("requires", "a", "b")
    world.claim("requires", "b", "a")
    assert set(resolve(world, asked("a"))) == {"a", "b"}


def test_a_mod_that_needs_itself_and_conflicts_with_itself_is_fine():
    world = World()
    world.mod("a", "2.0", "1.0")
    world.claim("requires", "a", Target("a", at_least="1.0"))
    world.claim("conflicts", "a", "a")
    assert resolve(world, asked("a")) == {"a": "2.0"}


def test_a_release_that_needs_another_release_of_itself_cannot_be_had():
    world = World()
    world.mod("a", "2.0", "1.0")
    world.claim("requires", "a", Target("a", exactly="1.0"), releases=("a@2.0",))
    assert resolve(world, asked("a")) == {"a": "1.0"}


def test_a_range_that_matches_nothing_says_so():
    world = World()
    world.mod("app", "1.0")
    world.mod("lib", "1.0")
    world.claim("requires", "app", Target("lib", at_least="9.0"), id="too new")
    outcome = solve(world.universe(), asked("app"))
    assert isinstance(outcome, Unsatisfiable)
    assert outcome.facts[-1].text == "app requires lib 9.0 or newer, of which there is no such release."
    assert outcome.facts[-1].claims == ("too new",)


def test_an_unknown_name_says_so_and_a_similar_one_is_offered():
    world = World()
    world.mod("ModuleManager", "1.0")
    outcome = solve(world.universe(), asked("ModulManager"))
    assert isinstance(outcome, Unsatisfiable)
    assert outcome.facts[0].text == "You asked for ModulManager, which nothing here offers."
    assert outcome.repairs[0].substitute == (("ModulManager", "ModuleManager"),)


def test_claims_with_unreadable_ranges_are_left_out_and_listed():
    world = World()
    world.mod("app", "1.0")
    world.claim("requires", "app", Target("lib", range=">>>=1"), id="broken")
    universe = world.universe()
    assert list(universe.unreadable) == ["broken"]
    assert isinstance(solve(universe, asked("app")), Solved)


def test_an_unreadable_range_in_a_request_is_the_askers_mistake():
    world = World()
    world.mod("app", "1.0")
    with pytest.raises(ValueError, match="range"):
        solve(world.universe(), Request(wanted=(Wanted("app", range=">>>=1"),)))


def test_the_same_package_twice_is_refused():
    world = World()
    world.mod("app", "1.0")
    world.mod("app", "2.0")
    with pytest.raises(ValueError, match="app"):
        world.universe()


def test_ten_thousand_wanted_mods_get_an_answer():
    world = World()
    for i in range(200):
        world.mod(f"m{i}", "1.0")
    names = [f"m{i % 250}" for i in range(10_000)]
    outcome = solve(world.universe(), asked(*names))
    assert isinstance(outcome, Unsatisfiable)
    assert len(outcome.facts) == 1
    assert len(resolve(world, asked(*(f"m{i % 200}" for i in range(10_000))))) == 200


def test_a_thousand_alternatives_of_which_one_is_usable():
    world, request = wide_any_of(1_000, usable=1)
    assert set(resolve(world, request)) == {"root", "o00999"}


@pytest.mark.parametrize("broken", [False, True])
def test_deep_chains_do_not_recurse(broken):
    world, request = deep_chain(3_000, broken=broken)
    outcome = solve(world.universe(), msgspec.structs.replace(request, explain=not broken, repairs=False))
    assert isinstance(outcome, Unsatisfiable if broken else Solved)


def test_a_used_up_budget_says_what_is_known():
    world, request = pigeonhole(9)
    world.mod("free", "2.0", "1.0")
    wanted = (*request.wanted, Wanted("free", version="1.0"))
    outcome = solve(world.universe(), msgspec.structs.replace(request, wanted=wanted, steps=2_000))
    assert isinstance(outcome, GaveUp)
    assert outcome.reason == "steps"
    assert ("free", ("1.0",)) in outcome.known


def test_the_deadline_is_read_from_the_given_clock():
    world, request = pigeonhole(9)
    ticks = itertools.count()
    request = msgspec.structs.replace(request, seconds=50.0, steps=10**9)
    outcome = solve(world.universe(), request, clock=lambda: float(next(ticks)))
    assert isinstance(outcome, GaveUp)
    assert outcome.reason == "time"

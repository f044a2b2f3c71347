"""The checker finds every kind of fault by itself."""

from __future__ import annotations

import pytest

from loadstone.compat.checker import check
from loadstone.compat.plan import Chosen
from loadstone.compat.solver import Surroundings
from loadstone.compat.universe import Candidate, Package, Target
from tests.compat.worlds import World, asked


def world() -> World:
    made = World()
    made.mod("app", "2.0", "1.0")
    made.mod("lib", "2.0", "1.0")
    made.mod("rival", "1.0")
    made.mod("patch", "1.0")
    made.mod("old", "1.0", builds=(("1.0", "1.0"),))
    made.mod("forge-only", "1.0", loaders=("forge",))
    made.mod("fabric-only", "1.0", loaders=("fabric",))
    made.mod("dlc", "1.0", kind="dlc")
    made.mod("beta", "1.0", channel="beta")
    made.mod("held", "1.0", quarantined=True)
    made.packages.append(
        Package(id="gone", name="gone", candidates=(Candidate(release="gone@1.0", version="1.0", yanked=True),))
    )
    made.claim("requires", "app", Target("lib", at_least="2.0"))
    made.claim("conflicts", "rival", "lib")
    made.claim("patches", "patch", "lib", "old")
    made.claim("any_of", "forge-only", "dlc", "beta")
    made.claim("broken_in", "lib", builds=(("2.0", "2.0"),))
    return made


def faults(*plan: str, wanted: tuple[str, ...] = (), **surroundings) -> list[tuple[str, str]]:
    chosen = [Chosen(entry.split("@")[0], entry, entry.split("@")[1]) for entry in plan]
    request = asked(*wanted, surroundings=Surroundings(**surroundings))
    return [(violation.kind, violation.package) for violation in check(world().universe(), request, chosen)]


def test_a_sound_plan_has_no_faults():
    assert faults("app@2.0", "lib@2.0", wanted=("app",), builds=("1.0",)) == []


@pytest.mark.parametrize(
    ("plan", "surroundings", "expected"),
    [
        (("app@2.0",), {}, [("missing", "app")]),
        (("app@2.0", "lib@1.0"), {}, [("missing", "app")]),
        (("lib@2.0", "rival@1.0"), {}, [("conflict", "rival")]),
        (("lib@2.0", "old@1.0"), {}, [("missing-patch", "patch")]),
        (("old@1.0",), {"builds": ("1.1",)}, [("build", "old")]),
        (("lib@2.0",), {"builds": ("2.0",)}, [("build", "lib")]),
        (("forge-only@1.0",), {}, [("missing", "forge-only")]),
        (("fabric-only@1.0",), {"loader": "forge"}, [("loader", "fabric-only")]),
        (("dlc@1.0",), {}, [("dlc", "dlc")]),
        (("beta@1.0",), {}, [("channel", "beta")]),
        (("gone@1.0",), {}, [("yanked", "gone")]),
        (("held@1.0",), {}, [("quarantined", "held")]),
        (("app@9.9",), {}, [("unknown-release", "app")]),
        (("ghost@1.0",), {}, [("unknown-package", "ghost")]),
        (("old@1.0", "old@1.0"), {}, [("twice", "old")]),
    ],
)
def test_each_fault_is_found(plan, surroundings, expected):
    assert faults(*plan, **surroundings) == expected


def test_what_was_asked_for_must_be_there():
    assert faults("lib@2.0", wanted=("app",)) == [("not-fulfilled", "app")]


def test_releases_must_share_one_build_and_loader_where_those_are_to_be_chosen():
    assert faults("old@1.0", choose_build=True, builds=("1.1", "1.2")) == [("build", "")]
    plan = ("forge-only@1.0", "fabric-only@1.0", "beta@1.0")
    assert faults(*plan, choose_loader=True, channels=("release", "beta")) == [("loader", "")]

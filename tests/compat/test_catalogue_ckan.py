"""Rows of a CKAN index become neutral packages and claims."""

from __future__ import annotations

import json

import msgspec
import pytest

from loadstone.compat.catalogues.ckan import Catalogue, ordered_builds, parse_row, read_catalogue
from loadstone.compat.solver import Solved, Surroundings, solve
from loadstone.compat.universe import build_universe
from loadstone.compat.versions import scheme
from tests.compat.worlds import asked


def catalogue(*rows: dict) -> Catalogue:
    return read_catalogue([parse_row(json.dumps(row)) for row in rows], scheme("ckan"))


def test_releases_are_ordered_newest_first_with_epochs():
    read = catalogue({"id": "A", "version": "9.0"}, {"id": "A", "version": "1:1.0"}, {"id": "A", "version": "10.0"})
    assert [c.version for c in read.packages[0].candidates] == ["1:1.0", "10.0", "9.0"]


def test_the_same_version_twice_gets_two_release_ids():
    read = catalogue({"id": "A", "version": "1"}, {"id": "A", "version": "1"})
    assert [c.release for c in read.packages[0].candidates] == ["A@1", "A@1#2"]


def test_equal_relations_of_several_releases_become_one_claim():
    needs = [{"name": "B", "min": "2"}]
    read = catalogue(
        {"id": "A", "version": "1", "depends": needs},
        {"id": "A", "version": "2", "depends": needs},
        {"id": "A", "version": "3"},
    )
    [claim] = read.claims
    assert (claim.kind, claim.releases, claim.targets[0].at_least) == ("requires", ("A@2", "A@1"), "2")


def test_every_field_that_matters_is_read():
    read = catalogue(
        {
            "id": "A",
            "version": "1",
            "kind": "dlc",
            "release_status": "testing",
            "game_min": "1.8",
            "game_max": "1.12.5",
            "depends": [{"any_of": [{"name": "B"}, {"name": "C", "eq": "1"}]}],
            "recommends": [{"name": "D"}],
            "conflicts": [{"name": "E", "max": "3"}],
            "provides": ["F"],
            "replaced_by": {"name": "G"},
        }
    )
    package = read.packages[0]
    assert (package.kind, package.candidates[0].channel) == ("dlc", "beta")
    assert package.candidates[0].builds == (("1.8", "1.12.5"),)
    assert [(c.kind, c.subject, [t.name for t in c.targets]) for c in read.claims] == [
        ("any_of", "A", ["B", "C"]),
        ("recommends", "A", ["D"]),
        ("conflicts", "A", ["E"]),
        ("provides", "A", ["F"]),
        ("replaces", "G", ["A"]),
    ]


def test_only_complete_builds_are_builds():
    assert ordered_builds(["1.12", "1.2.10", "1.2.9", None, "0.90"]) == ("1.2.9", "1.2.10")


@pytest.mark.parametrize(("build", "fits"), [("1.7.9", False), ("1.8.0", True), ("1.12.5", True), ("1.13.0", False)])
def test_bounds_on_the_game_include_everything_below_a_prefix(build, fits):
    read = catalogue({"id": "A", "version": "1", "game_min": "1.8", "game_max": "1.12"})
    universe = build_universe(read.packages, read.claims, builds=read.builds, scheme=scheme("ckan"))
    outcome = solve(universe, asked("A", surroundings=Surroundings(builds=(build,))))
    assert isinstance(outcome, Solved) == fits


def test_a_row_that_is_no_row_says_where():
    with pytest.raises(msgspec.ValidationError, match="depends"):
        parse_row('{"id": "A", "version": "1", "depends": 7}')

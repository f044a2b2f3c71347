"""Resolution fixtures of a mod loader: jars, jars within jars, provides and breaks.

How they map to our words: the mods of outer jars are wanted, unless they load only if required; nested
jars are recommended by the jar that holds them, or merely available if they load only if required. A
Fabric `provides` takes the name for itself (provides and conflicts), a Quilt one does not.

Where their semantics are not ours, and therefore left out: a dependency on a mod of the other side counts
as met there (`sided_*`), while we say what is missing; "breaks unless" (`groups`); breaks that need
several mods at once (`multi_breaks`); a newer provider is preferred to the bearer of the name
(`included_duel_provided_dep`), while we take the bearer and ask.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadstone.compat.checker import check
from loadstone.compat.solver import Request, Solved, Surroundings, Wanted, solve
from loadstone.compat.universe import Candidate, Claim, Package, Target, build_universe
from loadstone.compat.versions import scheme
from tests.compat.fuzz_requests import data_folder

NOT_OURS = {
    "valid/sided_depends",
    "valid/sided_provided_depends",
    "valid/groups",
    "valid/included_duel_provided_dep",
    "error/multi_breaks",
}
CASES_FILE = data_folder() / "quilt_resolve_cases.json"
CASES = json.loads(CASES_FILE.read_text(encoding="utf-8"))["cases"] if CASES_FILE.exists() else {}
OURS = sorted(CASES.keys() - NOT_OURS)


class Jars:
    """The mods of one fixture as packages and claims."""

    def __init__(self, files: dict[str, dict[str, Any]]) -> None:
        self.candidates: dict[str, list[Candidate]] = {}
        self.claims: list[Claim] = []
        self.wanted: list[str] = []
        ids = {path.rsplit("/", 1)[0]: self._facts(manifest)[0] for path, manifest in files.items()}
        for path, manifest in files.items():
            jar = path.rsplit("/", 1)[0]
            parent = jar.rsplit("/", 1)[0] if "/" in jar else None
            self._add(jar, manifest, None if parent is None else (parent, ids[parent]))

    @staticmethod
    def _facts(manifest: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        facts = manifest.get("quilt_loader", manifest)
        return facts["id"], facts

    def _add(self, jar: str, manifest: dict[str, Any], parent: tuple[str, str] | None) -> None:
        mod, facts = self._facts(manifest)
        side = manifest.get("environment") or manifest.get("minecraft", {}).get("environment", "*")
        sides = {"server": ("server",), "dedicated_server": ("server",)}.get(side, ())
        self.candidates.setdefault(mod, []).append(Candidate(release=jar, version=facts["version"], sides=sides))
        if facts.get("load_type") != "if_required":
            if parent is None:
                self.wanted.append(mod)
            else:
                self._claim("recommends", parent[1], Target(mod), parent[0])
        for target, optional in self._targets(facts.get("depends", {})):
            self._claim("recommends" if optional else "requires", mod, target, jar)
        for target, _ in self._targets(facts.get("breaks", {})):
            self._claim("conflicts", mod, target, jar)
        for name in facts.get("provides", ()):
            self._claim("provides", mod, Target(name, version=facts["version"]), jar)
            if "quilt_loader" not in manifest:
                self._claim("conflicts", mod, Target(name), jar)

    @staticmethod
    def _targets(relations: Any) -> list[tuple[Target, bool]]:
        entries = relations.items() if isinstance(relations, dict) else relations
        found = []
        for entry in entries:
            if isinstance(entry, dict):
                name, ranges, optional = entry["id"], entry.get("versions", "*"), entry.get("optional", False)
            else:
                name, ranges, optional = (*entry, False) if isinstance(entry, tuple) else (entry, "*", False)
            text = " || ".join(ranges) if isinstance(ranges, list) else ranges
            found.append((Target(name.split(":")[-1], range="" if text == "*" else text), optional))
        return found

    def _claim(self, kind: Any, subject: str, target: Target, release: str) -> None:
        number = f"{len(self.claims):03}"
        self.claims.append(Claim(id=number, kind=kind, subject=subject, targets=(target,), releases=(release,)))


@pytest.mark.skipif(not CASES, reason="quilt_resolve_cases.json is not here; set LOADSTONE_TEST_DATA")
def test_the_fixtures_are_the_ones_we_know():
    assert CASES.keys() > NOT_OURS
    assert len(OURS) == 23


@pytest.mark.parametrize("name", OURS)
def test_a_loaders_own_fixture_resolves_as_expected(name):
    case = CASES[name]
    jars = Jars(case["files"])
    fabric = scheme("fabric")
    packages = [
        Package(id=mod, name=mod, candidates=tuple(sorted(found, key=lambda c: fabric.key(c.version), reverse=True)))
        for mod, found in jars.candidates.items()
    ]
    universe = build_universe(packages, jars.claims, scheme=fabric)
    request = Request(
        wanted=tuple(Wanted(mod) for mod in jars.wanted),
        surroundings=Surroundings(side="client"),
        recommends=True,
    )
    outcome = solve(universe, request)
    assert isinstance(outcome, Solved) == (case["kind"] == "valid")
    if isinstance(outcome, Solved):
        expected = sorted((mod, version) for mod, version in case["expect"]["present"])
        assert [(chosen.package, chosen.version) for chosen in outcome.plan] == expected
        assert check(universe, request, outcome.plan) == []

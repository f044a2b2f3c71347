"""What the catalogue knows, in the words of the solver; and that following the news equals starting anew."""

import random
from typing import Any

from loadstone.catalog.knowledge import Knowledge, KnownChain, KnownClaim, KnownFile, KnownRelease
from loadstone.compat import solver
from loadstone.compat.universe import Claim, Package, Universe
from loadstone.installs.worlds import World, pieces
from loadstone.kernel.ids import encode


def chain(
    id_: int, package: str, *, mod: int | None = None, default: bool = True, visibility: str = "published"
) -> Any:
    number = mod or id_
    return KnownChain(
        id_, package, default, "Main" if default else package, number, f"mod-{number}", f"Mod {number}", number,
        visibility, 10 * number,  # type: ignore[arg-type]
    )  # fmt: skip


def released(id_: int, chain_id: int, version: str, *, state: str = "published") -> KnownRelease:
    return KnownRelease(id_, chain_id, version, "release", state, None)


def said(id_: int, chain_id: int, kind: str, release: int | None = None, *, source: str = "author", **body: Any) -> Any:
    return KnownClaim(id_, chain_id, release, kind, body, source)


def packages(universe: Universe) -> list[Package]:
    return [index.package for index in universe.packages[: universe.first_axis]]


def claims(universe: Universe) -> list[Claim]:
    return sorted((c for held in universe.claims.values() for c in held), key=lambda claim: claim.id)


def one(knowledge: Knowledge) -> tuple[Package, list[Claim]]:
    """The only mod's package and claims."""
    world = World("hybrid", ["1.0", "1.1", "1.2"], pieces(knowledge, "hybrid"))
    return packages(world.universe)[0], claims(world.universe)


def spans(*stated: KnownClaim) -> dict[str, Any]:
    knowledge = Knowledge([chain(1, "a")], [released(12, 1, "2"), released(11, 1, "1")], [], list(stated))
    return {candidate.version: candidate.builds for candidate in one(knowledge)[0].candidates}


def test_what_is_said_of_a_release_counts_before_what_is_said_of_its_chain() -> None:
    found = spans(
        said(1, 1, "works_with", builds=["1.0", "1.1"]), said(2, 1, "works_with", 12, builds=["1.2", None])
    )  # fmt: skip
    assert found == {"1": (("1.0", "1.1"),), "2": (("1.2", None),)}


def test_without_a_word_about_builds_every_build_fits_whatever_a_curator_has_seen() -> None:
    assert spans(said(1, 1, "works_with", builds=["1.0", "1.0"], source="curator")) == {"1": (), "2": ()}


def test_a_curator_adds_builds_to_what_the_author_says() -> None:
    found = spans(
        said(1, 1, "works_with", 11, builds=["1.0", "1.0"]),
        said(2, 1, "works_with", builds=["1.2", "1.2"], source="curator"),
    )
    assert found == {"1": (("1.0", "1.0"), ("1.2", "1.2")), "2": ()}


def test_the_same_statement_of_many_releases_is_one_claim() -> None:
    knowledge = Knowledge(
        [chain(1, "a")],
        [released(12, 1, "2"), released(11, 1, "1")],
        [],
        [said(1, 1, "requires", 11, target="b", range=">=1"), said(2, 1, "requires", 12, target="b", range=">=1")],
    )
    _, found = one(knowledge)
    assert [(claim.kind, claim.targets[0].name, claim.targets[0].range) for claim in found] == [
        ("requires", "b", ">=1")
    ]
    assert found[0].releases == (encode("release", 11), encode("release", 12))


def test_a_range_that_cannot_be_read_means_any_version() -> None:
    knowledge = Knowledge([chain(1, "a")], [], [], [said(1, 1, "requires", target="b", range=">>1 <<")])
    assert one(knowledge)[1][0].targets[0].range == ""


def test_a_dlc_is_known_by_needing_itself() -> None:
    knowledge = Knowledge([chain(1, "dlc")], [], [], [said(1, 1, "needs", dlc="dlc")])
    package, found = one(knowledge)
    assert package.kind == "dlc"
    assert found == []


def test_a_file_for_everybody_makes_the_release_fit_everywhere() -> None:
    files = [
        KnownFile(11, "main", ["forge"], [], "both", "clean"),
        KnownFile(11, "main", [], [], "both", "clean"),
        KnownFile(12, "main", ["forge"], [], "both", "clean"),
        KnownFile(12, "main", ["fabric"], ["linux"], "client", "clean"),
    ]
    knowledge = Knowledge([chain(1, "a")], [released(12, 1, "2"), released(11, 1, "1")], files, [])
    second, first = one(knowledge)[0].candidates
    assert first.loaders == ()
    assert second.loaders == ("fabric", "forge")
    assert second.oses == ()
    assert second.sides == ()


def test_yanked_and_archived_releases_are_not_newly_chosen() -> None:
    knowledge = Knowledge(
        [chain(1, "a")], [released(13, 1, "3", state="archived"), released(12, 1, "2", state="yanked"),
        released(11, 1, "1")], [], [],
    )  # fmt: skip
    assert [candidate.yanked for candidate in one(knowledge)[0].candidates] == [True, True, False]


def random_knowledge(rng: random.Random, mods: int) -> Knowledge:
    """Mods of one or two chains with some releases and claims about each other."""
    known = Knowledge([], [], [], [])
    for mod in range(1, mods + 1):
        for nth in range(rng.choice((1, 1, 2))):
            id_ = mod * 10 + nth
            known.chains.append(chain(id_, f"p{id_}", mod=mod, default=nth == 0))
            for place in range(rng.randint(1, 4), 0, -1):
                state = rng.choice(("published",) * 4 + ("yanked",))
                known.releases.append(released(id_ * 100 + place, id_, f"{place}.0", state=state))
                for kind in rng.sample(["requires", "conflicts", "provides", "recommends", "works_with"], 2):
                    about: dict[str, Any] = {"target": f"p{rng.randint(1, mods)}0"}
                    if kind == "works_with":
                        about = {"builds": [rng.choice(("1.0", "1.1")), rng.choice(("1.1", None))]}
                    elif rng.random() < 0.4:
                        about["range"] = f">={rng.randint(1, 3)}.0"
                    number = id_ * 10_000 + place * 10 + len(known.claims) % 10
                    known.claims.append(said(number, id_, kind, id_ * 100 + place, **about))
    return known


def only(known: Knowledge, mods: set[int]) -> Knowledge:
    chains = [each for each in known.chains if each.mod_id in mods]
    ids = {each.id for each in chains}
    return Knowledge(
        chains,
        [each for each in known.releases if each.chain_id in ids],
        [],
        [each for each in known.claims if each.chain_id in ids],
    )


def test_a_world_that_follows_the_news_equals_one_that_is_built_anew() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        before, after = random_knowledge(rng, 8), random_knowledge(rng, 8)
        everyone = set(range(1, 9))
        there, changed = set(rng.sample(range(1, 9), 7)), set(rng.sample(range(1, 9), rng.randint(1, 3)))
        staying = everyone - set(rng.sample(range(1, 9), rng.choice((0, 0, 1)))) if rng.random() < 0.5 else there
        world = World("hybrid", ["1.0", "1.1"], pieces(only(before, there), "hybrid"))
        solver.solve(world.universe, solver.Request(wanted=(solver.Wanted(f"p{min(there)}0"),)))  # compiles the rules
        world.replace(changed, pieces(only(after, changed & staying), "hybrid"))
        fresh = pieces(only(before, there - changed), "hybrid") | pieces(only(after, changed & staying), "hybrid")
        anew = World("hybrid", ["1.0", "1.1"], fresh)
        assert packages(world.universe) == packages(anew.universe), seed
        assert claims(world.universe) == claims(anew.universe), seed
        for wanted in sorted(anew.universe.index):
            request = solver.Request(wanted=(solver.Wanted(wanted),))
            assert solver.solve(world.universe, request) == solver.solve(anew.universe, request), (seed, wanted)
        assert {mod: world.package_of_mod(mod) for mod in everyone} == {
            mod: anew.package_of_mod(mod) for mod in everyone
        }

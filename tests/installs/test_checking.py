"""Whether an installed set is sound, and what another game build would break."""

from typing import Any

import httpx
import pytest

from loadstone.catalog import authoring
from loadstone.catalog.models import NewClaim
from loadstone.compat import solver
from loadstone.compat.universe import Candidate, Claim, ClaimKind, Package, Target, build_universe
from loadstone.compat.versions import scheme
from loadstone.installs.checking import _Item, _refuse_endless
from loadstone.kernel.errors import TooLargeError
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.installs.test_resolve import release, world


async def check(client: httpx.AsyncClient, *installed: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    items = [{"release": each} if isinstance(each, str) else each for each in installed]
    answer = await client.post("/api/v1/check", json={"game": "starfall", "installed": items} | more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_goes_together_is_sound(client: httpx.AsyncClient, person: MakePerson, platform: Platform) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    lower = await release(platform, base, "1.0")
    upper = await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base", range="<2.0")])
    found = await check(client, upper, lower)
    assert (found["sound"], found["problems"], found["warnings"]) == (True, [], [])
    by_version = await check(
        client, {"package": "swords", "version": "1.0"}, {"package": str(base["number"]), "version": "v1.0"}
    )
    assert by_version["sound"] is True


async def test_what_is_missing_is_a_sentence_with_who_says_so(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    newer = await release(platform, base, "2.0")
    upper = await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base", range="<2.0")])
    found = await check(client, newer, upper)
    assert found["sound"] is False
    [problem] = found["problems"]
    assert problem["text"] == "Swords 1.0 needs Base <2.0; 2.0 is installed."
    assert (problem["kind"], problem["package"], problem["item"]) == ("missing", "swords", 1)
    assert [said["source"] for said in problem["said"]] == ["author"]
    alone = await check(client, upper)
    assert alone["problems"][0]["text"] == "Swords 1.0 needs Base <2.0; it is not installed."


async def test_conflicts_and_doubled_packages_are_found(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, axes) = await world(person, "Swords", "Axes")
    first = await release(platform, swords, "1.0")
    second = await release(platform, swords, "2.0")
    other = await release(platform, axes, "1.0", [NewClaim(kind="conflicts", target="swords")])
    found = await check(client, first, other)
    assert [p["text"] for p in found["problems"]] == ["Axes conflicts with Swords."]
    assert "twice" in {p["kind"] for p in (await check(client, first, second))["problems"]}


async def test_what_another_build_breaks_and_mends_is_told(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, axes) = await world(person, "Swords", "Axes")
    old = await release(platform, swords, "1.0", [NewClaim(kind="works_with", builds=["1.0", "1.1"])])
    new = await release(platform, axes, "1.0", [NewClaim(kind="works_with", builds=["1.2", None])])
    found = await check(client, old, new, build="1.1", going_to="1.2")
    assert [p["text"] for p in found["problems"]] == ["Axes 1.0 does not run on 1.1."]
    move = found["going_to"]
    assert (move["build"], move["sound"]) == ("1.2", False)
    assert [p["text"] for p in move["breaks"]] == ["Swords 1.0 does not run on 1.2."]
    assert [p["text"] for p in move["mends"]] == ["Axes 1.0 does not run on 1.1."]
    assert (await check(client, old, build="1.0", going_to="1.1"))["going_to"] == {
        "build": "1.1", "sound": True, "breaks": [], "mends": [],
    }  # fmt: skip


async def test_a_withdrawn_release_is_a_warning_and_one_that_was_taken_away_is_unknown(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords,) = await world(person, "Swords")
    moe = await person("moe", roles=("moderator",))
    first = await release(platform, swords, "1.0")
    second = await release(platform, swords, "2.0")
    await ada.http.post(f"/api/v1/releases/{first}/state", json={"action": "yank", "reason": "it crashes"})
    found = await check(client, first)
    assert (found["sound"], [w["text"] for w in found["warnings"]]) == (True, ["Swords 1.0 was withdrawn."])
    await authoring.act_on_release(platform, moe.actor, second, "quarantine", "a virus")
    gone = await check(client, second, "rel_nothing", {"package": "swords", "version": "7.0"})
    assert gone["sound"] is False
    assert [(p["kind"], p["item"]) for p in gone["problems"]] == [("unknown-release", n) for n in range(3)]
    assert gone["problems"][2]["text"].startswith("Swords 7.0 is not known here")


async def test_a_plan_of_resolve_is_always_sound(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    for version in ("1.0", "2.0"):
        await release(platform, base, version, [NewClaim(kind="works_with", builds=["1.0", "1.1"])])
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base", range="<2.0")])
    asked = {"game": "starfall", "wanted": [{"mod": "swords"}], "build": "1.1"}
    plan = (await client.post("/api/v1/resolve", json=asked)).json()["plan"]
    assert (await check(client, *(entry["release"] for entry in plan), build="1.1"))["sound"] is True


async def test_bad_input_is_refused_with_its_place(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    item = {"package": "swords", "version": "1.0"}
    for body, status, pointer in (
        ({"game": "starfall", "installed": []}, 400, None),
        ({"game": "starfall", "installed": [item] * 2001}, 400, None),
        ({"game": "starfall", "installed": [item, {}]}, 400, "/installed/1"),
        ({"game": "starfall", "installed": [{"package": "swords"}]}, 400, "/installed/0"),
        ({"game": "starfall", "installed": [{"version": "1.0"}]}, 400, "/installed/0"),
        ({"game": "starfall", "installed": [item], "going_to": "latest"}, 400, "/going_to"),
        ({"game": "nothing", "installed": [item]}, 404, None),
    ):
        answer = await client.post("/api/v1/check", json=body)
        assert answer.status_code == status, answer.text
        if pointer:
            assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_set_that_excludes_itself_in_every_pair_is_refused_before_it_is_told() -> None:
    names = [f"m{n}" for n in range(300)]
    packages = [Package(id=n, name=n, candidates=(Candidate(release=f"{n}/1", version="1"),)) for n in names]
    kinds: tuple[ClaimKind, ...] = ("conflicts", "provides")
    claims = [
        Claim(id=f"{kind}-{n}", kind=kind, subject=n, targets=(Target("one-of-us"),)) for n in names for kind in kinds
    ]
    universe = build_universe(packages, claims, builds=(), scheme=scheme("hybrid"))
    items = [_Item(at, solver.Chosen(n, f"{n}/1", "1")) for at, n in enumerate(names)]
    _refuse_endless(universe, items[:200])
    with pytest.raises(TooLargeError, match="exclude each other"):
        _refuse_endless(universe, items)

"""What can be installed on a build at all, page by page or for the mods that are named."""

from typing import Any

import httpx

from loadstone.catalog import authoring
from loadstone.catalog.models import NewClaim
from loadstone.compat.surroundings import Surroundings
from loadstone.compat.sweep import Sweep
from loadstone.installs.keeping import keeper_of
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import make_mod
from tests.installs.test_resolve import release, world


async def standings(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await client.get("/api/v1/games/starfall/installability", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def by_package(found: dict[str, Any]) -> dict[str, str]:
    return {item["package"] or item["asked"]: item["standing"] for item in found["items"]}


async def test_each_mod_stands_somehow_on_a_build_and_says_why_not(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    ada, (swords, base, shields) = await world(person, "Swords", "Base", "Shields")
    secret = await make_mod(ada, name="Secret", visibility="unlisted")
    await release(platform, secret, "1.0")
    await release(platform, base, "1.0", [NewClaim(kind="works_with", builds=["1.0", "1.0"])])
    first = await release(platform, swords, "1.0")
    await release(platform, swords, "2.0", [NewClaim(kind="requires", target="base")])
    await release(platform, shields, "1.0", [NewClaim(kind="requires", target="base")])
    found = await standings(client, build="1.2")
    assert by_package(found) == {"base": "no_release", "shields": "uninstallable", "swords": "installable"}
    assert found["counts"] == {"installable": 1, "uninstallable": 1, "no_release": 1}
    told = {item["package"]: item for item in found["items"]}
    assert told["swords"]["newest"] == {"release": first, "version": "1.0"}
    assert told["swords"]["reason"] is None
    assert any("Base" in fact["text"] and fact["sources"] == ["author"] for fact in told["shields"]["reason"])
    assert "1.2" in told["base"]["reason"][-1]["text"]
    assert by_package(await standings(client, build="1.0")) == dict.fromkeys(
        ("base", "shields", "swords"), "installable"
    )
    named = await standings(client, build="1.2", mods=f"shields,{secret['number']},nothing,{swords['id']}")
    assert list(by_package(named).items()) == [
        ("shields", "uninstallable"), ("secret", "installable"), ("nothing", "unknown"), ("swords", "installable"),
    ]  # fmt: skip


async def test_pages_are_bounded_and_follow_each_other(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, mods = await world(person, "A", "B", "C")
    for mod in mods:
        await release(platform, mod, "1.0")
    first = await standings(client, limit=2)
    rest = await standings(client, limit=2, cursor=first["next_cursor"])
    assert [i["package"] for page in (first, rest) for i in page["items"]] == [mod["slug"] for mod in mods]
    assert rest["next_cursor"] is None
    for params in ({"build": "9.9"}, {"cursor": "mine"}, {"mods": ",".join(["a"] * 1001)}, {"limit": "101"}):
        answer = await client.get("/api/v1/games/starfall/installability", params=params)
        assert answer.status_code == 400, answer.text
    assert (await client.get("/api/v1/games/nothing/installability")).status_code == 404


async def test_news_is_followed_without_sweeping_everything_anew(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    moe = await person("moe", roles=("moderator",))
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base")])
    first = await release(platform, base, "1.0")
    assert by_package(await standings(client)) == {"base": "installable", "swords": "installable"}
    await release(platform, base, "2.0")
    await authoring.act_on_release(platform, moe.actor, first, "quarantine", "a virus")
    found = await standings(client)
    assert {item["newest"]["version"] for item in found["items"] if item["package"] == "base"} == {"2.0"}
    game_id = await platform.db.fetchval("select id from games where slug = 'starfall'")
    keeper = keeper_of(platform)
    kept_world = await keeper.world(platform, game_id, "hybrid")
    swept = await keeper.swept(game_id, kept_world, None)
    assert kept_world.edition.number >= 1
    assert kept_world.edition.touched_since(0) is not None
    assert swept.sweep.installable == Sweep(kept_world.universe, Surroundings()).installable
    assert (await keeper.swept(game_id, kept_world, None)) is swept
    await authoring.moderate_mod(platform, moe.actor, decode("mod", base["id"]), "hidden", "under review")
    assert by_package(await standings(client)) == {"swords": "uninstallable"}
    assert by_package(await standings(client, mods="base")) == {"base": "unknown"}

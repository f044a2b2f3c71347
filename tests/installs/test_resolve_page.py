"""The page that plans: its form is its address, and its ways out are links that hold."""

import html
import re
from typing import Any

import httpx

from loadstone.catalog.models import NewClaim
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.installs.test_resolve import release, world

PAGE = "/games/starfall/resolve"


async def shown(client: httpx.AsyncClient, *mods: str, **more: Any) -> str:
    answer = await client.get(PAGE, params=[*(("mod", mod) for mod in mods), *more.items()])
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_plan_is_shown_with_the_reason_of_each_mod(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, base) = await world(person, "Swords", "Base")
    await release(platform, base, "1.5")
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base")])
    text = await shown(client, str(swords["number"]), "", build="1.1")
    assert "Yes: 2 mods on 1.1" in text
    assert "required by Swords" in text
    assert 'name="mod" value="swords"' in text
    assert "What would help" not in await shown(client)


async def test_each_way_out_with_a_link_leads_to_a_plan(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords, shields, base) = await world(person, "Swords", "Shields", "Base")
    await release(platform, base, "1.0", [NewClaim(kind="works_with", builds=["1.0", "1.0"])])
    await release(platform, swords, "1.0", [NewClaim(kind="requires", target="base")])
    await release(platform, shields, "1.0")
    text = await shown(client, "swords", "shields", build="1.2")
    assert "No, not on 1.2, because" in text
    assert "Swords requires Base" in text
    ways = [
        html.unescape(way) for way in re.findall(r'<li><a rel="nofollow" href="([^"]+)">', text.split("help</h2>")[1])
    ]
    assert f"{PAGE}?mod=shields&build=1.2" in ways
    assert f"{PAGE}?mod=swords&mod=shields&build=1.0" in ways
    for way in ways:
        assert "Yes: " in (await client.get(way)).text, way


async def test_what_cannot_be_asked_is_said_on_the_page(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    _, (swords,) = await world(person, "Swords")
    await release(platform, swords, "1.0")
    refused: tuple[tuple[list[tuple[str, str | int | float | bool | None]], str], ...] = (
        ([("mod", "<b>sords")], "this game has no “&lt;b&gt;sords”"),
        ([("mod", "swords"), ("build", "latest")], "The game has no build “latest”"),
        ([("mod", f"m{n}") for n in range(101)], "up to 100 mods"),
        ([("mod", "m" * 131)], "too long"),
    )
    for params, words in refused:
        answer = await client.get(PAGE, params=params)
        assert answer.status_code == 400
        assert words in answer.text
    assert (await client.get("/games/nothing/resolve")).status_code == 404

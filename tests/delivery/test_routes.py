"""Tickets over HTTP."""

import httpx

from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.delivery.releases import publish
from tests.factories import make_game, make_mod


async def test_an_anonymous_player_downloads_a_published_file(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    await make_game(await person("boss", roles=("admin",)))
    release = await publish(platform, await make_mod(await person("ada")))
    answer = await client.post(release.tickets, json={})
    assert answer.status_code == 201, answer.text
    ticket = answer.json()
    assert (ticket["sha256"], ticket["size"]) == (release.sha256, len(release.content))
    file = await client.get(ticket["url"])
    assert file.status_code == 200, file.text
    assert file.content == release.content

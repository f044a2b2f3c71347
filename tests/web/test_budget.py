"""A page costs a number of statements that does not grow with what it lists (law 7)."""

import httpx
import pytest

from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import make_game, make_mod


@pytest.mark.parametrize(
    ("address", "most"),
    [
        ("/", 3),
        ("/games", 1),
        ("/games/starfall", 7),
        ("/games/starfall/mods/mod-0", 6),
        ("/games/starfall/mods/mod-0?tab=files", 6),
        ("/games/starfall/mods/mod-0?tab=dependencies", 9),
    ],
)
async def test_a_page_asks_the_database_as_often_for_twenty_mods_as_for_one(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform, address: str, most: int
) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")

    async def statements() -> int:
        before = platform.db.statements
        assert (await client.get(address)).status_code == 200
        return platform.db.statements - before

    await make_mod(ada, name="Mod 0", slug="mod-0")
    one = await statements()
    for number in range(1, 20):
        await make_mod(ada, name=f"Mod {number}")
    assert await statements() == one
    assert one <= most

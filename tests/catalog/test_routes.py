"""The catalogue over HTTP."""

from typing import Any

import httpx

from tests.conftest import MakePerson
from tests.factories import make_game, make_mod


async def test_a_mod_is_found_by_slug_number_and_id(client: httpx.AsyncClient, person: MakePerson) -> None:
    await make_game(await person("boss", roles=("admin",)))
    made = await make_mod(await person("ada"))
    for name in (made["slug"], str(made["number"]), made["id"]):
        answer = await client.get(f"/api/v1/games/starfall/mods/{name}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] == made["id"]


async def test_a_draft_is_seen_by_its_team_and_moderators_alone(client: httpx.AsyncClient, person: MakePerson) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada, bob, mo = await person("ada"), await person("bob"), await person("moe", roles=("moderator",))
    made = await make_mod(ada, visibility="draft")
    address = f"/api/v1/mods/{made['id']}"
    assert (await ada.http.get(address)).status_code == 200
    assert (await mo.http.get(address)).status_code == 200
    assert (await bob.http.get(address)).status_code == 404
    assert (await client.get(address)).status_code == 404
    listed = (await client.get("/api/v1/games/starfall/mods")).json()["items"]
    assert listed == []


async def test_a_change_needs_the_current_etag(person: MakePerson) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    made = await make_mod(ada)
    address = f"/api/v1/mods/{made['id']}"
    tag = (await ada.http.get(address)).headers["etag"]
    without = await ada.http.patch(address, json={"summary": "Sharp."})
    assert without.status_code == 428
    changed = await ada.http.patch(address, json={"summary": "Sharp."}, headers={"If-Match": tag})
    assert changed.status_code == 200, changed.text
    again = await ada.http.patch(address, json={"summary": "Dull."}, headers={"If-Match": tag})
    assert again.status_code == 412
    assert again.headers["etag"] == changed.headers["etag"]


async def test_an_old_slug_still_finds_the_mod_and_passes_to_nobody(
    client: httpx.AsyncClient, person: MakePerson
) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    made = await make_mod(ada)
    tag = (await ada.http.get(f"/api/v1/mods/{made['id']}")).headers["etag"]
    await ada.http.patch(f"/api/v1/mods/{made['id']}", json={"slug": "blades"}, headers={"If-Match": tag})
    assert (await client.get("/api/v1/games/starfall/mods/sharper-swords")).json()["slug"] == "blades"
    taken = await (await person("bob")).http.post(
        "/api/v1/games/starfall/mods", json={"name": "Other", "slug": "sharper-swords"}
    )
    assert taken.status_code == 409
    assert taken.json()["code"] == "slug-taken"


async def test_browsing_pages_by_keyset_sees_each_mod_once(client: httpx.AsyncClient, person: MakePerson) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    names = {(await make_mod(ada, name=f"Mod {n}"))["slug"] for n in range(7)}
    for order in ("new", "updated", "name", "downloads"):
        seen: list[str] = []
        cursor: Any = None
        while True:
            query = {"sort": order, "limit": "3"} | ({"cursor": cursor} if cursor else {})
            answer = await client.get("/api/v1/games/starfall/mods", params=query)
            assert answer.status_code == 200, answer.text
            seen += [m["slug"] for m in answer.json()["items"]]
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                break
        assert sorted(seen) == sorted(names), order


async def test_a_read_answers_304_to_its_etag(client: httpx.AsyncClient, person: MakePerson) -> None:
    await make_game(await person("boss", roles=("admin",)))
    first = await client.get("/api/v1/games/starfall")
    again = await client.get("/api/v1/games/starfall", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


async def test_a_stranger_may_not_edit(person: MakePerson) -> None:
    await make_game(await person("boss", roles=("admin",)))
    made = await make_mod(await person("ada"))
    answer = await (await person("bob")).http.patch(
        f"/api/v1/mods/{made['id']}", json={"summary": "Mine."}, headers={"If-Match": "*"}
    )
    assert answer.status_code == 403

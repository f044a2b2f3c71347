"""Searching over HTTP: what is found, how it is narrowed, counted, ordered and paged."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from loadstone.catalog.import_ckan import GAME, import_ckan
from loadstone.discovery import service
from loadstone.discovery.models import Query
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.discovery.helpers import catch_up, find, names
from tests.factories import Person, make_game, make_mod


@pytest_asyncio.fixture
async def ada(person: MakePerson) -> Person:
    await make_game(await person("boss", roles=("admin",)))
    return await person("ada")


async def release(platform: Platform, mod: dict[str, Any], *, loaders: list[str], builds: list[str | None]) -> None:
    """A published release with a file for these loaders that works with builds [first, last]."""
    id_, mod_id = platform.ids.new(), decode("mod", mod["id"])
    async with platform.transaction() as tx:
        chain = await tx.fetchrow("select id, game_id from chains where mod_id = $1", mod_id)
        assert chain is not None
        await tx.execute(
            "insert into releases (id, chain_id, mod_id, game_id, version, version_key, place, state, published_at)"
            " values ($1, $2, $3, $4, $5, 'k', 1, 'published', now())",
            id_, chain["id"], mod_id, chain["game_id"], str(id_),
        )  # fmt: skip
        await tx.execute(
            "insert into release_artifacts (release_id, file_name, loaders) values ($1, 'a.zip', $2)", id_, loaders
        )
        await tx.execute(
            "insert into claims (id, game_id, chain_id, release_id, kind, body, source)"
            " values ($1, $2, $3, $4, 'works_with', $5, 'author')",
            platform.ids.new(), chain["game_id"], chain["id"], id_, {"builds": builds},
        )  # fmt: skip
        await tx.emit("release.published", subject=id_, game=chain["game_id"], data={})


def counts(page: dict[str, Any], facet: str) -> dict[str, int]:
    return {entry["value"]: entry["count"] for entry in page["facets"][facet]}


async def test_words_are_found_in_every_field_and_in_the_title_first(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    await make_mod(ada, name="Quiet Nights", description="A mod about **dragons**.")
    await make_mod(ada, name="Dragons", summary="Big ones.")
    await make_mod(ada, name="Lizards", tags=["dragons"])
    await make_mod(ada, name="Unrelated")
    await catch_up(platform)
    assert await names(client, "dragons") == ["Dragons", "Lizards", "Quiet Nights"]
    assert await names(client, "DRÄGONS ") == ["Dragons", "Lizards", "Quiet Nights"]
    assert len(await names(client, "ada")) == 4


async def test_the_exact_title_comes_first(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    for name in ("Sky Sky Sky Overhaul", "The Sky", "Sky", "Sky Islands"):
        await make_mod(ada, name=name, summary="sky sky sky" if name != "Sky" else "")
    await catch_up(platform)
    assert (await names(client, "sky"))[0] == "Sky"
    assert (await names(client, "the sky"))[0] == "The Sky"


async def test_unfinished_and_mistyped_words_are_forgiven(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    await make_mod(ada)
    await make_mod(ada, name="Blunt Hammers")
    await catch_up(platform)
    for typed in ("sharp", "sharper swo", "Shaprer", "sharper sowrds", "SHARPER-SWORDS"):
        assert await names(client, typed) == ["Sharper Swords"], typed


async def test_phrases_and_exclusions_narrow(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    for name in ("Planet Pack", "Pack of a Planet", "Planet Pack for Moons"):
        await make_mod(ada, name=name)
    await catch_up(platform)
    assert set(await names(client, '"planet pack"')) == {"Planet Pack", "Planet Pack for Moons"}
    assert set(await names(client, "planet -moons")) == {"Planet Pack", "Pack of a Planet"}
    assert set(await names(client, '-"planet pack"')) == {"Pack of a Planet"}


async def test_when_nothing_has_all_words_some_are_enough(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    await make_mod(ada, name="Red Cars")
    await catch_up(platform)
    page = await find(client, "red zeppelin")
    assert [m["name"] for m in page["items"]] == ["Red Cars"]
    assert page["relaxed"]
    assert (await find(client, "zeppelin"))["total"] == 0


async def test_what_is_used_more_stands_higher_among_equals(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    made = [await make_mod(ada, name=f"Better Roads {letter}") for letter in "abc"]
    async with platform.transaction() as tx:
        mod_id = decode("mod", made[1]["id"])
        await tx.execute("update mod_counters set downloads = 100000 where mod_id = $1", mod_id)
        await tx.emit("mod.downloads_counted", subject=mod_id)
    await catch_up(platform)
    assert (await names(client, "better roads"))[0] == "Better Roads b"
    assert (await names(client, sort="downloads"))[0] == "Better Roads b"


async def test_filters_narrow_and_facets_count_what_was_found(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    swords = await make_mod(ada, name="Swords", category="weapons/swords", tags=["steel", "fast"])
    bows = await make_mod(ada, name="Bows", category="weapons", tags=["fast"])
    await make_mod(ada, name="Anywhere", tags=["steel"])
    await release(platform, swords, loaders=["forge"], builds=["1.1", None])
    await release(platform, bows, loaders=["forge", "fabric"], builds=[None, "1.0"])
    await catch_up(platform)
    page = await find(client)
    assert page["total"] == 3
    assert counts(page, "category") == {"weapons": 2, "weapons/swords": 1}
    assert counts(page, "tag") == {"fast": 2, "steel": 2}
    assert counts(page, "loader") == {"forge": 2, "fabric": 1}
    assert counts(page, "build") == {"1.0": 1, "1.1": 1, "1.2": 1}
    assert set(await names(client, category="weapons")) == {"Swords", "Bows"}
    assert await names(client, category="weapons/swords") == ["Swords"]
    assert await names(client, tag=["steel", "fast"]) == ["Swords"]
    assert set(await names(client, loader="forge")) == {"Swords", "Bows"}
    assert await names(client, build="1.2") == ["Swords"]
    assert set(await names(client, build="1")) == {"Swords", "Bows"}
    assert await names(client, "bo", loader="fabric", build="1.0", game="starfall") == ["Bows"]
    assert counts(await find(client, category="weapons/swords"), "tag") == {"fast": 1, "steel": 1}
    assert await names(client, author="ADA", sort="name") == ["Anywhere", "Bows", "Swords"]
    assert await names(client, author="ad") == []


async def test_a_mod_that_says_nothing_of_loaders_and_builds_fits_all(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    anywhere, forge = await make_mod(ada, name="Anywhere"), await make_mod(ada, name="Forge Only")
    await release(platform, anywhere, loaders=[], builds=[None, None])
    await release(platform, forge, loaders=["forge"], builds=["1.2", "1.2"])
    async with platform.transaction() as tx:
        await tx.execute("delete from claims where chain_id in (select id from chains where mod_id = $1)",
                         decode("mod", anywhere["id"]))  # fmt: skip
    await catch_up(platform)
    page = await find(client)
    assert counts(page, "loader") == {"forge": 2}
    assert counts(page, "build") == {"1.2": 2}
    assert set(await names(client, loader="fabric")) == {"Anywhere"}
    assert set(await names(client, build="1.0")) == {"Anywhere"}
    assert await names(client, loader="*") == ["Anywhere"]


async def test_another_game_is_not_mixed_in(
    platform: Platform, client: httpx.AsyncClient, ada: Person, person: MakePerson
) -> None:
    await make_game(await person("root", roles=("admin",)), "otherworld")
    await make_mod(ada)
    await make_mod(ada, "otherworld")
    await catch_up(platform)
    assert (await find(client, "swords"))["total"] == 2
    page = await find(client, "swords", game="otherworld")
    assert [m["game"] for m in page["items"]] == ["otherworld"]
    missing = await client.get("/api/v1/search", params={"game": "nowhere"})
    assert missing.status_code == 404


async def test_paging_sees_each_mod_once_in_order(
    platform: Platform, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    rows = [
        {"id": f"Mod{n}", "version": "1", "name": f"Mod {n % 5} of {n}", "released": f"2020-01-0{n % 3 + 1}T00:00:00Z"}
        for n in range(23)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    await import_ckan(platform, tmp_path / "a.jsonl")
    await catch_up(platform)
    seen = {sort: await all_pages(client, sort) for sort in ("relevance", "downloads", "updated", "new", "name")}
    for sort, mods in seen.items():
        assert len({m["id"] for m in mods}) == len(mods) == 23, sort
    assert [m["name"] for m in seen["name"]] == sorted(m["name"] for m in seen["name"])
    for sort, field in (("updated", "updated_at"), ("new", "published_at")):
        dates = [m[field] for m in seen[sort]]
        assert dates == sorted(dates, reverse=True)


async def all_pages(client: httpx.AsyncClient, sort: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await find(client, "mod", sort=sort, limit=4, **({"cursor": cursor} if cursor else {}))
        assert page["total"] == 23
        seen += page["items"]
        cursor = page["next_cursor"]
    return seen


async def test_a_page_by_date_neither_repeats_nor_skips_when_something_new_appears(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    for n in range(6):
        await make_mod(ada, name=f"Mod {n}")
    await catch_up(platform)
    first = await find(client, sort="new", limit=3)
    await make_mod(ada, name="Newest")
    await catch_up(platform)
    second = await find(client, sort="new", limit=3, cursor=first["next_cursor"])
    assert [m["name"] for m in [*first["items"], *second["items"]]] == [f"Mod {n}" for n in (5, 4, 3, 2, 1, 0)]


async def test_a_cursor_fits_no_other_search(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    for n in range(3):
        await make_mod(ada, name=f"Mod {n}")
    await catch_up(platform)
    cursor = (await find(client, "mod", limit=1))["next_cursor"]
    for wrong in ({"q": "mods", "cursor": cursor}, {"q": "mod", "cursor": cursor + "x"}, {"q": "mod", "cursor": "x"}):
        answer = await client.get("/api/v1/search", params={"limit": 1, **wrong})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "?cursor"


HOSTILE = [
    "x" * 100_000, '"' * 5000, "-" * 5000, "AND OR NOT", "title:a^9~", "*", "?*", "a* *a", "(((((", "[a TO b]", "{",
    "\x00", "a\x00b", "\u202egnirts desrever\u202c", "\u200f\u200e", "\U0001f600" * 300, "ﷺ" * 200, "e\u0301" * 400,
    "a " * 400, '"a b" ' * 200, "-a " * 200, "-x", '-"a', "/regex.*/", "\\", "'; drop table mods; --", "%00%ff",
    "ß" * 300, "\ud800", "1" * 300, "_" * 300, "id:1", "kind:bookmark", "bookmark",
]  # fmt: skip


async def test_nothing_that_is_typed_is_an_error(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    await make_mod(ada)
    await catch_up(platform)
    for typed in HOSTILE:
        page = await service.search(platform, ANONYMOUS, Query(q=typed))
        assert page.total <= 1, typed
        if len(typed) < 1000 and "\x00" not in typed and "\ud800" not in typed:  # what fits into an address
            assert (await find(client, typed))["total"] == page.total, typed


async def test_hostile_filters_find_nothing(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    await make_mod(ada)
    await catch_up(platform)
    for name in ("category", "tag", "loader", "build", "author"):
        for value in ("?", "/", "'", "*", "\U0001f600", "x" * 200):
            assert await names(client, **{name: value}) == []
    for value in ("?", "/", "\U0001f600", "x" * 200):
        assert (await client.get("/api/v1/search", params={"game": value})).status_code == 404


@pytest.mark.slow
async def test_the_real_catalogue_is_searched_as_its_players_do(
    platform: Platform, client: httpx.AsyncClient, data_sets: Path
) -> None:
    await import_ckan(platform, data_sets / "ckan.jsonl.zst")
    await catch_up(platform)
    assert (await names(client, "module manager", game=GAME))[0] == "Module Manager"
    assert (await names(client, "mechjeb"))[0] == "MechJeb 2"
    assert "Module Manager" in await names(client, "modul manger")
    page = await find(client, build="1.12.5", tag="parts")
    assert page["total"] > 300
    assert counts(page, "build")["1.12.5"] == page["total"]

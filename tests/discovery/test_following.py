"""The index follows the event log, loses nothing, repeats nothing, and is built anew when it must be."""

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from loadstone.catalog.import_ckan import import_ckan
from loadstone.discovery.documents import Lines, documents
from loadstone.discovery.following import RebuildRunningError, rebuild, touched_mods
from loadstone.discovery.generations import Generations
from loadstone.discovery.index import open_index, open_writer
from loadstone.discovery.jobs import LOOPS
from loadstone.discovery.models import After, Bookmark, Wanted
from loadstone.kernel.events import Event, Position
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.discovery.helpers import catch_up, find, following, names
from tests.factories import Person, make_game, make_mod


@pytest_asyncio.fixture
async def ada(person: MakePerson) -> Person:
    await make_game(await person("boss", roles=("admin",)))
    return await person("ada")


def indexed(platform: Platform) -> list[int]:
    """Every mod id in the index, as often as it is there."""
    generations = Generations(platform.config.data)
    name = generations.current()
    assert name is not None
    return sorted(open_index(generations.path(name)).find(Wanted(), "updated", After(), 100_000).ids)


async def shown(platform: Platform) -> list[int]:
    rows = await platform.db.fetch("select id from mods where visibility = 'published' order by id")
    return [row["id"] for row in rows]


async def test_the_index_follows_what_happens_to_a_mod(
    platform: Platform, client: httpx.AsyncClient, ada: Person, person: MakePerson
) -> None:
    moe = await person("moe", roles=("moderator",))
    async with following(platform) as follower:
        made = await make_mod(ada, visibility="draft")
        address = f"/api/v1/mods/{made['id']}"
        await catch_up(platform, follower)
        assert await names(client, "swords") == []
        await ada.http.patch(address, json={"visibility": "published"}, headers={"If-Match": made_etag(made)})
        await catch_up(platform, follower)
        assert await names(client, "swords") == ["Sharper Swords"]
        tag = (await ada.http.get(address)).headers["etag"]
        await ada.http.patch(address, json={"name": "Keener Blades"}, headers={"If-Match": tag})
        await catch_up(platform, follower)
        assert await names(client, "keener") == ["Keener Blades"]
        assert await names(client, "sharper") == ["Keener Blades"]  # its slug still says so
        for verdict in ("hidden", "published", "quarantined", "published", "removed"):
            body = {"visibility": verdict, "reason": "because"}
            assert (await moe.http.post(f"{address}/moderation", json=body)).status_code == 200
            await catch_up(platform, follower)
            assert await names(client, "keener") == (["Keener Blades"] if verdict == "published" else [])
            assert indexed(platform) == await shown(platform)


def made_etag(made: dict[str, object]) -> str:
    return f'"{made["id"]}-{made["version"]}"'


async def test_a_quarantined_mod_is_gone_before_the_index_knows(
    platform: Platform, client: httpx.AsyncClient, ada: Person, person: MakePerson
) -> None:
    made = await make_mod(ada)
    moe = await person("moe", roles=("moderator",))
    await catch_up(platform)
    body = {"visibility": "quarantined", "reason": "a virus"}
    await moe.http.post(f"/api/v1/mods/{made['id']}/moderation", json=body)
    for reader in (client, ada.http, moe.http):
        page = await find(reader, "swords")
        assert page["items"] == []
        assert page["hidden"] == 1


async def test_without_an_index_search_says_when_to_come_back(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    await make_mod(ada)
    answer = await client.get("/api/v1/search", params={"q": "swords"})
    assert answer.status_code == 503
    assert answer.json()["code"] == "search-building"
    assert int(answer.headers["retry-after"]) > 0
    await catch_up(platform)
    assert await names(client, "swords") == ["Sharper Swords"]


async def test_the_workers_loop_keeps_the_index(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    await LOOPS[0].run(platform)
    await make_mod(ada)
    await LOOPS[0].run(platform)
    assert await names(client, "swords") == ["Sharper Swords"]


async def test_a_removed_index_is_built_again(platform: Platform, client: httpx.AsyncClient, ada: Person) -> None:
    await make_mod(ada)
    async with following(platform) as follower:
        await catch_up(platform, follower)
        shutil.rmtree(platform.config.data / "search")
        assert (await client.get("/api/v1/search")).status_code == 503
        await make_mod(ada, name="Other")
        await catch_up(platform, follower)
        assert sorted(await names(client)) == ["Other", "Sharper Swords"]


@pytest.mark.parametrize("victim", ["meta.json", "*.store", "*.term", "*.fast", "*.idx"])
async def test_a_damaged_index_is_noticed_and_built_again(
    platform: Platform, client: httpx.AsyncClient, ada: Person, victim: str
) -> None:
    await make_mod(ada)
    generations = Generations(platform.config.data)
    async with following(platform) as follower:
        await catch_up(platform, follower)
    before = generations.current()
    assert before is not None
    for file in generations.path(before).glob(victim):
        file.write_bytes(b"not what it was")
    answer = await client.get("/api/v1/search", params={"q": "swords"})
    assert answer.status_code in {200, 503}
    await make_mod(ada, name="Other")
    async with following(platform) as follower:
        for _ in range(3):
            try:
                await catch_up(platform, follower)
            except Exception:  # noqa: BLE001 - the worker's loop logs it and comes again
                continue
        await client.get("/api/v1/search", params={"q": "swords"})
        await catch_up(platform, follower)
    assert sorted(await names(client)) == ["Other", "Sharper Swords"]
    assert indexed(platform) == await shown(platform)


async def test_an_index_of_another_database_is_built_again(platform: Platform, ada: Person) -> None:
    await make_mod(ada)
    generations = Generations(platform.config.data)
    name = generations.fresh()
    writer = open_writer(generations.path(name), fresh=True)
    writer.commit(Bookmark(Position(9, 1 << 40, 1), "1 another 0"))
    writer.close()
    generations.switch(name)
    await catch_up(platform)
    assert generations.current() != name
    assert indexed(platform) == await shown(platform)


async def test_what_was_not_committed_is_applied_again_and_nothing_twice(platform: Platform, ada: Person) -> None:
    await catch_up(platform)
    generations = Generations(platform.config.data)
    name = generations.current()
    assert name is not None
    await make_mod(ada)
    writer = open_writer(generations.path(name))
    writer.put(await documents(platform.db, await shown(platform), Lines(platform.db)))
    writer.close()  # as a kill before the commit
    assert indexed(platform) == []
    await catch_up(platform)
    assert indexed(platform) == await shown(platform)
    writer = open_writer(generations.path(name))
    writer.put(await documents(platform.db, await shown(platform), Lines(platform.db)))
    writer.commit(Bookmark(Position(), writer.bookmark.database))  # as if the cursor had never moved
    writer.close()
    await catch_up(platform)
    assert indexed(platform) == await shown(platform)


_CHILD = """
import asyncio, sys
from pathlib import Path
from loadstone.discovery.following import Follower
from loadstone.kernel.config import Config
from loadstone.kernel.platform import open_platform

async def main():
    config = Config(data=Path(sys.argv[2]), database_url=sys.argv[1], secret_key="k" * 32, log_level="error")
    follower = Follower(config.data)
    async with open_platform(config) as platform:
        print("ready", flush=True)
        while True:
            if not await follower.step(platform):
                await asyncio.sleep(0.01)

asyncio.run(main())
"""


async def test_a_writer_killed_at_any_moment_loses_and_repeats_nothing(platform: Platform, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", _CHILD, platform.config.database_url, str(platform.config.data)]
    mods = 0
    for round_ in range(4):
        child = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        index = tmp_path / f"{round_}.jsonl"
        index.write_text("".join(f'{{"id": "Mod{mods + n}", "version": "1"}}\n' for n in range(250)))
        mods += 250
        importing = asyncio.create_task(import_ckan(platform, index))
        await asyncio.sleep(0.05 + 0.11 * round_)
        child.send_signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        await importing
    await catch_up(platform)
    assert indexed(platform) == await shown(platform)
    assert len(await shown(platform)) == 1000


async def test_one_follower_writes_and_another_takes_over(platform: Platform, ada: Person) -> None:
    await make_mod(ada)
    async with following(platform) as first, following(platform) as second:
        assert await catch_up(platform, first) >= 0
        await make_mod(ada, name="Other")
        assert await second.step(platform) == 0
        assert len(indexed(platform)) == 1
        await first.close()
        assert await second.step(platform) > 0
        assert len(indexed(platform)) == 2


async def test_a_rebuild_beside_searches_and_changes_never_errs(
    platform: Platform, client: httpx.AsyncClient, ada: Person
) -> None:
    for n in range(20):
        await make_mod(ada, name=f"Sword {n}")
    generations = Generations(platform.config.data)
    async with following(platform) as follower:
        await catch_up(platform, follower)
        before = generations.current()
        done = asyncio.Event()
        searches = 0

        async def search() -> None:
            nonlocal searches
            while not done.is_set():
                assert (await find(client, "sword"))["total"] >= 20
                searches += 1

        async def publish() -> None:
            for n in range(10):
                await make_mod(ada, name=f"New Sword {n}")
                await follower.step(platform)

        async def build() -> None:
            for _ in range(4):
                assert await rebuild(platform) >= 20

        searching = [asyncio.create_task(search()) for _ in range(3)]
        await asyncio.gather(publish(), build())
        await catch_up(platform, follower)
        done.set()
        await asyncio.gather(*searching)
        assert searches > 0
    assert generations.current() != before
    assert indexed(platform) == await shown(platform)
    assert len([p for p in generations.folder.iterdir() if p.is_dir()]) <= 2


async def test_two_rebuilds_at_once_are_refused(platform: Platform) -> None:
    generations = Generations(platform.config.data)
    with generations.build_lock() as mine:
        assert mine
        with pytest.raises(RebuildRunningError):
            await rebuild(platform)
    assert await rebuild(platform) == 0


async def test_a_rebuild_equals_what_was_followed(platform: Platform, ada: Person) -> None:
    for n in range(5):
        await make_mod(ada, name=f"Mod {n}")
    await catch_up(platform)
    followed = indexed(platform)
    await rebuild(platform)
    assert indexed(platform) == followed == await shown(platform)


async def test_events_that_concern_no_mod_are_not_committed_one_by_one(
    platform: Platform, ada: Person, person: MakePerson
) -> None:
    generations = Generations(platform.config.data)
    async with following(platform) as follower:
        await catch_up(platform, follower)
        name = generations.current()
        assert name is not None
        before = generations.mark(name)
        await person("bob")
        await person("eve")
        async with platform.transaction() as tx:
            await tx.emit("member.renamed", subject=7)
        assert await catch_up(platform, follower) > 0
        assert generations.mark(name) == before


async def test_each_kind_of_event_names_its_mod(platform: Platform, ada: Person) -> None:
    made = await make_mod(ada)
    mod_id = decode("mod", made["id"])
    chain_id = await platform.db.fetchval("select id from chains where mod_id = $1", mod_id)
    game_id = await platform.db.fetchval("select game_id from mods where id = $1", mod_id)

    async def touched(kind: str, subject: int | None = None, **data: object) -> list[int]:
        at = platform.clock.now()
        return await touched_mods(platform, [Event(Position(), at, kind, subject, game_id, None, dict(data))])

    assert await touched("mod.changed", mod_id) == [mod_id]
    assert await touched("release.yanked", 5, mod=mod_id) == [mod_id]
    assert await touched("chain.added", chain_id) == [mod_id]
    assert await touched("claims.added", chain_id) == [mod_id]
    assert await touched("mods.imported", mods=[mod_id, mod_id]) == [mod_id]
    assert await touched("game.changed", game_id) == [mod_id]
    assert await touched("release.published", 5) == []
    assert await touched("member.joined", mod_id) == []
    assert await touched("odd.event", 1, mods="many", mod=True) == []


async def test_builds_that_are_no_numbers_do_not_stop_the_index(platform: Platform, ada: Person) -> None:
    made = await make_mod(ada)
    body = {"kind": "broken_in", "builds": ["1.²", "\U0001d7d9" * 4]}
    assert (await ada.http.post(f"/api/v1/mods/{made['id']}/claims", json=body)).status_code == 201
    odd = {"kind": "works_with", "builds": ["9" * 5000, None]}
    await ada.http.post(f"/api/v1/mods/{made['id']}/claims", json=odd)
    await catch_up(platform)
    assert indexed(platform) == await shown(platform)

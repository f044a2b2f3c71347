"""law 2: with an ``Idempotency-Key`` nothing happens twice, and no answer is given to somebody else."""

import asyncio
import dataclasses
import datetime as dt
from typing import Any

import httpx
import pytest

from loadstone.http.idempotency import forget
from loadstone.kernel.clock import SettableClock
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import Person, make_game

MODS = "/api/v1/games/starfall/mods"
START = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def platform(platform: Platform) -> Platform:
    """The platform with a clock that stands still until it is moved."""
    return dataclasses.replace(platform, clock=SettableClock(START))


def move(platform: Platform, **by: float) -> None:
    assert isinstance(platform.clock, SettableClock)
    platform.clock.move(dt.timedelta(**by))


async def make(person: Person, key: str, name: str = "Once") -> httpx.Response:
    return await person.http.post(MODS, json={"name": name}, headers={"Idempotency-Key": key})


async def mods(platform: Platform) -> int:
    return int(await platform.db.fetchval("select count(*) from mods"))


async def test_a_key_is_the_callers_own(person: MakePerson, platform: Platform) -> None:
    await make_game(await person("boss", roles=("admin",)))
    first = await make(await person("ada"), "k")
    other = await make(await person("bob"), "k")
    assert (first.status_code, other.status_code) == (201, 201)
    assert first.json()["id"] != other.json()["id"]
    assert await mods(platform) == 2


async def test_a_refusal_without_effect_frees_its_key(person: MakePerson, platform: Platform) -> None:
    boss = await person("boss", roles=("admin",))
    ada = await person("ada")
    assert (await make(ada, "k")).status_code == 404  # the game is not there yet
    await make_game(boss)
    bad = await ada.http.post(MODS, json={"name": ""}, headers={"Idempotency-Key": "k"})
    assert bad.status_code == 400
    made = await make(ada, "k")
    assert made.status_code == 201
    assert "idempotency-replayed" not in made.headers
    assert await mods(platform) == 1


async def test_while_the_first_is_answered_the_second_is_told_to_wait(person: MakePerson, platform: Platform) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    await make(ada, "k")
    await platform.db.fetch("update idempotency_keys set status = null, took_effect = false where key = 'k'")
    answer = await make(ada, "k")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-key-in-progress")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_crash_before_the_effect_lets_the_work_be_done_again(person: MakePerson, platform: Platform) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    await make(ada, "other", "Other")
    await platform.db.fetch(
        "update idempotency_keys set key = 'k', status = null, took_effect = false, request = $1 where key = 'other'",
        await digest_of(platform, ada, "Once"),
    )
    assert (await make(ada, "k")).status_code == 409
    move(platform, seconds=61)
    assert (await make(ada, "k")).status_code == 201


async def digest_of(platform: Platform, person: Person, name: str) -> bytes:
    """What the platform remembers of a request, read from a real one whose traces are removed."""
    assert (await make(person, "probe", name)).status_code == 201
    row = await platform.db.fetchrow("delete from idempotency_keys where key = 'probe' returning request")
    assert row is not None
    return bytes(row["request"])


async def test_a_crash_between_effect_and_answer_is_told_and_not_repeated(
    person: MakePerson, platform: Platform
) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    await make(ada, "k")
    await platform.db.fetch("update idempotency_keys set status = null, headers = null, body = null where key = 'k'")
    assert (await make(ada, "k")).json()["code"] == "idempotency-key-in-progress"
    move(platform, seconds=61)
    answer = await make(ada, "k")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-answer-lost")
    assert await mods(platform) == 1


async def test_a_request_that_lost_its_key_takes_no_effect(person: MakePerson, platform: Platform) -> None:
    """A first request that hangs for longer than a key stays fresh does not make the thing a second time."""
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    async with platform.db.connection() as connection:
        hanging = connection.transaction()
        await hanging.start()
        await connection.execute("lock table mods in access exclusive mode")
        first = asyncio.create_task(make(ada, "k"))
        while not await platform.db.fetchval("select count(*) from idempotency_keys where key = 'k'"):
            await asyncio.sleep(0.01)
        move(platform, seconds=61)
        second = asyncio.create_task(make(ada, "k"))
        await _until_taken_over(platform)
        await hanging.rollback()
    answers = await asyncio.gather(first, second)
    assert sorted(a.status_code for a in answers) == [201, 409]
    assert await mods(platform) == 1


async def _until_taken_over(platform: Platform) -> None:
    while await platform.db.fetchval("select started_at from idempotency_keys where key = 'k'") == START:
        await asyncio.sleep(0.01)


async def test_a_secret_is_not_kept_with_its_key(app: Any, person: MakePerson, platform: Platform) -> None:
    """A personal token is hashed at rest, also when it was made with a key."""
    ada = await person("ada")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"X-CSRF-Token": ada.actor.csrf, "Idempotency-Key": "k"}
    cookies = {"loadstone_session": ada.opened.secret}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", cookies=cookies) as browser:
        wanted = {"name": "CI", "scopes": ["downloads"]}
        made = await browser.post("/api/v1/tokens", json=wanted, headers=headers)
        again = await browser.post("/api/v1/tokens", json=wanted, headers=headers)
    assert made.status_code == 201, made.text
    assert (again.status_code, again.json()["code"]) == (409, "idempotency-answer-lost")
    row = await platform.db.fetchrow("select * from idempotency_keys where key = 'k'")
    assert row is not None
    assert made.json()["secret"] not in repr(dict(row))
    assert await platform.db.fetchval("select count(*) from tokens where name = 'CI'") == 1


async def test_an_error_of_ours_is_not_kept(person: MakePerson, platform: Platform) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    await platform.db.fetch("alter table chains rename to chains_away")
    assert (await make(ada, "k")).status_code == 500
    await platform.db.fetch("alter table chains_away rename to chains")
    assert (await make(ada, "k")).status_code == 201
    assert await mods(platform) == 1


async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    new = {"name": "ada", "email": "ada@example.org", "password": "a lodestone points north"}
    for key in (b"", b'""', b" ", b"a" * 201, b"\xff", "ключ".encode(), b"a\tb", b"a\x7f"):
        answer = await client.post("/api/v1/members", json=new, headers=[(b"Idempotency-Key", key)])
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-input"), key
        assert answer.json()["errors"][0]["pointer"] == "?Idempotency-Key"


async def test_keys_are_forgotten_after_a_day(person: MakePerson, platform: Platform) -> None:
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    await make(ada, "old")
    move(platform, hours=23)
    await make(ada, "young", "Younger")
    await forget(platform)
    assert await platform.db.fetchval("select count(*) from idempotency_keys") == 2
    move(platform, hours=2)
    await forget(platform)
    kept = await platform.db.fetch("select key from idempotency_keys")
    assert [row["key"] for row in kept] == ["young"]

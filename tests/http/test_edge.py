"""The outermost layer: health, request ids, security headers, conditional reads, the quick read of a mod."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from loadstone.http.app import create_app
from loadstone.http.edge import CSP, SECURITY_HEADERS, quick_key
from loadstone.kernel.config import Config
from loadstone.kernel.errors import known_problems
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson, lifespan
from tests.factories import make_game, make_mod

BASE = "http://127.0.0.1:8000"


async def another(config: Config, platform: Platform | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another application on the same ground."""
    application = create_app(config, platform=platform)
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        if platform is None:
            yield client
            return
        async with lifespan(application):
            yield client


async def test_liveness_asks_nothing_of_the_database(client: httpx.AsyncClient, platform: Platform) -> None:
    before = platform.db.statements
    answer = await client.get("/livez")
    assert (answer.status_code, answer.text) == (200, "alive\n")
    assert platform.db.statements == before


async def test_before_the_platform_is_open_it_is_alive_but_not_ready(config: Config) -> None:
    async for client in another(config, None):
        assert (await client.get("/livez")).status_code == 200
        for path in ("/readyz", "/api/v1/games"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1


async def test_without_its_database_it_is_not_ready(
    client: httpx.AsyncClient, postgres: str, platform: Platform
) -> None:
    assert (await client.get("/readyz")).text == "ready\n"
    name = await platform.db.fetchval("select current_database()")
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"alter database {name} with allow_connections false")
        await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert (await client.get("/api/v1/games")).status_code == 503
        assert (await client.get("/livez")).status_code == 200
    finally:
        await connection.execute(f"alter database {name} with allow_connections true")
        await connection.close()
    assert (await client.get("/readyz")).status_code == 200


async def test_metrics_can_be_switched_off(client: httpx.AsyncClient, platform: Platform) -> None:
    assert "loadstone_" in (await client.get("/metrics")).text
    config = msgspec.structs.replace(platform.config, metrics=False)
    async for other in another(config, dataclasses.replace(platform, config=config)):
        assert (await other.get("/metrics")).status_code == 404


async def test_a_request_id_is_taken_over_or_made(client: httpx.AsyncClient) -> None:
    given = await client.get("/livez", headers={"X-Request-Id": "trace-0123.4_5"})
    assert given.headers["x-request-id"] == "trace-0123.4_5"
    made = {(await client.get("/livez")).headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for bad in (b"short", b"a" * 65, b"with space1", b"<script>xx", "ключключ".encode()):
        answer = await client.get("/livez", headers=[(b"X-Request-Id", bad)])
        assert answer.headers["x-request-id"].encode() != bad
        assert 8 <= len(answer.headers["x-request-id"]) <= 64


async def test_every_kind_of_answer_carries_the_security_headers(client: httpx.AsyncClient, person: MakePerson) -> None:
    ada = await person("ada", roles=("admin",))
    await make_game(ada)
    await make_mod(ada)
    tag = (await client.get("/api/v1/games")).headers["etag"]
    answers = [
        (200, await client.get("/")),
        (200, await client.get("/api/v1/games")),
        (200, await client.get("/api/v1/games/starfall/mods/sharper-swords")),
        (200, await client.head("/api/v1/games")),
        (204, await client.options("/api/v1/games")),
        (304, await client.get("/api/v1/games", headers={"If-None-Match": tag})),
        (400, await client.get("/api/v1/games?limit=0")),
        (400, await client.get("/search?q=%ff")),
        (401, await client.get("/api/v1/me")),
        (404, await client.get("/api/v1/nothing")),
        (404, await client.get("/nothing", headers={"Accept": "text/html"})),
        (405, await client.put("/api/v1/games", json={})),
        (403, await client.get("/files/forged/a.zip")),
        (200, await client.get("/livez")),
        (200, await client.get("/openapi.json")),
    ]
    for status, answer in answers:
        assert answer.status_code == status, (answer.request.url, answer.text)
        for name, _ in SECURITY_HEADERS:
            assert name.decode() in answer.headers, (answer.request.url, name)
        assert len(answer.headers.get_list("x-request-id")) == 1
        assert len(answer.headers.get_list("content-security-policy")) == 1
    assert "unsafe" not in CSP
    assert "strict-transport-security" not in answers[0][1].headers


async def test_with_https_browsers_are_told_to_stay_there(platform: Platform) -> None:
    config = msgspec.structs.replace(platform.config, public_url="https://mods.example.org")
    async for other in another(config, dataclasses.replace(platform, config=config)):
        assert (await other.get("/livez")).headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize("path", ["/api/v1/games", "/api/v1/games/starfall/mods/sharper-swords", "/games/starfall"])
async def test_what_has_not_changed_is_not_sent_again(client: httpx.AsyncClient, person: MakePerson, path: str) -> None:
    ada = await person("ada", roles=("admin",))
    await make_game(ada)
    await make_mod(ada)
    first = await client.get(path)
    tag = first.headers["etag"]
    for matching in (tag, f"W/{tag}", f'"other", {tag}', f'W/"x",W/{tag} , "y"', "*"):
        answer = await client.get(path, headers={"If-None-Match": matching})
        assert (answer.status_code, answer.content) == (304, b""), matching
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == first.headers["cache-control"]
    for other in ('"other"', tag.strip('"'), "", f'"{tag}"'):
        answer = await client.get(path, headers={"If-None-Match": other})
        assert (answer.status_code, answer.content) == (200, first.content), other


async def test_head_has_the_headers_of_get_and_no_body(client: httpx.AsyncClient, person: MakePerson) -> None:
    """RFC 9110 §9.3.2"""
    ada = await person("ada", roles=("admin",))
    await make_game(ada)
    await make_mod(ada)
    varying = {"x-request-id", "date"}
    for path in (
        "/api/v1/games", "/api/v1/games/starfall/mods/sharper-swords", "/livez", "/openapi.json", "/games/starfall",
        "/api/v1/nothing",
    ):  # fmt: skip
        got, headed = await client.get(path), await client.head(path)
        assert headed.status_code == got.status_code, path
        assert headed.content == b""
        assert {n: v for n, v in headed.headers.items() if n not in varying} == {
            n: v for n, v in got.headers.items() if n not in varying
        }, path
    tag = (await client.get("/api/v1/games")).headers["etag"]
    assert (await client.head("/api/v1/games", headers={"If-None-Match": tag})).status_code == 304


async def test_errors_are_pages_for_people_and_problems_for_programs(client: httpx.AsyncClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await client.get("/nothing", headers=browser)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (404, "text/html")
    for path in ("/api/v1/nothing", "/api/v1/games/nothing", "/files/forged/a.zip"):
        answer = await client.get(path, headers=browser)
        assert answer.headers["content-type"] == "application/problem+json", path
    assert (await client.get("/nothing")).headers["content-type"] == "application/problem+json"


async def test_an_error_of_ours_says_nothing_of_the_inside(client: httpx.AsyncClient, platform: Platform) -> None:
    await platform.db.fetch("alter table games rename to games_away")
    for path in ("/api/v1/games", "/api/v1/games/a/mods/b"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "games_away" not in answer.text
        assert "relation" not in answer.text


def test_every_problem_has_a_code_of_its_own_and_says_what_to_do() -> None:
    problems = list(known_problems())
    assert len({p.code for p in problems}) == len(problems)
    for problem in problems:
        assert 400 <= problem.status <= 599
        assert problem.code == problem.code.lower()
        assert len(problem.title) > 15


NAMES = ["sharper-swords", "other", "1", "", "sharper-swords/", "Sharper-Swords", "a b", "sharper%2Dswords", "ü", "a.b"]


async def test_the_quick_read_answers_as_the_long_way_does(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform
) -> None:
    """A cookie of nobody sends the request the long way; the answers are the same, byte for byte."""
    ada = await person("ada", roles=("admin",))
    await make_game(ada)
    mod = await make_mod(ada, description="Ünï **cöde** <b> & 🗡", tags=["swords"], category="weapons/swords")
    assert mod["slug"] in NAMES
    for name in [*NAMES, mod["id"]]:
        path = f"/api/v1/games/starfall/mods/{name}"
        quick, long = await client.get(path), await client.get(path, headers={"Cookie": "a=b"})
        assert (quick.status_code, quick.content) == (long.status_code, long.content), name
        for header in ("etag", "content-type", "cache-control", "content-length"):
            assert quick.headers.get(header) == long.headers.get(header), (name, header)
    before = platform.db.statements
    assert (await client.get("/api/v1/games/starfall/mods/sharper-swords")).status_code == 200
    assert platform.db.statements - before == 1


async def test_the_quick_read_never_shows_what_is_not_public(client: httpx.AsyncClient, person: MakePerson) -> None:
    """law 3: one visibility rule"""
    boss = await person("boss", roles=("admin", "moderator"))
    await make_game(boss)
    shown = {"published": {200}, "unlisted": {200}, "draft": {404}, "hidden": {404}, "quarantined": {404}}
    for visibility, statuses in (shown | {"removed": {404, 410}}).items():
        at_first = visibility if visibility in {"draft", "unlisted"} else "published"
        mod = await make_mod(boss, name=f"Mod {visibility}", visibility=at_first)
        path = f"/api/v1/games/starfall/mods/{mod['slug']}"
        assert (await client.get(path)).status_code == (404 if at_first == "draft" else 200)
        if visibility != at_first:
            verdict = {"visibility": visibility, "reason": "Because of the test."}
            answer = await boss.http.post(f"/api/v1/mods/{mod['id']}/moderation", json=verdict)
            assert answer.status_code == 200, answer.text
        quick, long = await client.get(path), await client.get(path, headers={"Cookie": "a=b"})
        assert quick.status_code == long.status_code, visibility
        assert quick.status_code in statuses, visibility
        assert (await boss.http.get(path)).status_code == 200, visibility


def test_the_quick_read_takes_only_what_it_can_answer() -> None:
    scope: dict[str, Any] = {
        "method": "GET", "path": "/api/v1/games/a/mods/b", "query_string": b"", "headers": [(b"accept", b"*/*")],
    }  # fmt: skip
    assert quick_key(scope) == ("a", "b")
    for change in (
        {"method": "PATCH"}, {"path": "/api/v1/games/a/mods/7"}, {"path": "/api/v1/games/a/mods"},
        {"query_string": b"a=b"}, {"headers": [(b"authorization", b"x")]}, {"headers": [(b"cookie", b"x")]},
        {"path": "/api/v1/games/a/mods/b/c"}, {"path": "/API/v1/games/a/mods/b"},
    ):  # fmt: skip
        assert quick_key(scope | change) is None, change

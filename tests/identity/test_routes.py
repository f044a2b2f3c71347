"""Accounts, sessions and tokens over HTTP."""

import json
import logging

import httpx
import pytest

from loadstone.identity import service
from loadstone.identity.models import Credentials
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import PASSWORD, make_game

ADA = {"name": "ada", "email": "ada@example.org", "password": PASSWORD}


async def _log_in(client: httpx.AsyncClient) -> str:
    assert (await client.post("/api/v1/members", json=ADA)).status_code == 201
    answer = await client.post("/api/v1/session", json={"login": "ADA", "password": PASSWORD})
    assert answer.status_code == 201
    return str(answer.json()["csrf"])


async def test_someone_registers_logs_in_and_out(client: httpx.AsyncClient) -> None:
    csrf = await _log_in(client)
    assert (await client.get("/api/v1/me")).json()["name"] == "ada"
    assert (await client.delete("/api/v1/session", headers={"X-CSRF-Token": csrf})).status_code == 204
    assert (await client.get("/api/v1/me")).status_code == 401


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/members", json=ADA)
    answer = await client.post("/api/v1/session", json={"login": "ada@example.org", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie  # plain http here; over https it is, with the __Host- prefix


@pytest.mark.parametrize("change", [{"email": "other@example.org"}, {"name": "Other"}])
async def test_a_name_or_address_in_use_is_refused_in_any_case(
    client: httpx.AsyncClient, change: dict[str, str]
) -> None:
    await client.post("/api/v1/members", json=ADA)
    answer = await client.post("/api/v1/members", json=ADA | {"name": "ADA", "email": "ADA@example.org"} | change)
    assert answer.status_code == 409
    assert answer.json()["code"] == "name-taken"


@pytest.mark.parametrize("password", ["short", "passwordpassword", "aaaaaaaaaaaa", "adalovelace1!"])
async def test_a_weak_password_is_refused(client: httpx.AsyncClient, password: str) -> None:
    answer = await client.post("/api/v1/members", json=ADA | {"name": "adalovelace", "password": password})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/password"


async def test_wrong_and_unknown_are_told_apart_by_nothing(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/members", json=ADA)
    wrong = await client.post("/api/v1/session", json={"login": "ada", "password": "not that one"})
    unknown = await client.post("/api/v1/session", json={"login": "nobody", "password": "not that one"})
    assert wrong.status_code == unknown.status_code == 401
    assert {k: v for k, v in wrong.json().items() if k != "instance"} == {
        k: v for k, v in unknown.json().items() if k != "instance"
    }


async def test_a_change_by_cookie_needs_its_csrf_token(client: httpx.AsyncClient) -> None:
    csrf = await _log_in(client)
    body = {"name": "mine", "scopes": ["downloads"]}
    for headers in ({}, {"X-CSRF-Token": "0" * 32}, {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"},
                    {"X-CSRF-Token": csrf, "Origin": "http://evil.example"}):  # fmt: skip
        answer = await client.post("/api/v1/tokens", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    good = await client.post("/api/v1/tokens", json=body, headers={"X-CSRF-Token": csrf})
    assert good.status_code == 201


async def test_a_token_is_shown_once_narrowed_and_revocable(client: httpx.AsyncClient) -> None:
    csrf = await _log_in(client)
    made = await client.post(
        "/api/v1/tokens", json={"name": "ci", "scopes": ["downloads"]}, headers={"X-CSRF-Token": csrf}
    )
    secret = made.json()["secret"]
    assert service.is_token(secret)
    assert not service.is_token(secret[:-1] + ("0" if secret[-1] != "0" else "1"))
    listed = (await client.get("/api/v1/tokens")).json()["items"]
    assert [t["secret"] for t in listed] == [None]
    client.cookies.clear()
    by_token = {"Authorization": f"Bearer {secret}"}
    narrow = await client.get("/api/v1/me", headers=by_token)
    assert narrow.status_code == 403
    assert "profile:read" in narrow.json()["detail"]
    csrf = (await client.post("/api/v1/session", json={"login": "ada", "password": PASSWORD})).json()["csrf"]
    gone = await client.delete(f"/api/v1/tokens/{made.json()['id']}", headers={"X-CSRF-Token": csrf})
    assert gone.status_code == 204
    client.cookies.clear()
    assert (await client.get("/api/v1/me", headers=by_token)).status_code == 401


async def test_nobody_revokes_anothers_token(person: MakePerson, client: httpx.AsyncClient, platform: Platform) -> None:
    await person("bob")
    rows = await platform.db.fetch("select id from tokens")
    csrf = await _log_in(client)
    from loadstone.kernel.ids import encode

    answer = await client.delete(f"/api/v1/tokens/{encode('token', rows[0]['id'])}", headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 404
    assert await platform.db.fetchval("select revoked_at from tokens") is None


@pytest.mark.parametrize(
    "header", ["Bearer lds_nonsense", "Bearer " + "x" * 5000, "Basic YTpi", "Bearer", "Bearer lds_" + "A" * 36]
)
async def test_a_bad_token_is_refused_never_taken_for_anonymous(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.get("/api/v1/games", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_no_secret_is_in_the_database_the_log_or_an_error(
    person: MakePerson, platform: Platform, caplog: pytest.LogCaptureFixture, client: httpx.AsyncClient
) -> None:
    caplog.set_level(logging.DEBUG)
    ada = await person("ada")
    await ada.http.post("/api/v1/games/none/mods", json={"name": ada.token})
    tables = await platform.db.fetch("select tablename from pg_tables where schemaname = 'public'")
    dump = ""
    for table in tables:
        rows = await platform.db.fetch(f"select t::text as line from {table['tablename']} t")
        dump += "\n".join(r["line"] for r in rows)
    for secret in (ada.token, ada.opened.secret, PASSWORD):
        assert secret not in dump
        assert secret not in caplog.text


async def test_an_expired_session_and_token_are_dead(person: MakePerson, platform: Platform) -> None:
    ada = await person("ada")
    await platform.db.fetch("update tokens set expires_at = now() - interval '1 second'")
    await platform.db.fetch("update sessions set expires_at = now() - interval '1 second'")
    assert (await ada.http.get("/api/v1/me")).status_code == 401
    assert await service.actor_by_session(platform, ada.opened.secret) is None
    await service.forget_expired(platform)
    assert await platform.db.fetchval("select count(*) from sessions") == 0


async def test_a_suspended_member_is_out_at_once_on_every_way_in(person: MakePerson, platform: Platform) -> None:
    ada = await person("ada")
    await platform.db.fetch("update members set state = 'suspended'")
    assert (await ada.http.get("/api/v1/me")).status_code == 401
    from loadstone.identity.models import WrongCredentialsError

    with pytest.raises(WrongCredentialsError):
        await service.log_in(platform, Credentials("ada", PASSWORD), agent="")


async def test_a_retried_creation_with_its_key_happens_once(person: MakePerson, platform: Platform) -> None:
    """law 2: every creating POST takes Idempotency-Key"""
    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    body = {"name": "Twice", "visibility": "published"}
    headers = {"Idempotency-Key": "abc-123"}
    first = await ada.http.post("/api/v1/games/starfall/mods", json=body, headers=headers)
    again = await ada.http.post("/api/v1/games/starfall/mods", json=body, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert await platform.db.fetchval("select count(*) from mods") == 1
    other = await ada.http.post("/api/v1/games/starfall/mods", json={"name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_simultaneous_requests_with_one_key_make_one_thing(person: MakePerson, platform: Platform) -> None:
    import asyncio

    await make_game(await person("boss", roles=("admin",)))
    ada = await person("ada")
    answers = await asyncio.gather(
        *(
            ada.http.post("/api/v1/games/starfall/mods", json={"name": "Once"}, headers={"Idempotency-Key": "k"})
            for _ in range(8)
        )
    )
    assert {a.status_code for a in answers} <= {201, 409}
    assert sum(a.status_code == 201 for a in answers) >= 1
    assert await platform.db.fetchval("select count(*) from mods") == 1


async def test_bad_bodies_get_precise_problems(client: httpx.AsyncClient) -> None:
    """law 8: bad input gets a precise problem, never a 5xx"""
    post = client.post
    json_type = {"Content-Type": "application/json"}
    cases = [
        (await post("/api/v1/members", content=b"{", headers=json_type), 400, "malformed"),
        (await post("/api/v1/members", content=b'{"name": "\xff"}', headers=json_type), 400, None),
        (await post("/api/v1/members", content=b"[]", headers=json_type), 400, "invalid-input"),
        (await post("/api/v1/members", json=ADA | {"extra": 1}), 400, "invalid-input"),
        (await post("/api/v1/members", content=b"x" * (2 << 20), headers=json_type), 413, "too-large"),
        (await client.put("/api/v1/members", json=ADA), 405, "method-not-allowed"),
        (await client.get("/api/v1/games?limit=0"), 400, "invalid-input"),
        (await client.get("/api/v1/games?limit=many"), 400, "invalid-input"),
        (await client.get("/api/v1/games?cursor=forged"), 400, "invalid-input"),
        (await client.get("/api/v1/games/%00"), 400, "invalid-input"),
        (await client.get("/api/v1/games?cursor=%ff"), 400, "invalid-input"),
        (await client.get("/no/such/page"), 404, "not-found"),
    ]
    for answer, status, code in cases:
        assert answer.status_code == status, (answer.request.url, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = json.loads(answer.content)
        assert problem["status"] == status
        assert code is None or problem["code"] == code, problem
        assert "Traceback" not in answer.text

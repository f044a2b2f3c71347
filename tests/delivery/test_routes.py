"""Tickets over HTTP."""

import asyncio
import datetime as dt
from typing import Any

import httpx
import pytest

from loadstone.delivery import service
from loadstone.delivery.models import ExpiredLinkError, TicketRequest
from loadstone.identity.models import ANONYMOUS, Actor
from loadstone.kernel.clock import SettableClock
from loadstone.kernel.config import Config
from loadstone.kernel.ids import encode
from loadstone.kernel.platform import Platform, open_platform
from tests.conftest import MakePerson
from tests.delivery.releases import Published, grants, publish, publish_elsewhere


async def test_an_anonymous_player_downloads_a_published_file(
    client: httpx.AsyncClient, platform: Platform, release: Published
) -> None:
    answer = await client.post(release.tickets, json={"reason": "dependency"})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    ticket = answer.json()
    assert ticket["sha256"] == release.sha256
    assert (ticket["size"], ticket["file_name"]) == (len(release.content), release.file_name)
    assert len(ticket["md5"]) == 32
    assert (await client.get(ticket["url"])).content == release.content
    (row,) = await grants(platform)
    assert (encode("grant", row["id"]), row["reason"], row["member_id"]) == (ticket["id"], "dependency", None)
    assert (row["mod_id"], row["release_id"], row["place"]) == (release.mod_number, release.number, 0)


async def test_a_link_lives_at_most_a_minute(client: httpx.AsyncClient, release: Published) -> None:
    before = dt.datetime.now(dt.UTC)
    ticket = (await client.post(release.tickets, json={})).json()
    lifetime = dt.datetime.fromisoformat(ticket["expires_at"]) - before
    assert dt.timedelta(0) < lifetime <= dt.timedelta(seconds=60) + (dt.datetime.now(dt.UTC) - before)


async def test_a_ticket_is_one_download_however_often_it_is_used_and_renewed(
    client: httpx.AsyncClient, platform: Platform, release: Published
) -> None:
    ticket = (await client.post(release.tickets, json={})).json()
    first = await client.get(ticket["url"], headers={"Range": "bytes=0-2999"})
    renewed = await client.post(f"/api/v1/tickets/{ticket['id']}/renew")
    assert renewed.status_code == 200, renewed.text
    assert renewed.json()["id"] == ticket["id"]
    second = await client.get(
        renewed.json()["url"], headers={"Range": "bytes=3000-", "If-Range": first.headers["etag"]}
    )
    assert (first.status_code, second.status_code) == (206, 206)
    assert first.content + second.content == release.content
    assert len(await grants(platform)) == 1


async def test_the_same_idempotency_key_grants_once(
    client: httpx.AsyncClient, platform: Platform, release: Published
) -> None:
    headers = {"Idempotency-Key": "a-key-of-this-test"}
    first = await client.post(release.tickets, json={}, headers=headers)
    again = await client.post(release.tickets, json={}, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert len(await grants(platform)) == 1


async def test_a_file_that_lies_elsewhere_is_refused_with_its_address(
    client: httpx.AsyncClient, platform: Platform, mod: dict[str, Any]
) -> None:
    known = await publish_elsewhere(platform, mod, "https://example.org/far.zip")
    unknown = await publish_elsewhere(platform, mod, None, version="2.0")
    for release, url in ((known, "https://example.org/far.zip"), (unknown, None)):
        answer = await client.post(f"/api/v1/releases/{release}/tickets", json={})
        assert answer.status_code == 409
        problem = answer.json()
        assert (problem["code"], problem["url"]) == ("elsewhere", url)
        assert "download at the source" in problem["detail"]
    assert await grants(platform) == []


async def test_many_tickets_come_in_one_call_and_one_transaction(
    client: httpx.AsyncClient, platform: Platform, mod: dict[str, Any]
) -> None:
    releases = [await publish(platform, mod, b"%d" % n, version=f"1.{n}") for n in range(5)]
    hidden = await publish(platform, mod, b"no", version="2.0", state="quarantined")
    far = await publish_elsewhere(platform, mod, "https://example.org/far.zip", version="3.0")
    wanted: list[dict[str, Any]] = [{"release": r.id} for r in releases]
    wanted += [{"release": hidden.id}, {"release": far}, {"release": "nonsense"}, {"release": releases[0].id}]
    wanted += [{"release": releases[0].id, "file": 7}]
    before = platform.db.statements
    answer = await client.post("/api/v1/tickets", json={"items": wanted, "reason": "collection"})
    assert answer.status_code == 200, answer.text
    assert platform.db.statements - before == 2, "one read, one insert"
    items = answer.json()["items"]
    assert [i["problem"]["code"] if i["problem"] else "ticket" for i in items] == [
        *["ticket"] * 5, "not-found", "elsewhere", "not-found", "ticket", "not-found",
    ]  # fmt: skip
    assert items[0]["ticket"] == items[8]["ticket"]
    for item, release in zip(items, releases, strict=False):
        assert (await client.get(item["ticket"]["url"])).content == release.content
    rows = await grants(platform)
    assert {r["release_id"] for r in rows} == {r.number for r in releases}
    assert (len(rows), len({r["xid"] for r in rows}), {r["reason"] for r in rows}) == (5, 1, {"collection"})


async def test_a_thousand_tickets_are_granted_and_no_more(
    client: httpx.AsyncClient, platform: Platform, release: Published, mod: dict[str, Any]
) -> None:
    releases = [release, *[await publish(platform, mod, version=f"1.{n}.1") for n in range(9)]]
    wanted: list[dict[str, Any]] = [{"release": releases[n % 10].id, "file": n // 10} for n in range(1000)]
    answer = await client.post("/api/v1/tickets", json={"items": wanted})
    assert sum(i["ticket"] is not None for i in answer.json()["items"]) == 10
    for items in (wanted + wanted[:1], []):
        refused = await client.post("/api/v1/tickets", json={"items": items})
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["pointer"] == "/items"
    assert len(await grants(platform)) == 10


async def test_bad_input_is_named_and_grants_nothing(
    client: httpx.AsyncClient, platform: Platform, release: Published
) -> None:
    bad: list[Any] = [{"file": -1}, {"file": 1001}, {"file": "zero"}, {"reason": "because"}, {"files": 0}, [], None]
    for body in bad:
        answer = await client.post(release.tickets, json=body)
        assert answer.status_code == 400, body
        assert answer.json()["code"] in {"invalid-input", "malformed"}
    for name in ("rel_0000000000000", "rel_x", "nonsense", "mod_0000000000001", "%F0%9F%97%A1"):
        assert (await client.post(f"/api/v1/releases/{name}/tickets", json={})).status_code == 404, name
        assert (await client.post(f"/api/v1/tickets/{name}/renew")).status_code == 404, name
    assert (await client.post(f"/api/v1/releases/{release.id}/tickets", json={"file": 1})).status_code == 404
    assert await grants(platform) == []


async def test_a_members_ticket_is_renewed_by_them_alone(
    client: httpx.AsyncClient, person: MakePerson, platform: Platform, release: Published
) -> None:
    bob, eve = await person("bob"), await person("eve")
    ticket = (await bob.http.post(release.tickets, json={})).json()
    renewal = f"/api/v1/tickets/{ticket['id']}/renew"
    assert (await bob.http.post(renewal)).status_code == 200
    assert (await eve.http.post(renewal)).status_code == 404
    assert (await client.post(renewal)).status_code == 404
    assert [r["member_id"] for r in await grants(platform)] == [bob.actor.member]


async def test_a_token_without_the_scope_gets_no_ticket(person: MakePerson, release: Published) -> None:
    narrow = await person("bob", scopes=["profile:read"])
    assert (await narrow.http.post(release.tickets, json={})).status_code == 403


async def test_a_ticket_is_not_renewed_after_a_day_or_for_what_is_gone(
    config: Config, platform: Platform, release: Published
) -> None:
    clock = SettableClock(dt.datetime.now(dt.UTC))
    async with open_platform(config, clock=clock) as later:
        ticket = await service.grant(later, ANONYMOUS, release.id, TicketRequest())
        clock.move(dt.timedelta(hours=23))
        assert (await service.renew(later, ANONYMOUS, ticket.id)).expires_at > clock.now()
        clock.move(dt.timedelta(hours=2))
        with pytest.raises(ExpiredLinkError):
            await service.renew(later, ANONYMOUS, ticket.id)


async def test_grants_of_one_moment_all_count(platform: Platform, author: Actor, release: Published) -> None:
    await asyncio.gather(*(service.grant(platform, author, release.id, TicketRequest()) for _ in range(100)))
    assert len({r["id"] for r in await grants(platform)}) == 100

"""Downloads when an object store holds the bytes: players are sent straight to it."""

import datetime as dt
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from loadstone.delivery import service
from loadstone.delivery.links import PREFIX
from loadstone.delivery.models import ExpiredLinkError, Link, Ticket, TicketRequest, Wanted
from loadstone.delivery.serving import FileServer
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel.config import Config
from loadstone.kernel.errors import NotFoundError
from loadstone.kernel.platform import Platform, open_platform
from tests.delivery.releases import grants, publish
from tests.s3 import S3Server

pytestmark = pytest.mark.s3


async def test_the_link_leads_to_the_store_and_no_byte_passes_through_us(
    s3_config: Config, s3_server: S3Server, mod: dict[str, Any]
) -> None:
    async with open_platform(s3_config) as platform, httpx.AsyncClient() as client:
        release = await publish(platform, mod, file_name="schärfer & größer.zip")
        ticket = await service.grant(platform, ANONYMOUS, release.id, TicketRequest())
        assert ticket.url.startswith(f"{s3_server.endpoint}/")
        assert int(parse_qs(urlsplit(ticket.url).query)["X-Amz-Expires"][0]) <= 60
        assert ticket.expires_at - platform.clock.now() <= dt.timedelta(seconds=60)
        whole = await client.get(ticket.url)
        rest = await client.get(ticket.url, headers={"Range": "bytes=3000-"})
        assert (whole.status_code, whole.content) == (200, release.content)
        assert (rest.status_code, rest.content) == (206, release.content[3000:])
        assert "sch%C3%A4rfer%20%26%20gr%C3%B6%C3%9Fer.zip" in whole.headers["content-disposition"]
        forged = ticket.url.replace("X-Amz-Expires=60", "X-Amz-Expires=59")
        assert (await client.get(forged)).status_code == 403
        assert len(await grants(platform)) == 1


async def test_a_thousand_links_are_signed_in_one_call(s3_config: Config, mod: dict[str, Any]) -> None:
    async with open_platform(s3_config) as platform, httpx.AsyncClient() as client:
        releases = [await publish(platform, mod, b"%d" % n, version=f"1.{n}") for n in range(60)]
        tickets = await service.grant_many(platform, ANONYMOUS, [Wanted(r.id) for r in releases], "collection")
        assert len({t.url for t in tickets if isinstance(t, Ticket)}) == 60
        last = tickets[-1]
        assert isinstance(last, Ticket)
        assert (await client.get(last.url)).content == releases[-1].content


async def test_what_is_quarantined_gets_no_new_link(s3_config: Config, mod: dict[str, Any]) -> None:
    async with open_platform(s3_config) as platform:
        release = await publish(platform, mod)
        ticket = await service.grant(platform, ANONYMOUS, release.id, TicketRequest())
        async with platform.transaction() as tx:
            await tx.execute("update mods set visibility = 'quarantined'")
        with pytest.raises(NotFoundError):
            await service.renew(platform, ANONYMOUS, ticket.id)
        with pytest.raises(NotFoundError):
            await service.grant(platform, ANONYMOUS, release.id, TicketRequest())


async def test_a_link_to_our_own_server_has_ended_with_the_move(s3_config: Config, mod: dict[str, Any]) -> None:
    async def never(*_: Any) -> Any:
        pytest.fail("nothing is read or sent")

    async with open_platform(s3_config) as platform:
        release = await publish(platform, mod)
        value = Link(1, release.number, 0, 0, bytes.fromhex(release.sha256), platform.clock.now().timestamp() + 30)
        path = f"{PREFIX}{platform.signer.sign('download link', value)}/{release.file_name}"
        with pytest.raises(ExpiredLinkError, match="another store"):
            await FileServer()(platform, {"method": "GET", "path": path, "headers": []}, never, never)


async def test_a_public_endpoint_is_what_players_see(
    s3_config: Config, s3_server: S3Server, mod: dict[str, Any], platform: Platform
) -> None:
    public = s3_server.endpoint.replace("127.0.0.1", "localhost")
    config = msgspec.structs.replace(s3_config, blobs_public_url=public)
    async with open_platform(config) as behind, httpx.AsyncClient() as client:
        release = await publish(behind, mod)
        ticket = await service.grant(behind, ANONYMOUS, release.id, TicketRequest())
        assert ticket.url.startswith(f"{public}/")
        assert (await client.get(ticket.url)).content == release.content
    assert len(await grants(platform)) == 1

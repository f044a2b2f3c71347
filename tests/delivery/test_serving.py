"""The file server: the bytes behind a signed link, and nothing else."""

import asyncio
import base64
import datetime as dt
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from loadstone.delivery.links import PREFIX
from loadstone.delivery.models import Link
from loadstone.delivery.serving import CHUNK, BusyError, FileServer
from loadstone.kernel.clock import SettableClock
from loadstone.kernel.config import Config
from loadstone.kernel.errors import Problem
from loadstone.kernel.ids import encode
from loadstone.kernel.platform import Platform, open_platform
from tests.conftest import MakePerson
from tests.delivery.releases import Published, publish

Message = dict[str, Any]


async def link(client: httpx.AsyncClient, release: Published) -> str:
    answer = await client.post(release.tickets, json={})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


async def test_a_file_comes_with_all_that_a_client_can_check(client: httpx.AsyncClient, release: Published) -> None:
    answer = await client.get(await link(client, release))
    assert answer.status_code == 200
    assert answer.content == release.content
    digest = base64.b64encode(bytes.fromhex(release.sha256)).decode()
    expected = {
        "content-length": str(len(release.content)),
        "content-type": "application/octet-stream",
        "content-disposition": "attachment; filename=\"sharper swords.zip\"; filename*=UTF-8''sharper%20swords.zip",
        "accept-ranges": "bytes",
        "etag": f'"{release.sha256}"',
        "repr-digest": f"sha-256=:{digest}:",
        "cache-control": "private, max-age=31536000, immutable",
        "x-content-type-options": "nosniff",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected


async def test_head_says_what_get_would(client: httpx.AsyncClient, release: Published) -> None:
    url = await link(client, release)
    got, headed = await client.get(url), await client.head(url, headers={"Range": "bytes=0-1"})
    assert headed.status_code == 200
    assert headed.content == b""
    ignored = {"x-request-id"}
    assert {n: v for n, v in headed.headers.items() if n not in ignored} == {
        n: v for n, v in got.headers.items() if n not in ignored
    }


async def test_a_range_is_sent_alone(client: httpx.AsyncClient, release: Published) -> None:
    url = await link(client, release)
    for header, part, content_range in [
        ("bytes=0-0", slice(0, 1), "bytes 0-0/6000"),
        ("bytes=10-19", slice(10, 20), "bytes 10-19/6000"),
        ("bytes=5990-", slice(5990, None), "bytes 5990-5999/6000"),
        ("bytes=-10", slice(-10, None), "bytes 5990-5999/6000"),
    ]:
        answer = await client.get(url, headers={"Range": header})
        assert answer.status_code == 206
        assert answer.content == release.content[part]
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["content-range"] == content_range
        assert answer.headers["etag"] == f'"{release.sha256}"'


async def test_a_range_behind_the_end_is_refused(client: httpx.AsyncClient, release: Published) -> None:
    answer = await client.get(await link(client, release), headers={"Range": "bytes=6000-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */6000"
    assert answer.json()["code"] == "range-not-satisfiable"


async def test_thousands_of_ranges_cost_no_more_than_the_file(client: httpx.AsyncClient, release: Published) -> None:
    for ranges in (100, 5000, 200_000):
        header = "bytes=" + ",".join(f"{n}-{n}" for n in range(0, ranges * 2, 2))
        answer = await client.get(await link(client, release), headers={"Range": header})
        assert answer.status_code == 200
        assert answer.content == release.content


async def test_conditions_are_honoured(client: httpx.AsyncClient, release: Published) -> None:
    url = await link(client, release)
    etag = f'"{release.sha256}"'

    async def status(**headers: str) -> int:
        return (await client.get(url, headers={n.replace("_", "-"): v for n, v in headers.items()})).status_code

    assert await status(if_none_match=etag) == 304
    assert await status(if_none_match=etag, range="bytes=0-1") == 304
    assert await status(if_none_match='"another"') == 200
    assert await status(if_match='"another"') == 412
    assert await status(if_match=etag, range="bytes=0-1") == 206
    assert await status(if_range=etag, range="bytes=0-1") == 206
    assert await status(if_range='"another"', range="bytes=0-1") == 200


async def test_an_empty_file_is_a_file(client: httpx.AsyncClient, platform: Platform, mod: dict[str, Any]) -> None:
    release = await publish(platform, mod, b"")
    answer = await client.get(await link(client, release), headers={"Range": "bytes=0-"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "0"


async def test_a_link_takes_get_and_head_only(client: httpx.AsyncClient, release: Published) -> None:
    url = await link(client, release)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = await client.request(method, url)
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == "GET, HEAD"


async def test_names_of_any_language_are_served(
    client: httpx.AsyncClient, platform: Platform, mod: dict[str, Any]
) -> None:
    release = await publish(platform, mod, file_name="剣 100% #1?; a+b & ü'.zip")
    answer = await client.get(await link(client, release))
    assert answer.status_code == 200, answer.text
    assert "%E5%89%A3%20100%25%20%231%3F%3B%20a%2Bb%20%26%20%C3%BC%27.zip" in answer.headers["content-disposition"]


def refused(path: str) -> tuple[int, str]:
    """What a link that is none gets; an address that is not even text is refused before anyone looks at it."""
    try:
        is_text = "\0" not in unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        is_text = False
    return (403, "bad-link") if is_text else (400, "invalid-input")


class TestBadLinks:
    """Whatever is not exactly a link of ours is refused before any file is touched."""

    async def test_a_changed_link_is_refused(self, client: httpx.AsyncClient, release: Published) -> None:
        url = await link(client, release)
        signed = urlsplit(url).path.split("/")[2]
        for at in range(0, len(signed) - 1, 7):
            changed = signed[:at] + ("A" if signed[at] != "A" else "B") + signed[at + 1 :]
            answer = await client.get(url.replace(signed, changed))
            assert (answer.status_code, answer.json()["code"]) == (403, "bad-link")

    async def test_a_text_signed_for_another_purpose_is_no_link(
        self, client: httpx.AsyncClient, platform: Platform, release: Published
    ) -> None:
        value = Link(1, release.number, 0, 0, bytes.fromhex(release.sha256), 9e12)
        cursor = platform.signer.sign("cursor mods", value)
        answer = await client.get(f"{PREFIX}{cursor}/{release.file_name}")
        assert answer.status_code == 403

    async def test_the_name_in_the_address_leads_nowhere_else(
        self, app: Any, client: httpx.AsyncClient, release: Published
    ) -> None:
        signed = urlsplit(await link(client, release)).path.split("/")[2]
        assert (await raw_get(app, f"{PREFIX}{signed}/sharper%20swords.zip"))[0] == 200
        for tail in (
            "", "/", "//", "/..", "/../../secret.key", "/%2e%2e/%2e%2e/secret.key", "/..%2f..%2fsecret.key",
            "/sharper%20swords.exe", "/sharper%20swords.zip/", "/sharper%20swords.zip%00", "/%00", "/%ff%fe",
            "/sharper%20swords.zip/x", "//sharper%20swords.zip", "/" + "a" * 5000, "/SHARPER%20swords.zip",
        ):  # fmt: skip
            assert await raw_get(app, f"{PREFIX}{signed}{tail}") == refused(tail), tail

    async def test_what_was_never_a_link_is_refused(self, app: Any) -> None:
        for path in (
            "", "/", "../livez", "x", "x/y", "%00/x", "A" * 9000, "====/x", "\u00e4/x", "..%2f..%2fetc%2fpasswd",
            "%ff%fe/x", "\x00", "%ed%a0%80/x",
        ):  # fmt: skip
            assert await raw_get(app, PREFIX + path) == refused(path), path

    async def test_a_link_expires(self, config: Config, client: httpx.AsyncClient, release: Published) -> None:
        clock = SettableClock(dt.datetime.now(dt.UTC))
        url = await link(client, release)
        async with open_platform(config, clock=clock) as later:
            assert (await served(FileServer(), later, url))[0]["status"] == 200
            clock.move(dt.timedelta(seconds=config.download_link_seconds + 1))
            with pytest.raises(Problem) as refused:
                await served(FileServer(), later, url)
        assert (refused.value.status, refused.value.code) == (410, "link-expired")


class TestVisibility:
    """The rule is asked when the bytes are fetched, not only when the link is made (law 3)."""

    async def test_what_is_withdrawn_is_gone_at_once(
        self, client: httpx.AsyncClient, platform: Platform, release: Published
    ) -> None:
        for change, status in [
            ("update mods set visibility = 'quarantined'", 404),
            ("update mods set visibility = 'hidden'", 404),
            ("update mods set visibility = 'draft'", 404),
            ("update mods set visibility = 'removed'", 410),
            ("update releases set state = 'quarantined'", 404),
            ("update artifacts set verdict = 'quarantined'", 404),
            ("update artifacts set verdict = 'refused'", 404),
            ("update artifacts set verdict = 'waiting'", 404),
        ]:
            url = await link(client, release)
            assert (await client.get(url)).status_code == 200
            await execute(platform, change)
            assert (await client.get(url)).status_code == status, change
            assert (await client.post(release.tickets, json={})).status_code == status, change
            await execute(platform, "update mods set visibility = 'published'")
            await execute(platform, "update releases set state = 'published'")
            await execute(platform, "update artifacts set verdict = 'clean'")

    async def test_what_is_only_never_newly_chosen_is_still_fetched(
        self, client: httpx.AsyncClient, platform: Platform, release: Published
    ) -> None:
        for change in (
            "update releases set state = 'yanked'",
            "update releases set state = 'archived'",
            "update mods set visibility = 'unlisted'",
        ):
            await execute(platform, change)
            assert (await client.get(await link(client, release))).status_code == 200, change

    async def test_a_team_fetches_its_draft_and_loses_it_with_the_quarantine(
        self, person: MakePerson, client: httpx.AsyncClient, platform: Platform, release: Published
    ) -> None:
        await execute(platform, "update mods set visibility = 'draft'")
        assert (await client.post(release.tickets, json={})).status_code == 404
        bob = await person("bob")
        assert (await bob.http.post(release.tickets, json={})).status_code == 404
        await execute(platform, "update team_members set member_id = $1", bob.actor.member)
        url = await link(bob.http, release)
        assert (await client.get(url)).content == release.content
        await execute(platform, "update mods set visibility = 'quarantined'")
        assert (await client.get(url)).status_code == 404
        assert (await bob.http.post(release.tickets, json={})).status_code == 404

    async def test_a_moderator_examines_what_is_quarantined(
        self, person: MakePerson, client: httpx.AsyncClient, platform: Platform, release: Published
    ) -> None:
        await execute(platform, "update mods set visibility = 'quarantined'")
        moe = await person("moe", roles=("moderator",))
        assert (await client.get(await link(moe.http, release))).content == release.content


class TestFailures:
    """What the operator has to mend is said as such, never as a broken answer."""

    async def test_a_damaged_blob_is_unavailable_and_logged(
        self, client: httpx.AsyncClient, platform: Platform, release: Published
    ) -> None:
        url = await link(client, release)
        path = platform.blobs.path(release.sha256)
        for damaged in (release.content[:-1], release.content + b"!", b"", None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            with capture_logs() as logs:
                answer = await client.get(url)
            assert answer.status_code == 503
            assert answer.json()["code"] == "blob-missing"
            assert int(answer.headers["retry-after"]) > 0
            assert [entry["sha256"] for entry in logs if entry["event"] == "blob_missing"] == [release.sha256]

    async def test_without_a_database_no_byte_leaves(self, config: Config, release: Published) -> None:
        async with open_platform(config) as platform:
            expires = dt.datetime.now(dt.UTC).timestamp() + 30
            signed = platform.signer.sign(
                "download link", Link(1, release.number, 0, 0, bytes.fromhex(release.sha256), expires)
            )
            await platform.db.close()
            with pytest.raises(Problem) as refused:
                await served(FileServer(), platform, f"{PREFIX}{signed}/{release.file_name}")
        assert refused.value.status == 503

    async def test_over_the_bound_a_client_is_told_to_come_back(self, platform: Platform, release: Published) -> None:
        server = FileServer(transfers=1)
        url = local_link(platform, release)
        blocked = asyncio.Event()
        first = asyncio.create_task(served(server, platform, url, on_body=lambda _: blocked.wait()))
        await asyncio.sleep(0.2)
        with pytest.raises(BusyError) as refused:
            await served(server, platform, url)
        assert "Retry-After" in refused.value.headers
        blocked.set()
        await first
        assert body(await served(server, platform, url)) == release.content

    async def test_a_client_that_left_ends_the_transfer(self, platform: Platform, mod: dict[str, Any]) -> None:
        release = await publish(platform, mod, b"x" * CHUNK * 8, version="2.0")
        server = FileServer(transfers=1)
        gone = asyncio.Event()

        async def leave(_: Message) -> None:
            gone.set()
            await asyncio.sleep(0.01)

        messages = await served(server, platform, local_link(platform, release), on_body=leave, gone=gone)
        assert len(body(messages)) < len(release.content)
        assert body(await served(server, platform, local_link(platform, release))) == release.content

    async def test_a_client_that_takes_nothing_is_cut_off(self, platform: Platform, mod: dict[str, Any]) -> None:
        release = await publish(platform, mod, b"x" * CHUNK * 8, version="2.0")
        server = FileServer(stalled_seconds=0.05)

        async def stall(_: Message) -> None:
            await asyncio.Event().wait()

        messages = await served(server, platform, local_link(platform, release), on_body=stall)
        assert body(messages) == release.content[:CHUNK]

    async def test_a_cancelled_transfer_frees_its_place(self, platform: Platform, mod: dict[str, Any]) -> None:
        release = await publish(platform, mod, b"x" * CHUNK * 8, version="2.0")
        server = FileServer(transfers=1)
        never = asyncio.Event()
        task = asyncio.create_task(
            served(server, platform, local_link(platform, release), on_body=lambda _: never.wait())
        )
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert body(await served(server, platform, local_link(platform, release))) == release.content


async def test_a_whole_file_is_handed_to_a_server_that_sends_files(platform: Platform, release: Published) -> None:
    extensions: dict[str, Any] = {"http.response.pathsend": {}}
    start, handed = await served(FileServer(), platform, local_link(platform, release), extensions=extensions)
    assert start["status"] == 200
    assert handed == {"type": "http.response.pathsend", "path": str(platform.blobs.path(release.sha256))}
    part = await served(
        FileServer(), platform, local_link(platform, release), extensions=extensions, headers={"range": "bytes=0-1"}
    )
    assert body(part) == release.content[:2]


def local_link(platform: Platform, release: Published) -> str:
    """A link without a ticket, for tests of the server alone."""
    expires = platform.clock.now().timestamp() + 30
    value = Link(1, release.number, 0, 0, bytes.fromhex(release.sha256), expires)
    assert encode("release", release.number) == release.id
    return f"{PREFIX}{platform.signer.sign('download link', value)}/{release.file_name}"


async def served(
    server: FileServer,
    platform: Platform,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    extensions: dict[str, Any] | None = None,
    on_body: Callable[[Message], Any] | None = None,
    gone: asyncio.Event | None = None,
) -> list[Message]:
    """The messages of one answer; ``on_body`` is awaited at each body, ``gone`` says that the client left."""
    messages: list[Message] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.append(message)
        if on_body is not None and message["type"] == "http.response.body":
            await on_body(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(urlsplit(url).path) if url.startswith("http") else url,
        "headers": [(n.encode(), v.encode()) for n, v in (headers or {}).items()],
        "extensions": extensions,
    }
    await server(platform, scope, receive, send)
    return messages


def body(messages: list[Message]) -> bytes:
    return b"".join(m.get("body", b"") for m in messages if m["type"] == "http.response.body")


async def raw_get(app: Any, path: str) -> tuple[int, str]:
    """Status and problem code for a path as a server would hand it on, without a client's tidying."""
    messages: list[Message] = []
    requests: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return requests.pop() if requests else await asyncio.Future()

    async def send(message: Message) -> None:
        messages.append(message)

    scope: Message = {
        "type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "query_string": b"",
        "headers": [], "extensions": None,
    }  # fmt: skip
    await app(scope, receive, send)
    status: int = messages[0]["status"]
    return status, "" if status == 200 else str(json.loads(body(messages))["code"])


async def execute(platform: Platform, sql: str, *arguments: Any) -> None:
    async with platform.transaction() as tx:
        await tx.execute(sql, *arguments)

"""What a request must be to come in at all: hostile addresses, headers, bodies; who asks from where."""

from typing import Any

import httpx
import msgspec
import pytest

from loadstone.http.app import all_routes
from loadstone.http.gate import client_address
from loadstone.kernel.config import Config
from tests.conftest import MakePerson
from tests.http.test_permissions import operations

JSON = (b"content-type", b"application/json")
HOST = (b"host", b"127.0.0.1:8000")


class Answer:
    """What the application sent to a raw request."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {n.decode(): v.decode() for n, v in messages[0]["headers"]}
        self.body = b"".join(m.get("body", b"") for m in messages[1:])


async def raw(
    app: Any,
    method: str,
    path: str,
    *,
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,),
    query: bytes = b"",
    raw_path: bytes | None = None,
    body: tuple[dict[str, Any], ...] = ({"type": "http.request", "body": b"", "more_body": False},),
) -> Answer:
    """Ask the application by hand, with what no client library would send."""
    pending = list(body)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": raw_path if raw_path is not None else path.encode(), "query_string": query,
        "root_path": "", "headers": list(headers), "client": ("127.0.0.1", 4711), "server": ("127.0.0.1", 8000),
        "state": {}, "extensions": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return Answer(sent)


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_every_address_says_by_options_which_methods_it_takes(client: httpx.AsyncClient) -> None:
    assert (await client.options("/api/v1/nothing")).status_code == 404
    wrong = []
    for method, address, _ in operations():
        answer = await client.options(address)
        allowed = answer.headers.get("allow", "")
        if answer.status_code != 204 or not ("tus-version" in answer.headers or method in allowed):
            wrong.append(f"{method} {address}: {answer.status_code} {allowed!r}")
    assert not wrong, "\n".join(wrong)


async def test_a_method_that_is_not_taken_is_refused_with_those_that_are(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/games", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert {"GET", "POST"} <= {m.strip() for m in answer.headers["allow"].split(",")}


async def test_odd_methods_are_refused(app: Any) -> None:
    for method in ("TRACE", "CONNECT", "BREW", "get", "PROPFIND"):
        assert (await raw(app, method, "/api/v1/games")).status == 405, method


ADDRESSES: list[tuple[str, bytes | None, bytes]] = [
    ("/api/v1/games/a\0b", b"/api/v1/games/a%00b", b""),
    ("/api/v1/games/a\ufffd", b"/api/v1/games/a%ff", b""),
    ("/api/v1/games/a\udcff", b"/api/v1/games/a\xff", b""),
    ("/api/v1/games", None, b"cursor=%00"),
    ("/api/v1/games", None, b"cursor=\0"),
    ("/api/v1/search", None, b"q=%ff%fe"),
    ("/api/v1/search", None, b"q=\xff"),
    ("/api/v1/search", None, b"q=%ed%a0%80"),
    ("/nothing/a\ufffd", b"/nothing/a%ff", b""),
    ("/search", None, b"q=%ff"),
]


async def test_an_address_that_is_no_text_is_refused(app: Any) -> None:
    for path, raw_path, query in ADDRESSES:
        answer = await raw(app, "GET", path, raw_path=raw_path, query=query)
        assert answer.status == 400, (path, query, answer.body)


async def test_odd_queries_are_never_an_error_of_ours(app: Any) -> None:
    for query in (b"%", b"%zz", b"&&&===", b"limit", b"limit=1&limit=2", b"=1", b"a" * 20_000):
        assert (await raw(app, "GET", "/api/v1/games", query=query)).status in {200, 400}, query


HEADERS = [
    b"authorization", b"cookie", b"user-agent", b"if-none-match", b"if-match", b"idempotency-key", b"accept",
    b"content-type", b"content-length", b"host", b"origin", b"sec-fetch-site", b"x-csrf-token", b"x-request-id",
    b"x-forwarded-for", b"range",
]  # fmt: skip
VALUES = [b"", b"\0", b"\xff\xfe", b"a" * 70_000, b'"', b",,,;;;===", "Ω".encode(), b"9" * 5000, b"-1", b"\r\nX: y"]


async def test_hostile_headers_are_never_an_error_of_ours(app: Any) -> None:
    wrong = []
    for name in HEADERS:
        for value in VALUES:
            hostile = (HOST, (name, value))
            statuses = [
                (await raw(app, "GET", "/api/v1/games", headers=hostile)).status,
                (await raw(app, "POST", "/api/v1/games", headers=hostile, body=(part(b"{}"),))).status,
                (await raw(app, "GET", "/games", headers=(*hostile, (b"accept", b"text/html")))).status,
            ]
            if max(statuses) >= 500:
                wrong.append((name, value[:20], statuses))
    assert not wrong


async def test_a_log_in_with_a_nul_in_its_headers_is_refused(app: Any) -> None:
    headers = (HOST, JSON, (b"user-agent", b"a\0b"))
    body = (part(b'{"login": "ada", "password": "x"}'),)
    assert (await raw(app, "POST", "/api/v1/session", headers=headers, body=body)).status == 400


async def test_headers_that_two_readers_could_read_differently_are_refused(app: Any) -> None:
    for name in (b"authorization", b"host", b"content-length", b"content-type", b"idempotency-key", b"if-match"):
        answer = await raw(app, "GET", "/api/v1/games", headers=((name, b"1"), (name, b"2")))
        assert answer.status == 400
        assert b"twice" in answer.body


async def test_a_body_over_the_limit_is_refused_before_it_is_read(app: Any, config: Config) -> None:
    headers = (HOST, JSON, (b"content-length", str(config.max_body_bytes + 1).encode()))
    answer = await raw(app, "POST", "/api/v1/members", headers=headers, body=())
    assert answer.status == 413


async def test_a_body_over_the_limit_is_refused_without_its_length_too(app: Any, config: Config) -> None:
    half = config.max_body_bytes // 2 + 1
    unread = part(b"never asked for")
    body = (part(b"a" * half, more=True), part(b"b" * half, more=True), unread)
    answer = await raw(app, "POST", "/api/v1/members", headers=(HOST, JSON), body=body)
    assert answer.status == 413


async def test_a_body_that_ends_early_is_refused(app: Any) -> None:
    cut = (part(b'{"name": "ada"', more=True),)
    assert (await raw(app, "POST", "/api/v1/members", headers=(HOST, JSON), body=cut)).status == 400
    headers = (HOST, JSON, (b"content-length", b"50"))
    assert (await raw(app, "POST", "/api/v1/members", headers=headers, body=(part(b"{}"),))).status == 400


async def test_a_body_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    for kind in ("text/plain", "application/xml", "multipart/form-data", "application/msgpack", "jsonp", "a/b+json"):
        answer = await client.post("/api/v1/members", content=b"{}", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type"), kind
        assert answer.headers["content-type"] == "application/problem+json"
    for kind in ("application/json", "application/json; charset=utf-8", "application/merge-patch+json"):
        answer = await client.post("/api/v1/members", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 400, kind


BODIES = [
    b"", b"null", b"[]", b"{", b'{"name"', b"\xff", b'{"name": "\\ud800"}', b'{"name": "a\\u0000b"}', b"1e999",
    b"[" * 50_000, b'{"a":' * 20_000, b'{"name": NaN}', b"\xef\xbb\xbf{}", b'{"name": 1}', b"9" * 5000,
]  # fmt: skip


async def test_bad_bodies_are_refused_with_a_problem(client: httpx.AsyncClient) -> None:
    """law 8"""
    for body in BODIES:
        answer = await client.post("/api/v1/members", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (body[:30], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


async def test_a_token_that_is_not_good_is_refused_everywhere(client: httpx.AsyncClient) -> None:
    for value in ("Bearer lds_nothing", "Bearer", "Basic YWRhOmFkYQ==", "lds_x", "Bearer " + "a" * 9000):
        answer = await client.get("/api/v1/games", headers={"Authorization": value})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), value
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_page_of_another_site_cannot_change_anything(person: MakePerson) -> None:
    ada = await person("ada", roles=("admin",))
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = await ada.http.post("/api/v1/games", json={"slug": "a", "name": "A"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")


PROXIES = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "is_"),
    [
        ("203.0.113.9", "198.51.100.1", (), "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", PROXIES, "203.0.113.9"),
        ("10.0.0.1", None, PROXIES, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.2.3.4", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "unknown", PROXIES, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, <script>", PROXIES, "10.0.0.1"),
        ("10.0.0.1", ",,, ,", PROXIES, "10.0.0.1"),
        ("fd00::1", "2001:db8::7", PROXIES, "2001:db8::7"),
        ("socket", "198.51.100.1", PROXIES, "socket"),
    ],
)
def test_a_forged_forwarded_address_changes_nothing(
    config: Config, peer: str, forwarded: str | None, proxies: tuple[str, ...], is_: str
) -> None:
    trusting = msgspec.structs.replace(config, trusted_proxies=proxies)
    assert client_address(trusting, peer, forwarded) == is_


def test_every_route_is_asked_for_by_these_tests() -> None:
    assert {id(route) for _, _, route in operations()} >= {
        id(route) for route in all_routes() if route.http_methods != {"OPTIONS"}
    }

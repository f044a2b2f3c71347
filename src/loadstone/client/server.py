"""Talking to a server that may be slow, broken or hostile. Every answer is bounded and checked."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from loadstone import __version__
from loadstone.client.errors import (
    CancelledError,
    ClientError,
    NonsenseError,
    ServerRefusedError,
    UnreachableError,
    clean,
)
from loadstone.client.wire import Asked, Reason, Refusal, Resolution, Ticket

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_MOST_JSON: Final = 32 << 20
_ATTEMPTS: Final = 4
_LONGEST_WAIT: Final = 30.0
_AGAIN: Final = frozenset({429, 502, 503, 504})
_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)


class Server:
    """One server. Safe between threads; ``cancelled`` ends all waiting."""

    def __init__(self, url: str = DEFAULT_URL, *, token: str | None = None) -> None:
        self.url = checked_url(url)
        self.cancelled = threading.Event()
        plain = {"User-Agent": f"loadstone/{__version__}", "Accept-Encoding": "identity"}
        secret = {"Authorization": f"Bearer {token}"} if token else {}
        self._api = httpx.Client(headers=plain | secret, timeout=_TIMEOUT, follow_redirects=False)
        # Links carry their own right: the token never goes where a link points.
        self._links = httpx.Client(headers=plain, timeout=_TIMEOUT, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        self._links.close()

    def resolve(self, asked: Asked) -> Resolution:
        """The plan for what is asked. Raises :class:`ServerRefusedError`, :class:`UnreachableError`,
        :class:`NonsenseError`.
        """
        answer: Resolution = self._post("/api/v1/resolve", asked, Resolution)
        return answer

    def ticket(self, release: str, file: int, reason: Reason) -> Ticket:
        """A fresh link to a file of a release."""
        path = f"/api/v1/releases/{_segment(release)}/tickets"
        answer: Ticket = self._post(path, {"file": file, "reason": reason}, Ticket)
        return msgspec.structs.replace(answer, url=self._checked_link(answer.url))

    def renew(self, ticket: Ticket) -> Ticket:
        """A fresh link for the same download."""
        answer: Ticket = self._post(f"/api/v1/tickets/{_segment(ticket.id)}/renew", {}, Ticket)
        return msgspec.structs.replace(answer, url=self._checked_link(answer.url))

    @contextlib.contextmanager
    def open_link(self, url: str, offset: int) -> Iterator[httpx.Response]:
        """The bytes of a link from ``offset`` on. Raises httpx.HTTPError where the network fails."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._links.stream("GET", url, headers=headers) as response:
            yield response

    def pause(self, seconds: float) -> None:
        """Wait, unless the player gave up. Raises :class:`CancelledError`."""
        if self.cancelled.wait(min(seconds, _LONGEST_WAIT)):
            raise CancelledError("Cancelled; nothing was changed.")

    def _post(self, path: str, body: object, type_: type[Any]) -> Any:
        content = msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        failure: ClientError = UnreachableError(f"{self.url} does not answer.")
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.pause(0.5 * 2**attempt)
            try:
                with self._api.stream("POST", f"{self.url}{path}", content=content, headers=headers) as response:
                    data = _bounded(response)
            except httpx.HTTPError as error:
                failure = UnreachableError(
                    f"{self.url} does not answer ({clean(str(error)) or type(error).__name__});"
                    " check the address (--server, LOADSTONE_URL) and your connection."
                )
                continue
            if response.status_code in _AGAIN:
                failure = _refusal(response, data)
                if attempt + 1 < _ATTEMPTS:
                    self.pause(_retry_after(response))
                continue
            return _understood(response, data, type_)
        raise failure

    def _checked_link(self, link: str) -> str:
        """An absolute link that a server may send its players to. Raises :class:`NonsenseError`."""
        own = urlsplit(self.url)
        try:
            url = urljoin(f"{self.url}/", link)
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise NonsenseError(f"The server sent a link that is none: {clean(link, 120)}.") from None
        if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
            raise NonsenseError(f"The server sent a link that is none: {clean(link, 120)}.")
        if own.scheme == "https" and parts.scheme != "https":
            raise NonsenseError(f"The server sent an unprotected link ({clean(host)}); nothing was fetched.")
        if host != own.hostname and _is_private(host) and not _is_private(own.hostname or ""):
            raise NonsenseError(f"The server sent a link into your own network ({clean(host)}); nothing was fetched.")
        return url


def checked_url(url: str) -> str:
    """A server's address without its trailing slash. Raises :class:`NonsenseError`."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise NonsenseError(f"“{clean(url, 120)}” is not a server's address; it looks like https://mods.example.org.")
    return url.rstrip("/")


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private or address.is_loopback or address.is_link_local


def _segment(text: str) -> str:
    if not text.replace("_", "").replace("-", "").isalnum() or not text.isascii():
        raise NonsenseError(f"The server named something “{clean(text, 80)}”, which is no id.")
    return text


def _bounded(response: httpx.Response) -> bytes:
    """The whole body, if it is not larger than an answer may be. Raises :class:`NonsenseError`."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NonsenseError("The server packs its answers although it was asked not to.")
    parts: list[bytes] = []
    total, deadline = 0, time.monotonic() + 120
    for part in response.iter_raw():
        total += len(part)
        if total > _MOST_JSON or time.monotonic() > deadline:
            raise NonsenseError("The server's answer does not end; it was cut off, and nothing was changed.")
        parts.append(part)
    return b"".join(parts)


def _understood(response: httpx.Response, data: bytes, type_: type[Any]) -> Any:
    if response.status_code not in {200, 201}:
        raise _refusal(response, data)
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise NonsenseError(
            f"The server's answer makes no sense ({clean(str(error))}); nothing was changed."
        ) from error


def _refusal(response: httpx.Response, data: bytes) -> ServerRefusedError:
    try:
        told = msgspec.json.decode(data, type=Refusal)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        told = Refusal()
    if response.is_redirect:
        told = Refusal(detail="The server sends its callers elsewhere; give its own address.", code="redirect")
    sentence = told.detail or told.title or f"The server refuses with status {response.status_code}."
    return ServerRefusedError(clean(sentence, 1000), status=response.status_code, problem=told.code)


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1.0

"""``Idempotency-Key``: the same key and body give the same answer and happen once (law 2).

The key's row is made before the work; the work's own transaction marks it as having taken effect, so a
crash between the two can be told apart: without effect the work is done again, with effect but without
a kept answer the client is told so, and nothing happens twice. A request that stopped for so long that
another one took over its key cannot take effect any more: the mark fails, and its transaction with it.

A refusal (4xx, 5xx) of which nothing took effect is not kept, and its key is free again: the client mends
what was wrong (finishes the upload, logs in, corrects a member) and sends the same key, and asking again
cannot do harm, because nothing was done. A refusal after something took effect is kept like a success.

An answer that is shown once (``opt["shown_once"]``: it carries a secret that is kept nowhere) is not kept
either; its repetition is told that the first request took effect.
"""

import contextlib
import datetime as dt
from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from loadstone.identity.models import Actor
from loadstone.kernel.db import Transaction, before_commit
from loadstone.kernel.errors import ConflictError, FieldError, InvalidInputError, Problem
from loadstone.kernel.platform import Platform

_FRESH_SECONDS: Final = 60
_KEPT_HEADERS: Final = frozenset({b"content-type", b"location", b"etag", b"cache-control"})
KEPT_HOURS: Final = 24


class KeyReusedError(Problem):
    code = "idempotency-key-reused"
    status = 422
    title = "This Idempotency-Key was used for another request; take a fresh one"


class KeyInProgressError(ConflictError):
    code = "idempotency-key-in-progress"
    title = "The first request with this Idempotency-Key is still being answered; ask again in a moment"


class AnswerLostError(ConflictError):
    code = "idempotency-answer-lost"
    title = "The first request took effect, but its answer is not kept; read the result where it lies"


class _Owned:
    """A key while its request is being answered; told from a later owner's by when it was taken."""

    def __init__(self, platform: Platform, caller: str, key: str, since: dt.datetime) -> None:
        self._platform = platform
        self._row = (caller, key, since)

    async def mark(self, tx: Transaction) -> None:
        """In the work's own transaction: it takes effect. Raises :class:`KeyInProgressError`, another owns it."""
        marked = await tx.execute(
            "update idempotency_keys set took_effect = true where caller = $1 and key = $2 and started_at = $3",
            *self._row,
        )
        if marked != "UPDATE 1":
            raise KeyInProgressError(headers={"Retry-After": "1"})

    async def keep(self, status: int, headers: list[list[str]], body: bytes | None) -> None:
        """Keep the answer, or free the key of a refusal without effect."""
        if status >= 400:
            await self.release()
        if status >= 500:
            return
        await self._platform.db.fetch(
            "update idempotency_keys set status = $4, headers = $5, body = $6"
            " where caller = $1 and key = $2 and started_at = $3",
            *self._row, status, headers, body,
        )  # fmt: skip

    async def release(self) -> None:
        """Free the key, if nothing took effect."""
        await self._platform.db.fetch(
            "delete from idempotency_keys where caller = $1 and key = $2 and started_at = $3"
            " and not took_effect and status is null",
            *self._row,
        )


async def once(
    platform: Platform,
    actor: Actor,
    raw_key: bytes,
    request: bytes,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer from the first time, or do the work and keep its answer."""
    key = _checked(raw_key)
    caller = actor.caller
    since = platform.clock.now()
    claimed = await _claim(platform, caller, key, request, since)
    if claimed is not None:
        await _replay(claimed, send)
        return
    own = _Owned(platform, caller, key, since)
    shown_once: bool = scope["route_handler"].opt.get("shown_once", False)

    status = 0
    headers: list[list[str]] = []
    body = bytearray()

    async def keeping(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [
                [n.decode("latin-1"), v.decode("latin-1")] for n, v in message["headers"] if n.lower() in _KEPT_HEADERS
            ]
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                await own.keep(status, headers, None if shown_once else bytes(body))
        await send(message)

    hook = before_commit.set(own.mark)
    try:
        await app(scope, receive, keeping)
    except Exception:
        # The exception becomes the answer outside of here; nothing took effect unless it is marked.
        with contextlib.suppress(Exception):
            await own.release()
        raise
    finally:
        before_commit.reset(hook)


def _checked(raw: bytes) -> str:
    key = raw.decode("latin-1").strip().strip('"')
    if not 1 <= len(key) <= 200 or not key.isascii() or not key.isprintable():
        raise InvalidInputError(
            "Idempotency-Key takes 1 to 200 printable ASCII characters.",
            errors=[FieldError("?Idempotency-Key", "not a usable key")],
        )
    return key


async def _claim(platform: Platform, caller: str, key: str, request: bytes, now: dt.datetime) -> Any | None:
    row = await platform.db.fetchrow(
        "insert into idempotency_keys (caller, key, request, started_at) values ($1, $2, $3, $4)"
        " on conflict (caller, key) do update set started_at = excluded.started_at"
        "   where idempotency_keys.status is null and not idempotency_keys.took_effect"
        "     and idempotency_keys.request = excluded.request and idempotency_keys.started_at < $5"
        " returning key",
        caller, key, request, now, now - dt.timedelta(seconds=_FRESH_SECONDS),
    )  # fmt: skip
    if row is not None:
        return None
    row = await platform.db.fetchrow("select * from idempotency_keys where caller = $1 and key = $2", caller, key)
    if row is None:
        raise KeyInProgressError(headers={"Retry-After": "1"})
    if row["request"] != request:
        raise KeyReusedError
    if row["status"] is not None and row["body"] is None:
        raise AnswerLostError
    if row["status"] is not None:
        return row
    if row["took_effect"] and row["started_at"] < now - dt.timedelta(seconds=_FRESH_SECONDS):
        raise AnswerLostError
    raise KeyInProgressError(headers={"Retry-After": "1"})


async def _replay(row: Any, send: Send) -> None:
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in row["headers"]]
    headers.append((b"idempotency-replayed", b"true"))
    headers.append((b"content-length", str(len(row["body"])).encode()))
    start: Any = {"type": "http.response.start", "status": row["status"], "headers": headers}
    await send(start)
    end: Any = {"type": "http.response.body", "body": row["body"], "more_body": False}
    await send(end)


async def forget(platform: Platform) -> None:
    """Drop keys older than a day; a timer calls it."""
    async with platform.transaction() as tx:
        await tx.execute(
            "delete from idempotency_keys where started_at < $1",
            platform.clock.now() - dt.timedelta(hours=KEPT_HOURS),
        )

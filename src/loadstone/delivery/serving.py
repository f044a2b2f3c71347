"""The file server behind signed links: raw ASGI in front of the framework, constant memory, resumable.

The link alone is no right. Each request asks the visibility rule again, uncached, so what is quarantined
is gone with the commit (law 3); a transfer that began before goes on.
"""

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import structlog

from loadstone.catalog.fetching import Fetchable, Right, still_fetchable
from loadstone.delivery.links import PREFIX, read_link
from loadstone.delivery.models import BadLinkError, ExpiredLinkError
from loadstone.delivery.ranges import Span, check_if_match, not_modified, wanted_span
from loadstone.kernel.blobs import BlobMissingError, content_disposition
from loadstone.kernel.errors import NotFoundError, Problem, UnavailableError
from loadstone.kernel.metrics import FAILED_CLOSED, SERVED
from loadstone.kernel.platform import Platform

_log = structlog.get_logger()

CHUNK: Final = 512 * 1024
"""Octets of one read; a transfer holds two of them in memory."""
Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Coroutine[Any, Any, Any]]


class MethodNotAllowedError(Problem):
    code = "link-method"
    status = 405
    title = "A download link takes GET and HEAD only"


class BusyError(UnavailableError):
    code = "too-many-transfers"
    title = "This server sends as many files as it can at the moment; try again shortly"


class FileServer:
    """Serves the bytes of local blobs; an object store serves its own.

    ``transfers`` bounds how many bodies are read here at the same time. A whole file goes by the server's
    ``http.response.pathsend`` where it offers that: then the bytes never pass through Python, and the
    server's own bound on connections holds. A client that takes nothing for ``stalled_seconds`` is cut off;
    it may resume.
    """

    def __init__(self, *, transfers: int = 256, readers: int = 8, stalled_seconds: float = 60) -> None:
        self._transfers = transfers
        self._stalled_seconds = stalled_seconds
        self._running = 0
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="files")

    async def __call__(self, platform: Platform, scope: Any, receive: Receive, send: Any) -> None:
        """Answer one request for ``/files/<signed link>/<file name>``. Raises :class:`Problem`."""
        if scope["method"] not in {"GET", "HEAD"}:
            raise MethodNotAllowedError(headers={"Allow": "GET, HEAD"})
        file = await _allowed(platform, scope["path"])
        headers = dict(scope["headers"])
        assert file.sha256 is not None
        etag = f'"{file.sha256.hex()}"'.encode()
        check_if_match(headers, etag)
        if not_modified(headers, etag):
            await _send_head(send, 304, [(b"etag", etag), _CACHE])
            await _send_end(send)
            return
        path = platform.blobs.path(file.sha256.hex())
        async with self._opened(path, file) as descriptor:
            await self._answer(scope, receive, send, file, etag, descriptor, path)

    async def _answer(
        self,
        scope: Any,
        receive: Receive,
        send: Any,
        file: Fetchable,
        etag: bytes,
        descriptor: int,
        path: Path,
    ) -> None:
        assert file.size is not None
        is_get = scope["method"] == "GET"
        span = wanted_span(dict(scope["headers"]), file.size, etag) if is_get else None
        fields = _fields(file, etag)
        if span is None:
            fields.append((b"content-length", str(file.size).encode()))
        else:
            fields.append((b"content-length", str(span.length).encode()))
            fields.append((b"content-range", f"bytes {span.start}-{span.end - 1}/{file.size}".encode()))
        whole = span is None
        if is_get and whole and file.size and "http.response.pathsend" in (scope.get("extensions") or {}):
            await _send_head(send, 200, fields)
            await send({"type": "http.response.pathsend", "path": str(path)})
            SERVED.inc(file.size)
            return
        if not is_get or not file.size:
            await _send_head(send, 200, fields)
            await _send_end(send)
            return
        with self._slot():
            await _send_head(send, 200 if whole else 206, fields)
            await self._stream(descriptor, span or Span(0, file.size), receive, send)

    async def _stream(self, descriptor: int, span: Span, receive: Receive, send: Any) -> None:
        """Send the bytes, reading one chunk ahead; stop when the client is gone or takes nothing."""
        gone = asyncio.create_task(_disconnected(receive))
        ahead = self._read(descriptor, span.start, span.end)
        at = span.start
        try:
            while at < span.end:
                chunk = await asyncio.shield(ahead)
                at += len(chunk)
                if not chunk:
                    raise BlobMissingError("the blob ended early")
                if at < span.end:
                    ahead = self._read(descriptor, at, span.end)
                async with asyncio.timeout(self._stalled_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": at < span.end})
                SERVED.inc(len(chunk))
                if gone.done() and at < span.end:
                    _log.debug("transfer_left", sent=at - span.start, wanted=span.length)
                    return
        except TimeoutError:  # an answer that ends early makes the server close the connection
            _log.info("transfer_stalled", sent=at - span.start, wanted=span.length)
        finally:
            gone.cancel()
            # The descriptor may be closed only when nobody reads from it any more.
            with contextlib.suppress(Exception):
                await asyncio.shield(ahead)

    def _read(self, descriptor: int, at: int, end: int) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._readers, os.pread, descriptor, min(CHUNK, end - at), at)

    @contextlib.asynccontextmanager
    async def _opened(self, path: Path, file: Fetchable) -> AsyncIterator[int]:
        """The blob, open for reading. Raises :class:`BlobMissingError` when it is not there in full."""
        loop = asyncio.get_running_loop()
        try:
            descriptor = await loop.run_in_executor(self._readers, _open_whole, path, file.size)
        except OSError as error:
            _log.error("blob_missing", sha256=path.name, error=str(error))
            raise BlobMissingError() from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _slot(self) -> Any:
        if self._running >= self._transfers:
            raise BusyError()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


_CACHE: Final = (b"cache-control", b"private, max-age=31536000, immutable")


async def _allowed(platform: Platform, path: str) -> Fetchable:
    """The file that a link's address names, if its bytes may be fetched at this moment."""
    signed, _, name = path.removeprefix(PREFIX).partition("/")
    link = read_link(platform, signed)
    if not platform.blobs.is_local:
        raise ExpiredLinkError("The files have moved to another store; ask for a new ticket.")
    try:
        file = await still_fetchable(platform, (link.release, link.place), Right(link.right))
    except Problem as problem:
        if problem.status >= 500:
            FAILED_CLOSED.labels("download").inc()
        raise
    except Exception as error:
        FAILED_CLOSED.labels("download").inc()
        raise UnavailableError("Whether this file may be fetched cannot be checked; try again shortly.") from error
    if file.sha256 != link.sha256:
        raise NotFoundError("The release has another file now; ask for a new ticket.")
    if name != file.file_name:
        raise BadLinkError("The file's name in this link was changed; ask for a new ticket.")
    return file


def _fields(file: Fetchable, etag: bytes) -> Headers:
    assert file.sha256 is not None
    return [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", content_disposition(file.file_name).encode()),
        (b"accept-ranges", b"bytes"),
        (b"etag", etag),
        (b"repr-digest", b"sha-256=:" + base64.b64encode(file.sha256) + b":"),
        _CACHE,
    ]


def _open_whole(path: Path, size: int | None) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise OSError(f"the blob has {found} of {size} bytes")
    return descriptor


async def _disconnected(receive: Receive) -> None:
    """Ends when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_head(send: Any, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send_end(send: Any) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})

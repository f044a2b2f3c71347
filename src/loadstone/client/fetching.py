"""Downloads: several at once, resumed where they stopped, counted and hashed while they stream.

A file comes to ``downloads/SHA256.part`` and gets its name ``downloads/SHA256`` only when size and digest are
those of the plan, so that what bears a name may be used without looking again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import httpx
import msgspec

from loadstone.client.errors import (
    CancelledError,
    LiesElsewhereError,
    NonsenseError,
    NoSpaceError,
    ServerRefusedError,
    UnreachableError,
    WrongBytesError,
    clean,
)
from loadstone.client.journal import digest_of
from loadstone.client.server import Server
from loadstone.client.wire import Reason, Ticket

WORKERS: Final = 4
_BLOCK: Final = 1 << 18
_FAILURES: Final = 5
"""Failures in a row that brought next to nothing before a download gives up."""
_FIRST_PAUSE: Final = 0.25
"""Seconds before the first attempt to go on; doubled with each failure in a row."""
_SLOWEST: Final = 4096
"""Bytes that must come in ``_PATIENCE`` seconds, and in an attempt; below that it counts as failed."""
_PATIENCE: Final = 60.0
_SPARE: Final = 16 << 20


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the plan needs."""

    release: str
    file: int
    file_name: str
    size: int
    sha256: str
    reason: Reason


OnBytes = Callable[[Download, int], None]
"""Told of every change: the download and how many of its bytes are here now."""


def fetch_all(
    server: Server, folder: Path, downloads: Sequence[Download], *, on_bytes: OnBytes, workers: int = WORKERS
) -> dict[str, Path]:
    """Bring all files here. Returns SHA-256 → path.

    Raises :class:`WrongBytesError`, :class:`UnreachableError`, :class:`ServerRefusedError`,
    :class:`NoSpaceError`, :class:`CancelledError`, OSError; what came so far stays for the next attempt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    distinct = {download.sha256: download for download in downloads}
    _check_room(folder, list(distinct.values()))
    stop = threading.Event()
    with ThreadPoolExecutor(max(1, min(workers, len(distinct))), thread_name_prefix="download") as pool:
        jobs = [pool.submit(_Fetch(server, folder, each, on_bytes, stop).run) for each in distinct.values()]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
            failed = next((job for job in jobs if job in done and job.exception()), None)
            if failed is not None:
                failed.result()
        finally:
            stop.set()
            for job in jobs:
                job.cancel()
    return {sha256: folder / sha256 for sha256 in distinct}


def take_from(source: Path, folder: Path, file_name: str, size: int | None, sha256: str | None) -> tuple[str, Path]:
    """Copy a file that the player brought. Returns its SHA-256 and its place.

    Raises :class:`LiesElsewhereError` when it is not there, :class:`WrongBytesError` when it is another.
    """
    found = source / Path(file_name).name
    if not found.is_file():
        raise LiesElsewhereError(f"“{clean(file_name)}” is not in {source}; put it there and try again.")
    folder.mkdir(parents=True, exist_ok=True)
    digest = digest_of(found)
    if (size is not None and found.stat().st_size != size) or (sha256 is not None and digest != sha256):
        raise WrongBytesError(f"{found} is not the file that the mod needs; download it again at its source.")
    place = folder / digest
    if not place.exists():
        shutil.copyfile(found, place.with_suffix(".part"))
        place.with_suffix(".part").replace(place)
    return digest, place


def _check_room(folder: Path, downloads: Sequence[Download]) -> None:
    needed = sum(d.size for d in downloads if not (folder / d.sha256).exists()) + _SPARE
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NoSpaceError(
            f"The downloads need {needed >> 20} MiB and the disk of {folder} has {free >> 20} MiB left; make room."
        )


class _StopError(Exception):
    """Another download failed; this one just ends."""


class _Fetch:
    """One file on its way."""

    def __init__(
        self, server: Server, folder: Path, download: Download, on_bytes: OnBytes, stop: threading.Event
    ) -> None:
        self._server = server
        self._download = download
        self._on_bytes = on_bytes
        self._stop = stop
        self._place = folder / download.sha256
        self._part = folder / f"{download.sha256}.part"
        self._digest = hashlib.sha256()
        self._here = 0

    def run(self) -> None:
        if self._is_complete():
            self._on_bytes(self._download, self._download.size)
            return
        try:
            with self._part.open("ab") as file:
                self._resume(file.fileno())
                resumed = self._here > 0
                self._stream_until_whole(file.fileno())
                if resumed and not self._is_right():  # what lay here may have been damaged
                    self._restart(file.fileno())
                    self._stream_until_whole(file.fileno())
                os.fsync(file.fileno())
        except _StopError:
            return
        if not self._is_right():
            self._part.unlink()
            raise WrongBytesError(
                f"The server sent other bytes than it promised for “{clean(self._download.file_name)}”;"
                " they were thrown away and nothing was changed."
            )
        self._part.replace(self._place)

    def _is_complete(self) -> bool:
        return self._place.is_file() and self._place.stat().st_size == self._download.size

    def _is_right(self) -> bool:
        return self._digest.hexdigest() == self._download.sha256

    def _resume(self, descriptor: int) -> None:
        """Hash what an earlier attempt left."""
        with self._part.open("rb") as file:
            while block := file.read(_BLOCK):
                self._digest.update(block)
                self._here += len(block)
        if self._here > self._download.size:
            self._restart(descriptor)
        self._on_bytes(self._download, self._here)

    def _restart(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        self._digest = hashlib.sha256()
        self._here = 0

    def _stream_until_whole(self, descriptor: int) -> None:
        failures = 0
        ticket: Ticket | None = None
        while self._here < self._download.size:
            before = self._here
            ticket = self._ticket(ticket)
            try:
                problem = self._stream(ticket, descriptor)
            except httpx.HTTPError as error:
                problem = clean(str(error)) or type(error).__name__
            if self._here >= self._download.size:
                return
            failures = 0 if self._here - before >= _SLOWEST else failures + 1
            if failures >= _FAILURES:
                raise UnreachableError(
                    f"“{clean(self._download.file_name)}” does not come ({problem});"
                    " what is here is kept, try again later."
                )
            self._wait(_FIRST_PAUSE * 2**failures)

    def _ticket(self, before: Ticket | None) -> Ticket:
        """A fresh link, because they live for a minute at most; a renewed one if possible."""
        self._check()
        wanted = self._download
        ticket = None
        if before is not None:
            with contextlib.suppress(ServerRefusedError):
                ticket = self._server.renew(before)
        ticket = ticket or self._server.ticket(wanted.release, wanted.file, wanted.reason)
        if (ticket.size, ticket.sha256) != (wanted.size, wanted.sha256):
            raise NonsenseError(
                f"The server changed its mind about “{clean(wanted.file_name)}” between plan and download;"
                " nothing was changed, try again."
            )
        return ticket

    def _stream(self, ticket: Ticket, descriptor: int) -> str:
        """One answer's bytes. Returns why it was not the whole."""
        with self._server.open_link(ticket.url, self._here) as response:
            if response.is_redirect:
                raise NonsenseError(
                    f"The link for “{clean(self._download.file_name)}” leads elsewhere"
                    f" ({clean(response.headers.get('location', '?'), 120)}); it was not followed."
                )
            if response.status_code == 416:
                self._restart(descriptor)
                return "the server has less than is here"
            if response.status_code not in {200, 206}:
                return self._refused(response)
            if response.headers.get("content-encoding", "identity") != "identity":
                return "the server packs what must come as it is"
            if response.status_code == 200 and self._here:
                self._restart(descriptor)
            elif response.status_code == 206 and not _starts_at(response, self._here):
                return "the server sends another part than was asked for"
            self._copy(response, descriptor)
        return "the connection ended early"

    def _refused(self, response: httpx.Response) -> str:
        status = response.status_code
        if 400 <= status < 500 and status not in {401, 403, 404, 408, 410, 425, 429}:
            raise ServerRefusedError(
                f"The server refuses “{clean(self._download.file_name)}” with status {status}.", status=status
            )
        return f"the server answers {status}"

    def _copy(self, response: httpx.Response, descriptor: int) -> None:
        since, mark = time.monotonic(), self._here
        for block in response.iter_raw():
            self._check()
            if self._here + len(block) > self._download.size:
                self._restart(descriptor)
                raise WrongBytesError(
                    f"The server sends more than it promised for “{clean(self._download.file_name)}”;"
                    " it was cut off and nothing was changed."
                )
            _write(descriptor, block)
            self._digest.update(block)
            self._here += len(block)
            self._on_bytes(self._download, self._here)
            now = time.monotonic()
            if now - since > _PATIENCE:
                if self._here - mark < _SLOWEST:
                    return
                since, mark = now, self._here

    def _check(self) -> None:
        if self._server.cancelled.is_set():
            raise CancelledError("Cancelled; what came so far is kept for the next attempt.")
        if self._stop.is_set():
            raise _StopError()

    def _wait(self, seconds: float) -> None:
        self._check()
        self._stop.wait(seconds)
        self._check()


def _starts_at(response: httpx.Response, offset: int) -> bool:
    """RFC 9110 §14.4: ``Content-Range: bytes 5-9/10``."""
    return str(response.headers.get("content-range", "")).strip().startswith(f"bytes {offset}-")


def _write(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]

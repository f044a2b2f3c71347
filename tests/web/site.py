"""The site as people meet it: the real application on a port, its worker running, the demo content in it."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from loadstone.cli.seed import MODS, seed
from loadstone.delivery.jobs import LOOPS as DELIVERY_LOOPS
from loadstone.discovery import service as discovery
from loadstone.discovery.jobs import LOOPS as DISCOVERY_LOOPS
from loadstone.discovery.models import Query
from loadstone.http.app import create_app
from loadstone.identity.models import ANONYMOUS
from loadstone.kernel.config import Config
from loadstone.kernel.errors import UnavailableError
from loadstone.kernel.jobs import Job, work
from loadstone.kernel.platform import Platform, open_platform
from loadstone.publishing.jobs import JOBS as PUBLISHING_JOBS

STUBBORN: Final = "tests.stubborn"
"""A job that fails, and is parked at once, until the file that its payload names is there."""


class Site(msgspec.Struct, frozen=True):
    """A running site: where it is, what it stands on, the passwords of its demo accounts by name."""

    url: str
    platform: Platform
    passwords: dict[str, str]

    async def park_a_job(self, mended: Path) -> None:
        """Ask for a job that fails until the file ``mended`` is there; returns when it is parked."""
        async with self.platform.transaction() as tx:
            await tx.enqueue(STUBBORN, {"until": str(mended)})
        async with asyncio.timeout(60):
            while not await self._jobs("failed"):
                await asyncio.sleep(0.1)

    async def until_no_job_is_stubborn(self) -> None:
        """Returns when each stubborn job was done at last."""
        async with asyncio.timeout(60):
            while await self._jobs("queued", "picked", "failed"):
                await asyncio.sleep(0.1)

    async def _jobs(self, *states: str) -> int:
        query = "select count(*) from pgqueuer where entrypoint = $1 and status::text = any($2)"
        return int(await self.platform.db.fetchval(query, STUBBORN, list(states)))


@contextlib.asynccontextmanager
async def open_site(data: Path, database_url: str) -> AsyncIterator[Site]:
    """Serve a seeded site on a free port until the block ends; its releases are published and found."""
    with free_port() as listening:
        config = Config(
            data=data, database_url=database_url, secret_key="k" * 32, port=listening.getsockname()[1],
            log_level="error",
        )  # fmt: skip
        data.mkdir(parents=True, exist_ok=True)
        async with open_platform(config) as platform, _working(platform), serving(platform, listening):
            await seed(platform)
            await _settled(platform)
            accounts = json.loads((data / "demo.json").read_bytes())["accounts"]
            yield Site(config.address, platform, {a["name"]: a["password"] for a in accounts})


@contextlib.contextmanager
def free_port() -> Iterator[socket.socket]:
    """A socket that is bound to a free port of this machine."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        yield listening


@contextlib.asynccontextmanager
async def _working(platform: Platform) -> AsyncIterator[None]:
    stop = asyncio.Event()
    jobs = [*PUBLISHING_JOBS, Job(STUBBORN, _stubborn, attempts=1)]
    loops = [*DISCOVERY_LOOPS, *DELIVERY_LOOPS]
    worker = asyncio.create_task(work(platform, jobs, [], loops, stop=stop, concurrency=4, drain_seconds=10))
    try:
        yield
    finally:
        stop.set()
        await worker


async def _stubborn(_platform: Platform, payload: dict[str, Any]) -> None:
    if not Path(payload["until"]).exists():
        raise RuntimeError("the mill has no water")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals belong to the test's runner."""
        yield


@contextlib.asynccontextmanager
async def serving(platform: Platform, listening: socket.socket) -> AsyncIterator[None]:
    """Serve the application by a real server, in the test's own loop, until the block ends."""
    app = create_app(platform.config, platform=platform)
    server = _Server(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=5))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def _settled(platform: Platform) -> None:
    """Wait until every demo release is published and every demo mod is found by the search."""
    giving_up = time.monotonic() + 300
    states, found = {"not yet": 0}, 0
    while time.monotonic() < giving_up:
        rows = await platform.db.fetch("select state::text as state, count(*) as n from releases group by 1")
        states = {row["state"]: row["n"] for row in rows}
        with contextlib.suppress(UnavailableError):
            found = (await discovery.search(platform, ANONYMOUS, Query(limit=1))).total
        if set(states) == {"published"} and found == len(MODS):
            return
        await asyncio.sleep(0.2)
    raise TimeoutError(f"the demo content does not settle: releases {states}, mods found {found}")

"""What the tests of publishing share."""

import asyncio
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import msgspec
import pytest

from loadstone.kernel.config import Config
from loadstone.kernel.platform import Platform
from loadstone.publishing.jobs import JOBS
from tests.conftest import MakePerson
from tests.factories import Person, make_game
from tests.s3 import s3_config, s3_server

__all__ = ["s3_config", "s3_server"]

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}
RunJobs = Callable[[], Coroutine[Any, Any, list[str]]]
MakeCreator = Callable[..., Coroutine[Any, Any, Person]]


async def start_upload(creator: Person, length: int, name: str = "mod.zip") -> str:
    """The address of a fresh upload."""
    headers = TUS | {"Upload-Length": str(length)}
    headers["Upload-Metadata"] = f"filename {base64.b64encode(name.encode()).decode()}"
    answer = await creator.http.post("/api/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(creator: Person, address: str, offset: int, body: Any, **headers: str) -> httpx.Response:
    return await creator.http.patch(address, content=body, headers=BYTES | {"Upload-Offset": str(offset)} | headers)


async def upload(creator: Person, content: bytes, name: str = "mod.zip") -> str:
    """The id of a complete upload."""
    address = await start_upload(creator, len(content), name)
    answer = await send(creator, address, 0, content)
    assert answer.status_code == 204, answer.text
    return address.rsplit("/", 1)[-1]


async def publish(creator: Person, mod: dict[str, Any], version: str, upload_id: str, **fields: Any) -> httpx.Response:
    body = {"version": version, "artifacts": [{"upload": upload_id}]} | fields
    return await creator.http.post(f"/api/v1/mods/{mod['id']}/releases", json=body)


async def run_jobs(platform: Platform) -> list[str]:
    """Run the queued jobs as a worker would, until none is left; the names of those that ran."""
    by_name = {job.name: job for job in JOBS}
    ran = []
    while row := await platform.db.fetchrow(
        "select id, entrypoint, payload from pgqueuer where entrypoint = any($1) order by id limit 1", list(by_name)
    ):
        await by_name[row["entrypoint"]].run(platform, msgspec.json.decode(row["payload"]))
        await platform.db.fetch("delete from pgqueuer where id = $1", row["id"])
        ran.append(row["entrypoint"])
    return ran


@pytest.fixture
async def ada(person: MakePerson) -> Person:
    """A creator, on a site with the game ``starfall``."""
    await make_game(await person("boss", roles=("admin",)))
    return await person("ada")


class Server(msgspec.Struct, frozen=True):
    """The shipped web process on a free port."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As a power cut would: nothing gets the chance to tidy up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


StartServer = Callable[..., Coroutine[Any, Any, Server]]


@pytest.fixture
async def start_server(config: Config) -> AsyncIterator[StartServer]:
    """Starts ``loadstone web`` on the test's database and folder, also several times."""
    started: list[Server] = []

    async def start(**environment: str) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {
            "LOADSTONE_DATA": str(config.data),
            "LOADSTONE_PORT": str(port),
            "LOADSTONE_DATABASE_URL": config.database_url,
            "LOADSTONE_SECRET_KEY": config.secret_key,
            "LOADSTONE_LOG_LEVEL": "error",
            "LOADSTONE_WORKERS": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "loadstone", "web"],
            env=os.environ | own | environment,
            start_new_session=True,
        )
        started.append(Server(f"http://127.0.0.1:{port}", process))
        async with httpx.AsyncClient(base_url=started[-1].url) as http:
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/readyz")).status_code == 200:
                        return started[-1]
                await asyncio.sleep(0.1)
        raise TimeoutError("the server does not get ready")

    yield start
    for server in started:
        server.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(15)
        server.kill()

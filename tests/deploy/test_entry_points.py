"""The commands that images run, as processes: against an existing database, stopped by SIGTERM."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio

from loadstone.kernel.config import Config
from loadstone.kernel.migrate import shipped

SHUTDOWN_SECONDS = 5
HEALTHCHECK = Path(__file__).parents[2] / "containers" / "healthcheck.py"


class Started:
    """A process of ours, its environment and where it may write."""

    def __init__(self, process: asyncio.subprocess.Process, environment: dict[str, str], home: Path) -> None:
        self.process = process
        self.environment = environment
        self.home = home
        self.url = f"http://127.0.0.1:{environment['LOADSTONE_PORT']}"

    async def end(self) -> tuple[int, str]:
        """Send SIGTERM; the exit status, within the promised time, and what it said."""
        self.process.send_signal(signal.SIGTERM)
        return await self.wait(SHUTDOWN_SECONDS + 20)

    async def wait(self, seconds: float = 60) -> tuple[int, str]:
        _, said = await asyncio.wait_for(self.process.communicate(), seconds)
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


Start = Callable[..., Awaitable[Started]]


@pytest_asyncio.fixture
async def start(config: Config, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts ``loadstone COMMAND`` as an image does: nothing but the environment, an empty working folder."""
    started: list[Started] = []

    async def run(*command: str, **variables: str) -> Started:
        home = tmp_path / f"process {len(started)}"
        for folder in ("cwd", "home", "tmp"):
            (home / folder).mkdir(parents=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home / "home"),
            "TMPDIR": str(home / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LOADSTONE_DATA": str(config.data),
            "LOADSTONE_PORT": str(free_port()),
            "LOADSTONE_DATABASE_URL": config.database_url,
            "LOADSTONE_SECRET_KEY": config.secret_key,
            "LOADSTONE_WORKERS": "1",
            "LOADSTONE_LOG_LEVEL": "warning",
            "LOADSTONE_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
        } | variables
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadstone", *command, env=environment, cwd=home / "cwd",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        started.append(Started(process, environment, home))
        return started[-1]

    yield run
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        await one.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture
async def empty_database(database_url: str) -> AsyncIterator[str]:
    """A database without a single table."""
    name = f"{urlsplit(database_url).path[1:]}_empty"
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"create database {name} template template0")
        yield urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    finally:
        await connection.execute(f"drop database if exists {name} with (force)")
        await connection.close()


async def answers(url: str, status: int) -> httpx.Response:
    """Wait until the address answers with this status."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                answer = await http.get(url)
                if answer.status_code == status:
                    return answer
            await asyncio.sleep(0.1)
    raise AssertionError(f"{url} does not answer {status}")


async def shows(path: Path) -> None:
    """Wait until a file is there."""
    for _ in range(600):
        if path.exists():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} does not appear")


async def set_away(database_url: str, *, away: bool) -> None:
    """Make a database refuse and lose its connections, or take them again."""
    parts = urlsplit(database_url)
    name = parts.path[1:]
    connection = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")))
    try:
        await connection.execute(f"alter database {name} allow_connections {not away}")
        if away:
            await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    finally:
        await connection.close()


async def healthcheck(environment: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", str(HEALTHCHECK), env=environment)
    return await process.wait()


async def test_migrate_fills_an_empty_database_once_however_many_run(start: Start, empty_database: str) -> None:
    both = [await start("migrate", LOADSTONE_DATABASE_URL=empty_database) for _ in range(2)]
    ended = await asyncio.gather(*(one.wait() for one in both))
    assert [status for status, _ in ended] == [0, 0]
    connection = await asyncpg.connect(empty_database)
    try:
        numbers = [r["number"] for r in await connection.fetch("select number from schema_migrations order by 1")]
    finally:
        await connection.close()
    assert numbers == [migration.number for migration in shipped()]


@pytest.mark.parametrize("command", ["migrate", "web", "worker"])
async def test_without_a_database_a_command_says_what_to_set(start: Start, command: str) -> None:
    status, said = await (await start(command, LOADSTONE_DATABASE_URL="")).wait()
    assert status == 1
    assert "LOADSTONE_DATABASE_URL" in said
    assert "Traceback" not in said


async def test_a_variable_that_is_no_key_is_refused_by_name(start: Start) -> None:
    status, said = await (await start("web", LOADSTONE_SERVICE_HOST="10.0.0.1")).wait()
    assert status == 1
    assert "LOADSTONE_SERVICE_HOST" in said


async def test_web_serves_and_sigterm_ends_it_within_its_time(start: Start) -> None:
    web = await start("web")
    assert (await answers(f"{web.url}/readyz", 200)).text == "ready\n"
    assert (await answers(f"{web.url}/livez", 200)).text == "alive\n"
    async with httpx.AsyncClient(base_url=web.url, trust_env=False) as http:
        assert (await http.get("/api/v1/games")).json()["items"] == []  # and the connection stays open
        status, said = await web.end()
    assert (status, said) == (0, "")


async def test_readiness_follows_the_database_and_liveness_does_not(start: Start, database_url: str) -> None:
    web = await start("web", LOADSTONE_LOG_LEVEL="error")
    await answers(f"{web.url}/readyz", 200)
    await set_away(database_url, away=True)
    try:
        gone = await answers(f"{web.url}/readyz", 503)
        assert gone.headers["content-type"] == "application/problem+json"
        assert gone.headers["retry-after"]
        assert (await answers(f"{web.url}/livez", 200)).text == "alive\n"
    finally:
        await set_away(database_url, away=False)
    await answers(f"{web.url}/readyz", 200)
    assert (await web.end())[0] == 0


async def test_a_worker_and_a_web_server_share_one_search_index(start: Start, config: Config) -> None:
    web = await start("web")
    building = await answers(f"{web.url}/api/v1/search?q=sword", 503)
    assert building.json()["code"] == "search-building"
    worker = await start("worker")
    await shows(config.data / "search" / "current")
    assert (await answers(f"{web.url}/api/v1/search?q=sword", 200)).json()["items"] == []
    assert (await worker.end())[0] == 0
    assert (await web.end())[0] == 0


async def test_the_commands_write_only_into_the_data_folder(start: Start, config: Config) -> None:
    web, worker = await start("web"), await start("worker")
    await answers(f"{web.url}/readyz", 200)
    await shows(config.data / "search" / "current")
    await asyncio.gather(web.end(), worker.end())
    for one in (web, worker):
        assert [path for path in one.home.rglob("*") if not path.is_dir()] == []


async def test_the_health_check_of_the_image_asks_the_web_server(start: Start) -> None:
    web = await start("web")
    assert await healthcheck(web.environment | {"LOADSTONE_PORT": str(free_port())}) == 1
    await answers(f"{web.url}/livez", 200)
    assert await healthcheck(web.environment | {"LOADSTONE_HOST": "0.0.0.0"}) == 0
    await web.end()
    assert await healthcheck(web.environment) == 1

"""What tests stand on: a real PostgreSQL, a fresh database per test from a template, the real application."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from loadstone.http.app import create_app
from loadstone.identity import service as identity
from loadstone.identity.models import Credentials, NewToken, Registration, Role
from loadstone.kernel.config import Config
from loadstone.kernel.migrate import migrate
from loadstone.kernel.platform import Platform, open_platform
from loadstone.kernel.postgres import EmbeddedPostgres
from tests.factories import PASSWORD, Person

TEMPLATE = "loadstone_template"


def test_data() -> Path:
    """The folder of the real data sets; tests that need it skip where it is absent."""
    return Path(os.environ.get("LOADSTONE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def data_sets() -> Path:
    folder = test_data()
    if not folder.is_dir():
        pytest.skip("the real data sets are not here; set LOADSTONE_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The DSN of one PostgreSQL server per test worker, migrated once into a template database."""
    given = os.environ.get("LOADSTONE_TEST_DATABASE_URL")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="ls-pg-"))
    server = EmbeddedPostgres(folder, durable=False)
    dsn = server.start()
    try:
        asyncio.run(_make_template(dsn))
        yield dsn
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


async def _make_template(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"create database {TEMPLATE}")
    finally:
        await connection.close()
    await migrate(_with_database(dsn, TEMPLATE))


def _with_database(dsn: str, name: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{name}"))


_serial = iter(range(1, 1_000_000))


@pytest_asyncio.fixture
async def database_url(postgres: str) -> AsyncIterator[str]:
    """A fresh, migrated database of this test alone."""
    name = f"test_{os.getpid()}_{next(_serial)}"
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"create database {name} template {TEMPLATE}")
        yield _with_database(postgres, name)
    finally:
        await connection.execute(f"drop database if exists {name} with (force)")
        await connection.close()


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", database_url=database_url, secret_key="k" * 32, port=8000, log_level="error")


@pytest_asyncio.fixture
async def platform(config: Config) -> AsyncIterator[Platform]:
    """An opened platform on a fresh database."""
    async with open_platform(config) as opened:
        yield opened


@pytest_asyncio.fixture
async def app(platform: Platform) -> AsyncIterator[Any]:
    """The real application with its lifespan running."""
    application = create_app(platform.config, platform=platform)
    async with lifespan(application):
        yield application


class lifespan:  # noqa: N801 - reads as a context
    """Runs an ASGI application's lifespan around a block."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._task = asyncio.create_task(self._application(scope, self._to_app.get, self._from_app.put))
        await self._to_app.put({"type": "lifespan.startup"})
        message = await self._from_app.get()
        assert message["type"] == "lifespan.startup.complete", message

    async def __aexit__(self, *_: object) -> None:
        await self._to_app.put({"type": "lifespan.shutdown"})
        await self._from_app.get()
        await self._task


MakeClient = Callable[..., httpx.AsyncClient]


@pytest_asyncio.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An anonymous HTTP client."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as opened:
        yield opened


MakePerson = Callable[..., Coroutine[Any, Any, Person]]


@pytest_asyncio.fixture
async def person(app: Any, platform: Platform) -> AsyncIterator[MakePerson]:
    """Makes members with a token and a client of their own: ``await person("ada", roles=("admin",))``."""
    clients: list[httpx.AsyncClient] = []

    async def make(name: str, *, roles: tuple[Role, ...] = (), scopes: list[str] | None = None) -> Person:
        new = Registration(name, f"{name}@example.org", PASSWORD)
        account = await identity.make_member(platform, new, roles=roles)
        opened = await identity.log_in(platform, Credentials(name, PASSWORD), agent="tests")
        wanted = scopes or [
            "profile:read",
            "mods:write",
            "releases:publish",
            "downloads",
            "moderate",
            "admin",
        ]
        token = await identity.make_token(platform, opened.actor, NewToken("tests", wanted))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        own = httpx.AsyncClient(
            transport=transport,
            base_url="http://127.0.0.1:8000",
            headers={"Authorization": f"Bearer {token.secret}"},
        )
        clients.append(own)
        return Person(account, opened, str(token.secret), own)

    yield make
    for opened in clients:
        await opened.aclose()

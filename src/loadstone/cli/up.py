"""``loadstone up``: everything on one machine, under one supervisor."""

import asyncio
import contextlib
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadstone.cli.environment import as_environment
from loadstone.cli.terminal import err, fail, out
from loadstone.kernel.config import Config, LoadedConfig, load


def up(
    *,
    seed: bool = True,
    data: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    config_file: Path | None = None,
) -> int:
    """Start the whole platform: database, web workers, job worker. Ctrl-C stops all of it.

    Parameters
    ----------
    seed
        Fill an empty platform with demo games, mods and an account for each role.
    data
        Folder for everything that is kept.
    host
        Address to listen on.
    port
        Port to listen on.
    workers
        Number of web workers.
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.kernel.postgres import DataFolderBusy, PostgresUnavailable
    from loadstone.kernel.processes import DataFolderLock, PortTaken, require_free_port
    from loadstone.kernel.supervisor import ChildFailed

    overrides = {"data": data, "host": host, "port": port, "workers": workers}
    loaded = load(file=config_file, overrides=overrides)
    try:
        loaded.config.data.mkdir(parents=True, exist_ok=True)
        with DataFolderLock(loaded.config.data):
            require_free_port(loaded.config.host, loaded.config.port)
            with _database(loaded) as (ready, services):
                return _run(ready, services, seed=seed)
    except (DataFolderBusy, PostgresUnavailable, PortTaken, ChildFailed) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"The data folder {loaded.config.data} cannot be used: {error.strerror or error}.")


@contextlib.contextmanager
def _database(loaded: LoadedConfig) -> Iterator[tuple[LoadedConfig, list[Any]]]:
    """The configuration with a database that runs, and the services that the supervisor keeps alive."""
    if loaded.config.database_url:
        yield loaded, []
        return
    from loadstone.kernel.postgres import EmbeddedPostgres

    started = time.monotonic()
    server = EmbeddedPostgres(loaded.config.data / "postgres", log=lambda line: err.print(f"[dim]{line}[/]"))
    dsn = server.start()
    err.print(f"[dim]PostgreSQL is up ({time.monotonic() - started:.1f} s)[/]")
    try:
        config = msgspec.structs.replace(loaded.config, database_url=dsn)
        yield LoadedConfig(config, {**loaded.origins, "database_url": "embedded"}), [server]
    finally:
        server.stop()


def _run(loaded: LoadedConfig, services: list[Any], *, seed: bool) -> int:
    from loadstone.kernel.migrate import migrate
    from loadstone.kernel.supervisor import ChildSpec, Supervisor

    config = loaded.config
    direct = config.database_direct_url or config.database_url
    asyncio.run(migrate(direct, progress=lambda m: err.print(f"[dim]migration {m.number:04} {m.name}[/]")))
    if seed and asyncio.run(_is_empty(direct)):
        err.print("[dim]filling the empty platform with demo content (--no-seed leaves it empty)[/]")
        _seed(config)
    environment = as_environment(loaded)
    python = (sys.executable, "-m", "loadstone")
    children = [
        ChildSpec(
            name="web",
            argv=(*python, "web"),
            env=environment,
            ready=_is_ready(config),
            stop_timeout=config.shutdown_seconds + 5,
        ),
        *(
            ChildSpec(
                name=f"worker {n}", argv=(*python, "worker"), env=environment, stop_timeout=config.shutdown_seconds + 5
            )
            for n in range(1, config.job_workers + 1)
        ),
    ]
    # The web command checks the port itself; between our check and its own lies only the start of PostgreSQL.
    supervisor = Supervisor(
        config.data, children, services=services, log=lambda line: err.print(f"[yellow]{line}[/]", soft_wrap=True)
    )
    return supervisor.run(lambda: _greet(config))


def _is_ready(config: Config) -> Callable[[], bool]:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(config.host, config.host)  # noqa: S104 - compared
    address = f"http://{host}:{config.port}/readyz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready() -> bool:
        try:
            with opener.open(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ready


async def _is_empty(dsn: str) -> bool:
    """Asked before the seed's code is loaded, because every start asks it."""
    from loadstone.kernel import db

    connection = await db.connect(dsn, name="loadstone up")
    try:
        return not await connection.fetchval("select exists (select from games) or exists (select from members)")
    finally:
        await connection.close()


def _seed(config: Config) -> None:
    from loadstone.cli.seed import seed_if_empty

    asyncio.run(seed_if_empty(config))


def _command() -> str:
    """How the reader's shell finds this program: by its name, or by its path from here."""
    if shutil.which("loadstone"):
        return "loadstone"
    program = Path(sys.executable).with_name("loadstone")
    with contextlib.suppress(ValueError):
        return str(program.relative_to(Path.cwd()))
    return str(program)


def _greet(config: Config) -> None:
    from rich.panel import Panel
    from rich.table import Table

    lines = Table.grid(padding=(0, 2))
    lines.add_row("Site", f"[link]{config.address}[/]")
    lines.add_row("API", f"{config.address}/docs   GraphQL {config.address}/graphql")
    demo = config.data / "demo.json"
    if demo.exists():
        for account in json.loads(demo.read_text("utf-8"))["accounts"]:
            lines.add_row(account["role"], f"{account['name']}   password [bold]{account['password']}[/]")
        lines.add_row("", f"[dim]also in {demo}[/]")
    out.print(Panel(lines, title="Loadstone is ready", border_style="green", expand=False))
    out.print("Try next:")
    command = _command()
    out.print(f"  {command} install starfall/ember-blades --into ./mods --server {config.address}", soft_wrap=True)
    out.print(f"  curl -s '{config.address}/api/v1/search?q=blades'", soft_wrap=True)
    out.print(f"  {command} doctor", soft_wrap=True)
    out.print("[dim]Ctrl-C stops everything.[/]")

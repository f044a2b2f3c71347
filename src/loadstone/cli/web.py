"""The web process: Granian with its workers, which die with it and are replaced when they die."""

import logging
import signal
from pathlib import Path
from typing import Any

from loadstone.kernel.config import Config, load


def application() -> Any:
    """What each Granian worker calls to make its application; reads the environment."""
    # Forked, this process has the main process's handlers, which would swallow a stop until Granian sets its own.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)

    from loadstone.http.app import create_app
    from loadstone.kernel import logs
    from loadstone.kernel.processes import die_with_parent

    die_with_parent()
    config = load().config
    logs.configure(config.log_level, config.log_format)
    return create_app(config)


def web(*, config_file: Path | None = None, host: str | None = None, port: int | None = None) -> int:
    """Serve the site and the API.

    Needs LOADSTONE_DATABASE_URL; `loadstone up` starts this and everything else.

    Parameters
    ----------
    config_file
        The configuration file; its keys are those of `loadstone config`.
    host
        Address to listen on.
    port
        Port to listen on.
    """
    from loadstone.cli.environment import require_database, to_environment
    from loadstone.cli.terminal import fail
    from loadstone.kernel.processes import PortTaken, require_free_port

    loaded = load(file=config_file, overrides={"host": host, "port": port})
    require_database(loaded.config)
    try:
        require_free_port(loaded.config.host, loaded.config.port)
    except PortTaken as error:
        return fail(str(error))
    to_environment(loaded)
    serve(loaded.config)
    return 0


def serve(config: Config) -> None:
    """Run Granian until it is told to stop; requests in flight are finished."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings

    import loadstone.http.app  # noqa: F401 - loaded once here, shared by the forked workers

    logging.getLogger("_granian").setLevel(logging.WARNING)
    server = Granian(
        "loadstone.cli.web:application",
        factory=True,
        interface=Interfaces.ASGI,
        address=config.host,
        port=config.port,
        workers=config.workers,
        loop=Loops.uvloop,
        http=HTTPModes.auto,
        websockets=False,
        backlog=2048,
        backpressure=512,
        http1_settings=HTTP1Settings(header_read_timeout=15_000, max_buffer_size=1 << 20),
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=config.shutdown_seconds,
        log_enabled=True,
        log_level=_granian_level(config),
        log_access=False,
    )
    server.serve()


def _granian_level(config: Config) -> Any:
    from granian.log import LogLevels

    return LogLevels.warning if config.log_level in {"info", "warning"} else LogLevels(config.log_level)

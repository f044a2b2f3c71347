"""The job worker: all background work of all rooms, listed in one place."""

import asyncio
import signal
from pathlib import Path

from loadstone.delivery.jobs import LOOPS as DELIVERY_LOOPS
from loadstone.delivery.jobs import TIMERS as DELIVERY_TIMERS
from loadstone.discovery.jobs import LOOPS as DISCOVERY_LOOPS
from loadstone.http.idempotency import forget as forget_idempotency_keys
from loadstone.identity.jobs import TIMERS as IDENTITY_TIMERS
from loadstone.kernel.config import Config, load
from loadstone.kernel.jobs import Job, Loop, Timer, work
from loadstone.publishing.jobs import JOBS as PUBLISHING_JOBS
from loadstone.publishing.jobs import TIMERS as PUBLISHING_TIMERS

JOBS: list[Job] = [*PUBLISHING_JOBS]
TIMERS: list[Timer] = [
    Timer("http.forget_idempotency_keys", "29 * * * *", forget_idempotency_keys),
    *IDENTITY_TIMERS,
    *PUBLISHING_TIMERS,
    *DELIVERY_TIMERS,
]
LOOPS: list[Loop] = [*DELIVERY_LOOPS, *DISCOVERY_LOOPS]


def worker(*, config_file: Path | None = None) -> int:
    """Run background jobs until told to stop; what runs then gets time to finish, or is handed back.

    Parameters
    ----------
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.cli.environment import require_database
    from loadstone.kernel import logs
    from loadstone.kernel.processes import die_with_parent

    config = load(file=config_file).config
    require_database(config)
    logs.configure(config.log_level, config.log_format)
    die_with_parent()
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config))
    return 0


async def _run(config: Config) -> None:
    from loadstone.kernel.platform import open_platform

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_platform(config) as platform:
        await work(
            platform,
            JOBS,
            TIMERS,
            LOOPS,
            stop=stop,
            concurrency=config.job_concurrency,
            drain_seconds=config.shutdown_seconds,
        )

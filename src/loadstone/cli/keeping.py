"""``loadstone backup`` and ``loadstone restore``: all of a platform in one file, verified by digests."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from loadstone.cli.environment import with_database
from loadstone.cli.terminal import err, fail, out
from loadstone.kernel.backup import BackupError
from loadstone.kernel.backup import backup as write_backup
from loadstone.kernel.backup import restore as read_backup
from loadstone.kernel.blobs import open_store
from loadstone.kernel.config import Config


def backup(file: Path, *, config_file: Path | None = None) -> int:
    """Write database, files and configuration into one file, while the platform runs.

    Parameters
    ----------
    file
        The new file; it is never overwritten.
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    try:
        with with_database(config_file) as config, _progress() as tell:
            dsn = config.database_direct_url or config.database_url
            report = asyncio.run(
                write_backup(dsn, open_store(config), file, files=_files(config, config_file), progress=tell)
            )
    except BackupError as error:
        return fail(str(error))
    out.print(f"{file}: {report.database_bytes:,} bytes of database, {report.blobs:,} blobs, each with its SHA-256.")
    return 0


def restore(file: Path, *, config_file: Path | None = None) -> int:
    """Bring a back-up into an empty platform; the whole file is verified before anything is written.

    Parameters
    ----------
    file
        What `loadstone backup` wrote.
    config_file
        The configuration file; its keys are those of `loadstone config`.
    """
    from loadstone.kernel.config import load

    (load(file=config_file).config.data / "postgres").mkdir(parents=True, exist_ok=True)
    try:
        with with_database(config_file) as config, _progress() as tell:
            dsn = config.database_direct_url or config.database_url
            report = asyncio.run(
                read_backup(file, dsn, open_store(config), files=_files(config, config_file), progress=tell)
            )
    except BackupError as error:
        return fail(str(error))
    out.print(f"Restored {report.database_bytes:,} bytes of database, {report.blobs:,} blobs. Now: loadstone up")
    return 0


def _files(config: Config, config_file: Path | None) -> dict[str, Path]:
    files = {"secret.key": config.data / "secret.key", "demo.json": config.data / "demo.json"}
    return files | ({"loadstone.toml": config_file} if config_file else {})


class _progress:  # noqa: N801 - reads as a context
    """A bar for each part, on stderr."""

    def __enter__(self) -> Callable[[str, int, int | None], None]:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._bars = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=err)
        self._bars.start()
        tasks: dict[str, object] = {}

        def tell(part: str, done: int, of: int | None) -> None:
            task = tasks.get(part)
            if task is None:
                task = tasks[part] = self._bars.add_task(part.capitalize(), total=of)
            self._bars.update(task, completed=done, total=of)  # type: ignore[arg-type]

        return tell

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

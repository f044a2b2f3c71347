"""The configuration as environment variables, and the database that a command works on."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from loadstone.kernel.config import Config, ConfigError, LoadedConfig, load


def as_environment(loaded: LoadedConfig) -> dict[str, str]:
    """The variables that give a child exactly this configuration."""
    variables = {}
    for key in loaded.config.__struct_fields__:
        if key not in loaded.origins and key != "data":
            continue
        value = getattr(loaded.config, key)
        if isinstance(value, Path):
            value = value.absolute()
        variables[f"LOADSTONE_{key.upper()}"] = ",".join(value) if isinstance(value, tuple) else str(value)
    return variables


def to_environment(loaded: LoadedConfig) -> None:
    """Hand the configuration to the workers that this process will start."""
    os.environ.update(as_environment(loaded))
    os.environ.pop("LOADSTONE_CONFIG", None)


@contextlib.contextmanager
def with_database(config_file: Path | None, overrides: Mapping[str, Any] | None = None) -> Iterator[Config]:
    """The configuration with a database to use: the one it names, or the embedded one of its data folder.

    The embedded one is used while `loadstone up` runs it, else it is started for the length of the block.
    Raises :class:`ConfigError` where there is no such folder yet.
    """
    from loadstone.kernel.postgres import reached

    config = load(file=config_file, overrides=overrides).config
    if config.database_url:
        yield config
        return
    folder = config.data / "postgres"
    if not folder.is_dir():
        raise ConfigError(
            f"there is no platform in {config.data.absolute()}: start one with `loadstone up`, name another folder "
            "with LOADSTONE_DATA, or a database with LOADSTONE_DATABASE_URL"
        )
    with reached(folder) as server:
        yield msgspec.structs.replace(config, database_url=server.dsn())


def require_database(config: Config) -> None:
    """For processes that a supervisor starts. Raises :class:`ConfigError` without a database to use."""
    if not config.database_url:
        raise ConfigError("database_url is not set; set LOADSTONE_DATABASE_URL, or use `loadstone up`")

"""The configuration as environment variables, for the processes that a command starts."""

import os

from loadstone.kernel.config import Config, ConfigError, LoadedConfig


def as_environment(loaded: LoadedConfig) -> dict[str, str]:
    """The variables that give a child exactly this configuration."""
    variables = {}
    for key in loaded.config.__struct_fields__:
        if key not in loaded.origins and key != "data":
            continue
        value = getattr(loaded.config, key)
        if key == "data":
            value = value.absolute()
        text = (
            ",".join(value)
            if isinstance(value, tuple)
            else str(value).lower()
            if value in {True, False}
            else str(value)
        )
        variables[f"LOADSTONE_{key.upper()}"] = text
    return variables


def to_environment(loaded: LoadedConfig) -> None:
    """Hand the configuration to the workers that this process will start."""
    os.environ.update(as_environment(loaded))
    os.environ.pop("LOADSTONE_CONFIG", None)


def require_database(config: Config) -> None:
    """Raises :class:`ConfigError` without a database to use."""
    if not config.database_url:
        raise ConfigError("database_url is not set; set LOADSTONE_DATABASE_URL, or use `loadstone up`")

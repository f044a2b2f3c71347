"""Typed configuration: built-in default, then one TOML file, then the environment.

Every key is a field of :class:`Config` with its meaning beside it; its variable is ``LOADSTONE_`` and
the name in capitals. An unknown or wrong key is a precise error, never a guess.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

ENVIRONMENT_PREFIX: Final = "LOADSTONE_"
_NOT_KEYS: Final = frozenset(
    {
        "LOADSTONE_CONFIG",
        "LOADSTONE_JAIL_TRACEBACK",
        "LOADSTONE_SUPERVISED",
        "LOADSTONE_TEST_DATA",
        "LOADSTONE_TEST_DATABASE_URL",
        "LOADSTONE_TOKEN",
        "LOADSTONE_URL",
    }
)
"""Variables that other parts read: the file's own place, the supervisor's mark, the tests, the client's log-in."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]


class ConfigError(Exception):
    """A key is unknown or its value cannot be used; the message says which, where and why."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that an operator can set."""

    data: Annotated[Path, Meta(description="Folder for the database, blobs, index and secrets.")] = Path("data")
    host: Annotated[str, Meta(description="Address that the web workers listen on.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port that the web workers listen on.")] = 8000
    public_url: Annotated[str, Meta(description="Address that people use; empty means http://host:port.")] = ""
    workers: Annotated[int, Meta(ge=1, le=64, description="Number of web worker processes.")] = 2
    job_workers: Annotated[int, Meta(ge=1, le=64, description="Number of job worker processes.")] = 1
    job_concurrency: Annotated[
        int, Meta(ge=2, le=256, description="Jobs that one job worker runs at the same time.")
    ] = 20
    database_url: Annotated[
        str,
        Meta(
            description="PostgreSQL ≥ 15 to use; empty starts the embedded one.",
            extra={"secret": True},
        ),
    ] = ""
    database_direct_url: Annotated[
        str,
        Meta(
            description="The same database without a transaction pooler, for LISTEN, jobs and migrations; "
            "empty means database_url.",
            extra={"secret": True},
        ),
    ] = ""
    database_pool: Annotated[int, Meta(ge=2, le=200, description="Connections that one process may open.")] = 8
    blobs_url: Annotated[
        str,
        Meta(description="Where artifacts lie: file:///folder, s3://bucket/prefix; empty means DATA/blobs."),
    ] = ""
    blobs_public_url: Annotated[
        str,
        Meta(description="Endpoint that players reach the S3 store by, when it differs from s3_endpoint."),
    ] = ""
    s3_endpoint: Annotated[str, Meta(description="S3 endpoint; empty means the provider's own.")] = ""
    s3_region: Annotated[str, Meta(description="S3 region.")] = "us-east-1"
    s3_access_key: Annotated[str, Meta(description="S3 access key.", extra={"secret": True})] = ""
    s3_secret_key: Annotated[str, Meta(description="S3 secret key.", extra={"secret": True})] = ""
    secret_key: Annotated[
        str,
        Meta(
            description="Key for links, cursors and token digests, ≥ 32 characters; "
            "empty makes one in DATA/secret.key.",
            extra={"secret": True},
        ),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least important level to log.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"], Meta(description="auto: text on a terminal, JSON elsewhere.")
    ] = "auto"
    max_body_bytes: Annotated[
        Positive, Meta(description="Largest JSON or form body, in bytes; uploads have their own limit.")
    ] = 1 << 20
    max_upload_bytes: Annotated[Positive, Meta(description="Largest upload, in bytes.")] = 10 << 30
    upload_hours: Annotated[Positive, Meta(description="Hours after which an unfinished upload expires.")] = 24
    uploads_per_member: Annotated[Positive, Meta(description="Unfinished uploads that one member may have.")] = 20
    download_link_seconds: Annotated[
        int, Meta(ge=5, le=60, description="Seconds that a download link lives; at most 60.")
    ] = 60
    session_days: Annotated[Positive, Meta(description="Days that a browser stays logged in.")] = 30
    token_days: Annotated[
        int, Meta(ge=1, le=365, description="Days that a personal token lives unless told otherwise.")
    ] = 90
    registration: Annotated[Literal["open", "closed"], Meta(description="Whether anyone may register.")] = "open"
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed."),
    ] = ()
    flags: Annotated[
        tuple[str, ...],
        Meta(description="Switches, as NAME=on or NAME=off; `loadstone doctor` lists those that are overridden."),
    ] = ()
    metrics: Annotated[bool, Meta(description="Serve Prometheus metrics at /metrics.")] = True
    shutdown_seconds: Annotated[
        Positive, Meta(description="Seconds that requests and jobs get to finish when stopping.")
    ] = 10

    def __repr__(self) -> str:
        """Without values: a configuration that ends up in a traceback tells no secret."""
        return f"Config(data={str(self.data)!r}, …)"

    @property
    def address(self) -> str:
        """The site's address without a trailing slash."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class Setting(msgspec.Struct, frozen=True):
    """One key as ``loadstone config`` prints it."""

    key: str
    value: str
    origin: str
    meaning: str


class LoadedConfig(msgspec.Struct, frozen=True):
    """A configuration and where each key came from."""

    config: Config
    origins: Mapping[str, str]

    def settings(self) -> Iterator[Setting]:
        """Each key with its printable value; secrets are masked."""
        for key, meta in _keys().items():
            value = getattr(self.config, key)
            shown = "••••••" if _is_secret(meta) and value else _printable(value)
            yield Setting(key, shown, self.origins.get(key, "default"), meta.description or "")


def load(
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> LoadedConfig:
    """Read the configuration.

    ``overrides`` are options of the command line. Raises :class:`ConfigError`.
    """
    environment = os.environ if environment is None else environment
    path = file or (Path(environment["LOADSTONE_CONFIG"]) if environment.get("LOADSTONE_CONFIG") else None)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers = [(_from_file(path), f"file {path}")] if path else []
    layers.append((_from_environment(environment), "environment"))
    layers.append(({k: v for k, v in (overrides or {}).items() if v is not None}, "command line"))
    for layer, origin in layers:
        for key, value in layer.items():
            values[key] = _checked(key, value, origin)
            origins[key] = f"environment {_variable(key)}" if origin == "environment" else origin
    config = Config(**values)
    if config.secret_key and len(config.secret_key) < 32:
        raise ConfigError(f"secret_key ({origins['secret_key']}) is shorter than 32 characters")
    return LoadedConfig(config, origins)


def _keys() -> dict[str, Meta]:
    hints = get_type_hints(Config, include_extras=True)
    return {
        name: next(m for m in get_args(hint)[1:] if isinstance(m, Meta) and m.description)
        for name, hint in hints.items()
    }


def _is_secret(meta: Meta) -> bool:
    return bool((meta.extra or {}).get("secret"))


def _printable(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _variable(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.upper()


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _NOT_KEYS:
            continue
        found[name.removeprefix(ENVIRONMENT_PREFIX).lower()] = value
    return found


def _checked(key: str, value: Any, origin: str) -> Any:
    where = f"{key} ({_variable(key) if origin == 'environment' else origin})"
    if key not in _keys():
        close = _closest(key)
        hint = f"; did you mean {close}?" if close else "; `loadstone config` lists the keys"
        raise ConfigError(f"{where} is not a key of the configuration{hint}")
    hint = get_type_hints(Config, include_extras=True)[key]
    if key in {"trusted_proxies", "flags"} and isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        return msgspec.convert(
            str(value) if key == "data" else value,
            hint,
            strict=origin.startswith("file"),
            dec_hook=_decode_path,
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None


def _decode_path(wanted: type, value: Any) -> Any:
    return wanted(value)


def _closest(key: str) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(key, _keys(), 1)), None)

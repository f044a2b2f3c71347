"""What a use case may touch: configuration, database, blobs, clock, ids and the signing key."""

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadstone.kernel.blobs import BlobStore, open_store
from loadstone.kernel.clock import Clock, SystemClock
from loadstone.kernel.config import Config
from loadstone.kernel.db import Database, Transaction
from loadstone.kernel.flags import Flags
from loadstone.kernel.ids import IdSource
from loadstone.kernel.signing import Signer

_KEY_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class Platform:
    """The ground that every capability stands on; one per process, made by :func:`open_platform`."""

    config: Config
    db: Database
    blobs: BlobStore
    clock: Clock
    ids: IdSource
    signer: Signer
    flags: Flags

    @property
    def direct_dsn(self) -> str:
        """The database without a pooler between, for LISTEN, jobs and migrations."""
        return self.config.database_direct_url or self.db.dsn

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """One use case's change (law 1)."""
        return self.db.transaction()


@contextlib.asynccontextmanager
async def open_platform(
    config: Config, *, clock: Clock | None = None, ids: IdSource | None = None
) -> AsyncIterator[Platform]:
    """Open all that a process needs; ``config.database_url`` must be set (the launcher sets it)."""
    clock = clock or SystemClock()
    database = Database(config.database_url, size=config.database_pool)
    platform = Platform(
        config,
        database,
        open_store(config),
        clock,
        ids or IdSource(clock),
        Signer(secret_key(config)),
        Flags(config.flags),
    )
    await database.open()
    try:
        yield platform
    finally:
        await database.close()


def secret_key(config: Config) -> bytes:
    """The configured key, or the one in ``DATA/secret.key``, made on first use with mode 0600."""
    if config.secret_key:
        return config.secret_key.encode()
    path = config.data / "secret.key"
    with contextlib.suppress(FileNotFoundError):
        return _read_key(path)
    config.data.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(IdSource().secret(_KEY_OCTETS).hex().encode())
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):  # another process was first: its key counts
        os.link(temporary, path)
    temporary.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < _KEY_OCTETS:
        raise ValueError(f"{path} is damaged: restore it from a back-up, or delete it to end all sessions")
    return key

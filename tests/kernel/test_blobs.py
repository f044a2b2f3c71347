"""The blob store: the same promises on a folder and on a real S3."""

import asyncio
import datetime as dt
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from loadstone.kernel.blobs import BlobMismatchError, BlobMissingError, BlobStore, content_disposition, open_store
from loadstone.kernel.config import Config, ConfigError
from tests.s3 import s3_config, s3_server

__all__ = ["s3_config", "s3_server"]

BIG = bytes(range(256)) * 4096 * 20  # 20 MiB: several parts of a multipart upload


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3_config"))
    return open_store(Config(data=tmp_path))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def pieces(content: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def broken(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise ConnectionResetError("the sender is gone")


async def read(blobs: BlobStore, digest: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.chunks(digest, start, end)])


async def stored(blobs: BlobStore) -> dict[str, int]:
    return {digest: size async for digest, size in blobs.digests()}


@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "one byte", "20 MiB"])
async def test_a_stream_comes_back_as_it_went_in(blobs: BlobStore, content: bytes) -> None:
    assert await blobs.put_stream(pieces(content)) == (sha256(content), len(content))
    assert await blobs.size(sha256(content)) == len(content)
    assert await read(blobs, sha256(content)) == content
    assert await stored(blobs) == {sha256(content): len(content)}


async def test_a_stream_with_the_promised_digest_is_stored_under_it(blobs: BlobStore) -> None:
    assert await blobs.put_stream(pieces(BIG), sha256(BIG)) == (sha256(BIG), len(BIG))
    assert await read(blobs, sha256(BIG)) == BIG


async def test_a_stream_with_another_digest_is_refused_and_nothing_is_kept(blobs: BlobStore) -> None:
    with pytest.raises(BlobMismatchError, match="expected SHA-256"):
        await blobs.put_stream(pieces(BIG), sha256(b"something else"))
    assert await stored(blobs) == {}
    assert not await blobs.exists(sha256(b"something else"))


@pytest.mark.parametrize("promised", [None, sha256(BIG)], ids=["unknown digest", "known digest"])
async def test_a_stream_that_breaks_off_leaves_nothing(blobs: BlobStore, promised: str | None) -> None:
    with pytest.raises(Exception, match="the sender is gone"):
        await blobs.put_stream(broken(BIG), promised)
    assert await stored(blobs) == {}
    assert await blobs.sweep(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)) == 0


@pytest.mark.parametrize("content", [b"", b"small", BIG], ids=["empty", "small", "20 MiB"])
async def test_a_file_is_stored_and_storing_it_again_changes_nothing(
    blobs: BlobStore, tmp_path: Path, content: bytes
) -> None:
    source = tmp_path / "upload"
    source.write_bytes(content)
    for _ in range(2):
        await blobs.put_file(source, sha256(content))
    source.unlink()
    assert await read(blobs, sha256(content)) == content
    assert await stored(blobs) == {sha256(content): len(content)}


async def test_many_writers_of_one_blob_store_it_once(blobs: BlobStore) -> None:
    await asyncio.gather(*(blobs.put_stream(pieces(b"same" * 1000), None) for _ in range(8)))
    assert await stored(blobs) == {sha256(b"same" * 1000): 4000}
    assert await read(blobs, sha256(b"same" * 1000)) == b"same" * 1000


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 9), (100, None), (0, None), (3, 3), (1999, 2000)])
async def test_a_range_is_read_alone(blobs: BlobStore, start: int, end: int | None) -> None:
    content = os.urandom(2000)
    digest, _ = await blobs.put_stream(pieces(content))
    assert await read(blobs, digest, start, end) == content[start:end]


async def test_a_missing_blob_is_said_to_be_missing(blobs: BlobStore) -> None:
    assert not await blobs.exists(sha256(b"never"))
    assert await blobs.size(sha256(b"never")) is None
    with pytest.raises(BlobMissingError):
        await read(blobs, sha256(b"never"))


async def test_a_deleted_blob_is_gone_and_deleting_again_is_no_error(blobs: BlobStore) -> None:
    digest, _ = await blobs.put_stream(pieces(b"for a while"))
    await blobs.delete(digest)
    assert not await blobs.exists(digest)
    await blobs.delete(digest)


async def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    blobs = open_store(Config(data=tmp_path))
    digest, _ = await blobs.put_stream(pieces(b"finished"))
    assert blobs.folder is not None
    (blobs.folder / "incoming" / "half").write_bytes(b"unfinish")
    now = dt.datetime.now(dt.UTC)
    assert await blobs.sweep(now - dt.timedelta(days=1)) == 0
    assert await blobs.sweep(now + dt.timedelta(hours=1)) == 1
    assert await read(blobs, digest) == b"finished"


async def test_a_damaged_local_blob_is_replaced_by_the_good_file(tmp_path: Path) -> None:
    blobs = open_store(Config(data=tmp_path))
    source = tmp_path / "upload"
    source.write_bytes(b"whole")
    path = blobs.path(sha256(b"whole"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"who")
    await blobs.put_file(source, sha256(b"whole"))
    assert path.read_bytes() == b"whole"


async def test_a_file_of_another_device_is_copied(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    source = memory / f"loadstone-test-{os.getpid()}"
    source.write_bytes(BIG)
    try:
        blobs = open_store(Config(data=tmp_path))
        await blobs.put_file(source, sha256(BIG))
        assert await read(blobs, sha256(BIG)) == BIG
    finally:
        source.unlink()


def test_a_local_store_presigns_nothing(tmp_path: Path) -> None:
    blobs = open_store(Config(data=tmp_path))
    with pytest.raises(TypeError, match="nothing to presign"):
        asyncio.run(blobs.presign(sha256(b""), seconds=60, file_name="a.zip"))


@pytest.mark.parametrize("url", ["ftp://host/x", "file://host/x", "file:relative", "s3:///no-bucket", "blobs"])
def test_an_address_that_names_no_store_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="blobs_url"):
        open_store(Config(data=tmp_path, blobs_url=url))


def test_a_folder_with_a_space_can_be_named(tmp_path: Path) -> None:
    blobs = open_store(Config(data=tmp_path, blobs_url=f"file://{tmp_path}/my%20blobs"))
    assert blobs.folder == (tmp_path / "my blobs").resolve()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.zip", "attachment; filename=\"a.zip\"; filename*=UTF-8''a.zip"),
        ('q"\\.zip', "attachment; filename=\"q__.zip\"; filename*=UTF-8''q%22%5C.zip"),
        ("schärfer 剣.zip", "attachment; filename=\"sch_rfer _.zip\"; filename*=UTF-8''sch%C3%A4rfer%20%E5%89%A3.zip"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("", "attachment; filename=\"download\"; filename*=UTF-8''"),
    ],
)
def test_a_file_name_cannot_break_out_of_its_header(name: str, header: str) -> None:
    assert content_disposition(name) == header


@pytest.mark.s3
class TestPresigned:
    """Links straight to a real S3."""

    async def test_a_link_gives_the_bytes_under_the_files_name(self, s3_config: Config) -> None:
        blobs = open_store(s3_config)
        digest, _ = await blobs.put_stream(pieces(BIG))
        url = await blobs.presign(digest, seconds=60, file_name="schärfer & 'besser'.zip")
        async with httpx.AsyncClient() as client:
            answer = await client.get(url)
            part = await client.get(url, headers={"Range": "bytes=5-9"})
        assert answer.status_code == 200, answer.text
        assert answer.content == BIG
        assert answer.headers["content-disposition"] == content_disposition("schärfer & 'besser'.zip")
        assert (part.status_code, part.content) == (206, BIG[5:10])

    async def test_a_changed_link_is_refused(self, s3_config: Config) -> None:
        blobs = open_store(s3_config)
        digest, _ = await blobs.put_stream(pieces(b"mine"))
        other, _ = await blobs.put_stream(pieces(b"yours"))
        url = await blobs.presign(digest, seconds=60, file_name="a.zip")
        changed = [
            url[:-1] + ("0" if url[-1] != "0" else "1"),
            url.replace(digest, other),
            url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
            url.replace("a.zip", "b.exe"),
            url.partition("?")[0],
        ]
        async with httpx.AsyncClient() as client:
            assert (await client.get(url)).content == b"mine"
            for address in changed:
                assert (await client.get(address)).status_code == 403, address

    async def test_a_link_dies_with_its_time(self, s3_config: Config) -> None:
        blobs = open_store(s3_config)
        digest, _ = await blobs.put_stream(pieces(b"mine"))
        before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=120)
        url = await blobs.presign(digest, seconds=60, file_name="a.zip", now=before)
        async with httpx.AsyncClient() as client:
            assert (await client.get(url)).status_code == 403

    @pytest.mark.parametrize("seconds", [0, -1, 61, 3600])
    async def test_no_link_lives_longer_than_a_minute(self, s3_config: Config, seconds: int) -> None:
        with pytest.raises(ValueError, match="1 to 60 seconds"):
            await open_store(s3_config).presign(sha256(b""), seconds=seconds, file_name="a.zip")

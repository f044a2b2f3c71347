"""Uploads whose bytes lie in a real S3 until they are a blob."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import obstore
import pytest

from loadstone.catalog import service as catalog
from loadstone.kernel.blobs import BlobMismatchError
from loadstone.kernel.config import Config
from loadstone.kernel.errors import UnavailableError
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform, open_platform
from loadstone.publishing import receiving, service, store, uploads
from loadstone.publishing.models import CutOffError, NewArtifact, NewRelease, OffsetMismatchError
from loadstone.publishing.staging_pieces import PieceStaging, PieceWriter
from tests.factories import Person, make_mod, zip_bytes
from tests.publishing.conftest import run_jobs

pytestmark = pytest.mark.s3


@pytest.fixture
async def on_s3(s3_config: Config) -> AsyncIterator[Platform]:
    """The test's platform with its blobs in S3."""
    async with open_platform(s3_config) as opened:
        yield opened


async def arriving(*chunks: bytes, cut: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if cut:
        raise CutOffError


async def objects(platform: Platform, prefix: str) -> list[str]:
    found = await obstore.list(platform.blobs.store, prefix=prefix).collect_async()
    return sorted(meta["path"] for meta in found)


async def test_pieces_of_several_requests_become_one_published_blob(ada: Person, on_s3: Platform) -> None:
    mod = await make_mod(ada)
    content = zip_bytes({"noise.bin": random.Random(7).randbytes(3 << 20)})
    started = await uploads.start(on_s3, ada.actor, len(content), {"filename": "mod.zip"})
    half = len(content) // 2
    await uploads.send(on_s3, ada.actor, started.id, offset=0, body=arriving(content[:half]))
    receiving.RUNNING.forget(decode("upload", started.id))  # another node goes on
    with pytest.raises(CutOffError):
        await uploads.send(on_s3, ada.actor, started.id, offset=half, body=arriving(content[half:-9], cut=True))
    assert (await uploads.find(on_s3, ada.actor, started.id))["received"] == len(content) - 9
    sent = await uploads.send(on_s3, ada.actor, started.id, offset=len(content) - 9, body=arriving(content[-9:]))
    assert (sent.state, sent.sha256) == ("complete", None)
    assert len(await objects(on_s3, "staging")) == 3

    new = NewRelease(version="1.0", artifacts=[NewArtifact(upload=started.id)])
    made = await service.make_release(on_s3, ada.actor, decode("mod", mod["id"]), new)
    await run_jobs(on_s3)
    _, release = await catalog.see_release(on_s3, ada.actor, made.release.id)
    assert release.state == "published"
    digest = hashlib.sha256(content).hexdigest()
    assert release.artifacts[0].sha256 == digest
    assert b"".join([chunk async for chunk in on_s3.blobs.chunks(digest)]) == content
    assert await objects(on_s3, "staging") == []
    assert await objects(on_s3, "incoming") == []
    assert not list((on_s3.config.data / "incoming").iterdir())


async def test_a_digest_that_was_streamed_is_checked_when_the_blob_is_written(ada: Person, on_s3: Platform) -> None:
    content = b"streamed whole by one process"
    started = await uploads.start(on_s3, ada.actor, len(content), {})
    sent = await uploads.send(on_s3, ada.actor, started.id, offset=0, body=arriving(content))
    assert sent.sha256 == hashlib.sha256(content).hexdigest()
    staging, number = PieceStaging(on_s3), decode("upload", started.id)
    pieces = await store.pieces(on_s3.db, number)
    other = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(BlobMismatchError):
        await staging.keep(number, pieces, other)
    assert not await on_s3.blobs.exists(other)
    assert await staging.keep(number, pieces, sent.sha256) == sent.sha256
    assert await on_s3.blobs.size(sent.sha256) == len(content)


async def test_of_two_nodes_that_write_at_once_one_wins(ada: Person, on_s3: Platform) -> None:
    started = await uploads.start(on_s3, ada.actor, 10, {})
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        entered.set()
        yield b"slow "
        await go_on.wait()

    loser = asyncio.create_task(uploads.send(on_s3, ada.actor, started.id, offset=0, body=slow()))
    await entered.wait()
    await uploads.send(on_s3, ada.actor, started.id, offset=0, body=arriving(b"the winner"))
    go_on.set()
    with pytest.raises(OffsetMismatchError):
        await loser
    staging, number = PieceStaging(on_s3), decode("upload", started.id)
    pieces = await store.pieces(on_s3.db, number)
    assert b"".join([chunk async for chunk in staging.read(number, pieces)]) == b"the winner"
    await uploads.end(on_s3, ada.actor, started.id)
    assert await objects(on_s3, "staging") == []


async def test_the_timer_deletes_pieces_that_nothing_needs(ada: Person, on_s3: Platform) -> None:
    kept = await uploads.start(on_s3, ada.actor, 10, {})
    await uploads.send(on_s3, ada.actor, kept.id, offset=0, body=arriving(b"12345"))
    abandoned = await uploads.start(on_s3, ada.actor, 10, {})
    await uploads.send(on_s3, ada.actor, abandoned.id, offset=0, body=arriving(b"12345"))
    await obstore.put_async(on_s3.blobs.store, f"staging/{on_s3.ids.new():016x}/0-0", b"of an upload nobody knows")
    await on_s3.db.fetch("update uploads set expires_at = created_at where id = $1", decode("upload", abandoned.id))
    await uploads.expire(on_s3)
    [left] = await objects(on_s3, "staging")
    assert f"{decode('upload', kept.id):016x}" in left


async def test_a_store_that_cannot_be_reached_ends_the_request_and_hangs_nothing(on_s3: Platform) -> None:
    nowhere = obstore.store.S3Store(
        "nowhere", endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key="b", region="us-east-1",
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip
    writer = PieceWriter(nowhere, on_s3.ids.new())
    await writer.start(0)
    with pytest.raises(UnavailableError):
        async with asyncio.timeout(30):
            for _ in range(100):
                await writer.write([bytes(1 << 20)])
            await writer.mark()
    await writer.abandon()

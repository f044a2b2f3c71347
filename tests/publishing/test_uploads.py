"""Uploads over HTTP: the protocol kept, and every bad input refused precisely."""

import asyncio
import base64
import hashlib
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from loadstone.publishing import receiving, uploads
from loadstone.publishing.models import CutOffError, OffsetMismatchError, StorageFullError
from loadstone.publishing.staging import LocalStaging
from tests.conftest import MakePerson
from tests.factories import Person
from tests.publishing.conftest import BYTES, TUS, send, start_upload
from tests.publishing.conftest import upload as complete_upload


def number(address: str) -> int:
    return decode("upload", address.rsplit("/", 1)[-1])


def checksum(algorithm: str, content: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


async def offset(ada: Person, address: str) -> int:
    answer = await ada.http.head(address, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


async def expire_now(platform: Platform, address: str) -> None:
    await platform.db.fetch("update uploads set expires_at = created_at where id = $1", number(address))


async def test_options_tells_what_of_tus_is_spoken(ada: Person, platform: Platform) -> None:
    for address in ("/api/v1/uploads", "/api/v1/uploads/upl_0000000000000"):
        answer = await ada.http.request("OPTIONS", address)
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == "1.0.0"
        assert answer.headers["tus-max-size"] == str(platform.config.max_upload_bytes)
        assert set(answer.headers["tus-extension"].split(",")) == {
            "creation", "creation-with-upload", "checksum", "expiration", "termination",
        }  # fmt: skip
        assert set(answer.headers["tus-checksum-algorithm"].split(",")) == {"sha1", "sha256", "md5"}


async def test_bytes_sent_in_pieces_are_hashed_while_they_stream(ada: Person) -> None:
    address = await start_upload(ada, 11)
    first = await send(ada, address, 0, b"hello ")
    assert (first.status_code, first.headers["upload-offset"]) == (204, "6")
    assert first.headers["tus-resumable"] == "1.0.0"
    assert "upload-expires" in first.headers
    told = await ada.http.head(address, headers=TUS)
    assert (told.headers["upload-offset"], told.headers["upload-length"]) == ("6", "11")
    assert told.headers["cache-control"] == "no-store"
    assert told.headers["upload-metadata"] == f"filename {base64.b64encode(b'mod.zip').decode()}"
    assert (await send(ada, address, 6, b"world")).headers["upload-offset"] == "11"
    found = (await ada.http.get(address)).json()
    assert found["state"] == "complete"
    assert found["sha256"] == hashlib.sha256(b"hello world").hexdigest()
    assert found["file_name"] == "mod.zip"


async def test_the_first_bytes_may_come_with_the_creation(ada: Person) -> None:
    headers = BYTES | {"Upload-Length": "11"}
    answer = await ada.http.post("/api/v1/uploads", headers=headers, content=b"hello ")
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "6")
    assert await offset(ada, answer.headers["location"]) == 6


async def test_a_wrong_checksum_with_the_creation_tells_where_to_go_on(ada: Person) -> None:
    headers = BYTES | {"Upload-Length": "11", "Upload-Checksum": checksum("sha1", b"other")}
    answer = await ada.http.post("/api/v1/uploads", headers=headers, content=b"hello ")
    assert answer.status_code == 460
    assert await offset(ada, answer.headers["location"]) == 0


async def test_bytes_with_a_wrong_checksum_are_not_kept(ada: Person) -> None:
    for algorithm in ("sha1", "sha256", "md5"):
        address = await start_upload(ada, 11)
        await send(ada, address, 0, b"hello ")
        wrong = await send(ada, address, 6, b"w0rld", **{"Upload-Checksum": checksum(algorithm, b"world")})
        assert (wrong.status_code, wrong.json()["code"]) == (460, "checksum-mismatch")
        assert await offset(ada, address) == 6
        right = await send(ada, address, 6, b"world", **{"Upload-Checksum": checksum(algorithm, b"world")})
        assert right.status_code == 204
        assert (await ada.http.get(address)).json()["sha256"] == hashlib.sha256(b"hello world").hexdigest()


UNSTARTABLE = [
    ({}, 400, "invalid-input"),
    ({"Upload-Length": "-1"}, 400, "invalid-input"),
    ({"Upload-Length": "1e3"}, 400, "invalid-input"),
    ({"Upload-Length": "٣"}, 400, "invalid-input"),
    ({"Upload-Length": "9" * 30}, 400, "invalid-input"),
    ({"Upload-Length": "0"}, 400, "upload-empty"),
    ({"Upload-Length": str((10 << 30) + 1)}, 413, "upload-too-large"),
    ({"Upload-Defer-Length": "1"}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Upload-Metadata": "filename ###"}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Upload-Metadata": "filename /w=="}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Upload-Metadata": "a AA==,a AA=="}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Upload-Metadata": ","}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Upload-Metadata": "a " + "A" * 5000}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Upload-Metadata": "a AA=="}, 400, "invalid-input"),  # a NUL
    ({"Upload-Length": "5", "Upload-Checksum": "crc32 AAAA"}, 400, "invalid-input"),
    ({"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412, "tus-version"),
]


async def test_an_upload_that_cannot_be_is_not_started(ada: Person) -> None:
    for headers, status, code in UNSTARTABLE:
        raw = {k.encode(): v.encode() for k, v in (TUS | headers).items()}
        answer = await ada.http.post("/api/v1/uploads", headers=raw)
        assert (answer.status_code, answer.json()["code"]) == (status, code), headers
        assert answer.headers["tus-resumable"] == "1.0.0"
    assert (await ada.http.get("/api/v1/uploads")).json()["items"] == []


async def test_another_version_of_tus_is_refused_everywhere(ada: Person) -> None:
    address = await start_upload(ada, 5)
    for method in ("HEAD", "PATCH", "DELETE"):
        answer = await ada.http.request(method, address, headers={"Tus-Resumable": "2.0.0"})
        assert answer.status_code == 412
        assert answer.headers["tus-version"] == "1.0.0"
    assert (await ada.http.request("PATCH", address)).status_code == 412


UNREADABLE = [
    ({"Upload-Offset": ""}, 400),
    ({"Upload-Offset": "x"}, 400),
    ({"Upload-Offset": "-1"}, 400),
    ({"Content-Type": "application/zip"}, 415),
    ({"Upload-Checksum": "sha1"}, 400),
    ({"Upload-Checksum": "sha1 AAAA"}, 400),
    ({"Upload-Checksum": "crc32 AAAA"}, 400),
]


async def test_a_request_that_cannot_be_read_changes_nothing(ada: Person) -> None:
    address = await start_upload(ada, 5)
    for headers, status in UNREADABLE:
        answer = await send(ada, address, 0, b"12345", **headers)
        assert answer.status_code == status, headers
        assert await offset(ada, address) == 0


async def test_a_wrong_offset_is_a_conflict_that_tells_the_right_one(ada: Person) -> None:
    address = await start_upload(ada, 11)
    await send(ada, address, 0, b"hello ")
    for wrong in (0, 5, 7, 11):
        answer = await send(ada, address, wrong, b"w")
        assert (answer.status_code, answer.json()["code"]) == (409, "upload-offset")
        assert answer.headers["upload-offset"] == "6"
    assert await offset(ada, address) == 6


async def test_more_bytes_than_were_announced_are_refused(ada: Person) -> None:
    address = await start_upload(ada, 5)
    announced = await send(ada, address, 0, b"123456")
    assert (announced.status_code, announced.json()["code"]) == (413, "upload-too-large")

    async def chunked() -> AsyncIterator[bytes]:
        yield b"123"
        yield b"456"

    silent = await send(ada, address, 0, chunked())
    assert (silent.status_code, silent.json()["code"]) == (413, "upload-too-large")
    assert await offset(ada, address) == 0
    assert (await send(ada, address, 0, b"12345")).status_code == 204


async def test_a_complete_upload_takes_no_more(ada: Person) -> None:
    address = await start_upload(ada, 5)
    await send(ada, address, 0, b"12345")
    answer = await send(ada, address, 5, b"")
    assert (answer.status_code, answer.json()["code"]) == (409, "upload-complete")


async def test_an_expired_upload_is_gone_and_the_timer_deletes_its_bytes(ada: Person, platform: Platform) -> None:
    address, kept = await start_upload(ada, 5), await start_upload(ada, 5)
    await send(ada, address, 0, b"123")
    await send(ada, kept, 0, b"123")
    await expire_now(platform, address)
    assert (await ada.http.head(address, headers=TUS)).status_code == 410
    assert (await send(ada, address, 3, b"45")).json()["code"] == "upload-gone"
    staging = LocalStaging(platform)
    assert staging.path(number(address)).exists()
    await uploads.expire(platform)
    assert not staging.path(number(address)).exists()
    assert staging.path(number(kept)).exists()
    assert (await ada.http.get(address)).json()["state"] == "expired"
    assert (await send(ada, kept, 3, b"45")).status_code == 204


async def test_a_long_expired_upload_is_forgotten(ada: Person, platform: Platform) -> None:
    address = await start_upload(ada, 5)
    await platform.db.fetch("update uploads set expires_at = now() - interval '8 days' where id = $1", number(address))
    await uploads.expire(platform)
    assert (await ada.http.get(address)).status_code == 404


async def test_the_timer_deletes_bytes_that_a_crash_left_behind(ada: Person, platform: Platform) -> None:
    staging = LocalStaging(platform)
    address = await start_upload(ada, 5)
    await send(ada, address, 0, b"123")
    orphan = staging.path(platform.ids.new())
    orphan.write_bytes(b"of an upload that nobody knows")
    await uploads.expire(platform)
    assert not orphan.exists()
    assert staging.path(number(address)).exists()


async def test_an_ended_upload_is_gone_with_its_bytes(ada: Person, platform: Platform) -> None:
    address = await start_upload(ada, 5)
    await send(ada, address, 0, b"123")
    ended = await ada.http.delete(address, headers=TUS)
    assert (ended.status_code, ended.headers["tus-resumable"]) == (204, "1.0.0")
    assert (await ada.http.head(address, headers=TUS)).status_code == 410
    assert (await ada.http.delete(address, headers=TUS)).status_code == 410
    assert list((platform.config.data / "uploads").iterdir()) == []


async def test_another_method_may_be_named_in_a_header(ada: Person) -> None:
    address = await start_upload(ada, 5)
    headers = BYTES | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert (await ada.http.post(address, content=b"12345", headers=headers)).status_code == 204
    gone = await ada.http.post(address, headers=TUS | {"X-HTTP-Method-Override": "DELETE"})
    assert gone.status_code == 204
    assert (await ada.http.post(address, headers=TUS)).status_code == 400


async def test_an_upload_is_its_owners_alone(ada: Person, person: MakePerson) -> None:
    bob = await person("bob")
    address = await start_upload(ada, 5)
    assert (await bob.http.head(address, headers=TUS)).status_code == 404
    assert (await bob.http.get(address)).status_code == 404
    assert (await send(bob, address, 0, b"12345")).status_code == 404
    assert (await bob.http.delete(address, headers=TUS)).status_code == 404
    assert (await bob.http.get("/api/v1/uploads")).json()["items"] == []
    assert [u["received"] for u in (await ada.http.get("/api/v1/uploads")).json()["items"]] == [0]


async def test_a_token_without_the_scope_may_not_upload(person: MakePerson) -> None:
    eve = await person("eve", scopes=["profile:read"])
    answer = await eve.http.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "5"})
    assert answer.status_code == 403


async def test_unfinished_uploads_are_bounded_also_when_started_at_once(ada: Person, platform: Platform) -> None:
    most = platform.config.uploads_per_member
    answers = await asyncio.gather(
        *(ada.http.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "5"}) for _ in range(most + 3))
    )
    assert sorted(a.status_code for a in answers) == [201] * most + [409] * 3
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"too-many-uploads"}
    first = next(a.headers["location"] for a in answers if a.status_code == 201)
    await ada.http.delete(first, headers=TUS)
    await start_upload(ada, 5)


async def test_my_uploads_are_listed_newest_first_by_pages(ada: Person) -> None:
    made = [await complete_upload(ada, b"12345", f"{n}.zip") for n in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        found = (await ada.http.get("/api/v1/uploads", params=query)).json()
        seen += [u["id"] for u in found["items"]]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_of_two_writers_at_once_one_wins(ada: Person, platform: Platform) -> None:
    address = await start_upload(ada, 2 * receiving.BATCH_BYTES)
    name = address.rsplit("/", 1)[-1]
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        entered.set()
        yield b"a" * receiving.BATCH_BYTES
        await go_on.wait()
        yield b"b" * receiving.BATCH_BYTES

    winner = asyncio.create_task(uploads.send(platform, ada.actor, name, offset=0, body=slow()))
    await entered.wait()
    loser = await send(ada, address, 0, b"z" * 10)
    assert (loser.status_code, loser.json()["code"]) == (423, "upload-busy")
    go_on.set()
    assert (await winner).state == "complete"
    expected = b"a" * receiving.BATCH_BYTES + b"b" * receiving.BATCH_BYTES
    assert (await ada.http.get(address)).json()["sha256"] == hashlib.sha256(expected).hexdigest()


async def test_an_upload_ended_while_it_is_sent_to_stays_ended(ada: Person, platform: Platform) -> None:
    address = await start_upload(ada, 10)
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        entered.set()
        yield b"12345"
        await go_on.wait()
        yield b"67890"

    name = address.rsplit("/", 1)[-1]
    sending = asyncio.create_task(uploads.send(platform, ada.actor, name, offset=0, body=slow()))
    await entered.wait()
    assert (await ada.http.delete(address, headers=TUS)).status_code == 204
    go_on.set()
    with pytest.raises(OffsetMismatchError):
        await sending
    assert (await ada.http.get(address)).json()["state"] == "expired"


async def test_bytes_behind_the_acknowledged_offset_are_cut_away(ada: Person, platform: Platform) -> None:
    """After a crash the file may be longer than what was acknowledged."""
    address = await start_upload(ada, 11)
    await send(ada, address, 0, b"hello ")
    path = LocalStaging(platform).path(number(address))
    path.write_bytes(path.read_bytes() + b"never acknowledged")
    await send(ada, address, 6, b"world")
    assert path.read_bytes() == b"hello world"
    assert (await ada.http.get(address)).json()["sha256"] == hashlib.sha256(b"hello world").hexdigest()


async def test_a_long_request_is_acknowledged_on_the_way(
    ada: Person, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "CHECKPOINT_BYTES", 2 * receiving.BATCH_BYTES)
    address = await start_upload(ada, 8 * receiving.BATCH_BYTES)
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield bytes(receiving.BATCH_BYTES)
        await go_on.wait()
        raise CutOffError

    name = address.rsplit("/", 1)[-1]
    sending = asyncio.create_task(uploads.send(platform, ada.actor, name, offset=0, body=body()))
    for _ in range(500):
        if await offset(ada, address):
            break
        await asyncio.sleep(0.01)
    on_the_way = await offset(ada, address)
    assert 2 * receiving.BATCH_BYTES <= on_the_way < 6 * receiving.BATCH_BYTES
    go_on.set()
    with pytest.raises(CutOffError):
        await sending
    assert await offset(ada, address) == 6 * receiving.BATCH_BYTES


async def test_without_room_nothing_is_started_or_lost(
    ada: Person, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await start_upload(ada, 11)
    await send(ada, address, 0, b"hello ")

    def full(_descriptor: int, _chunks: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("loadstone.publishing.staging._write_all", full)
        answer = await send(ada, address, 6, b"world")
        assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")
    assert await offset(ada, address) == 6
    assert (await send(ada, address, 6, b"world")).status_code == 204
    with pytest.raises(StorageFullError):
        LocalStaging(platform).check_room(1 << 60)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 120), st.lists(st.integers(0, 120), max_size=3), st.sampled_from(["whole", "cut", "move"])
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(min_size=1, max_size=300),
    steps=STEPS,
    batch=st.sampled_from([1, 7, 64, 1 << 20]),
    checkpoint=st.sampled_from([1, 50, 1 << 20]),
)
async def test_any_split_into_requests_with_interruptions_gives_the_same_digest(
    ada: Person,
    platform: Platform,
    content: bytes,
    steps: list[tuple[int, list[int], str]],
    batch: int,
    checkpoint: int,
) -> None:
    """Each step is a request: how many bytes, where they are cut, whether it ends whole, is cut off, or the next
    one reaches another process.
    """
    started = await uploads.start(platform, ada.actor, len(content), {})
    at, forgot = 0, False
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(receiving, "BATCH_BYTES", batch)
        patched.setattr(receiving, "CHECKPOINT_BYTES", checkpoint)
        for size, cuts, ending in [*steps, (len(content), [], "whole")]:
            stop = min(at + size, len(content))
            bounds = [at, *sorted(min(at + cut, stop) for cut in cuts), stop]
            body = arriving([content[a:b] for a, b in itertools.pairwise(bounds)], cut=ending == "cut")
            if at == len(content):
                break
            try:
                at = (await uploads.send(platform, ada.actor, started.id, offset=at, body=body)).received
                assert ending != "cut"
            except CutOffError:
                at = (await uploads.find(platform, ada.actor, started.id))["received"]
            assert at == stop
            if ending == "move" and 0 < at < len(content):
                receiving.RUNNING.forget(decode("upload", started.id))
                forgot = True
    row = await uploads.see(platform, ada.actor, started.id)
    assert LocalStaging(platform).path(row["id"]).read_bytes() == content
    assert row["state"] == "complete"
    assert row["sha256"] == (None if forgot else hashlib.sha256(content).digest())
    await uploads.end(platform, ada.actor, started.id)


async def arriving(chunks: list[bytes], *, cut: bool) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if cut:
        raise CutOffError

"""A release's way: refused with the reason, resumed after any crash, published exactly once."""

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import sys
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from murmurhash2 import murmurhash2

from loadstone.archives import inspect
from loadstone.kernel.db import Database, Transaction
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform
from loadstone.publishing import receiving, uploads
from loadstone.publishing.jobs import JOBS
from loadstone.publishing.pipeline import DamagedBlobError, GateClosedError
from tests.factories import Person, make_mod, zip_bytes
from tests.publishing.conftest import publish, run_jobs, upload


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


async def events(platform: Platform, release: str) -> list[str]:
    rows = await platform.db.fetch(
        "select kind from events where subject = $1 order by era, xid, id", decode("release", release)
    )
    return [row["kind"] for row in rows]


async def read(ada: Person, release: str) -> dict[str, Any]:
    return dict((await ada.http.get(f"/api/v1/releases/{release}")).json())


async def stages(ada: Person, release: str) -> dict[str, dict[str, Any]]:
    return {s["stage"]: s for s in (await ada.http.get(f"/api/v1/releases/{release}/stages")).json()}


async def test_an_upload_becomes_a_published_release(
    ada: Person, client: httpx.AsyncClient, platform: Platform
) -> None:
    mod = await make_mod(ada)
    content = zip_bytes({"swords/sharp.txt": "very sharp", "readme.txt": "read me"})
    answer = await publish(ada, mod, "1.0-beta2", await upload(ada, content), changelog="Sharper.")
    assert answer.status_code == 202, answer.text
    made = answer.json()["release"]
    assert made["state"] == "processing"
    assert [(s["stage"], s["state"]) for s in answer.json()["stages"]] == [
        ("store", "waiting"), ("digests", "waiting"), ("inspect", "waiting"), ("publish", "waiting"),
    ]  # fmt: skip
    assert (await client.get(f"/api/v1/releases/{made['id']}")).status_code == 404
    before = (await client.get(f"/api/v1/mods/{mod['id']}")).json()["updated_at"]

    ran = await run_jobs(platform)
    assert ran == ["publishing.store", "publishing.digests", "publishing.inspect", "publishing.publish"]
    release = (await client.get(f"/api/v1/releases/{made['id']}")).json()
    assert (release["state"], release["channel"], release["changelog"]) == ("published", "beta", "Sharper.")
    [file] = release["artifacts"]
    assert (file["file_name"], file["size"]) == ("mod.zip", len(content))
    for name in ("sha256", "sha1", "sha512", "md5"):
        assert file[name] == hashlib.new(name, content).hexdigest()
    fingerprint = await platform.db.fetchval("select murmur2 from artifacts")
    assert fingerprint == murmurhash2(content.translate(None, b"\t\n\r "), 1)
    entries = (await client.get(f"/api/v1/releases/{made['id']}/entries")).json()["items"]
    assert [e["path"] for e in entries] == ["readme.txt", "swords/sharp.txt"]
    assert entries[0]["sha256"] == hashlib.sha256(b"read me").hexdigest()
    assert {s["state"] for s in (await stages(ada, made["id"])).values()} == {"done"}
    assert await events(platform, made["id"]) == ["release.made", "release.published"]
    assert (await client.get(f"/api/v1/mods/{mod['id']}")).json()["updated_at"] > before
    assert list((platform.config.data / "uploads").iterdir()) == []


async def test_what_the_gate_refuses_is_shown_with_the_reason_and_frees_the_version(
    ada: Person, client: httpx.AsyncClient, platform: Platform
) -> None:
    mod = await make_mod(ada)
    cases = {
        "not a zip": b"MZ this is no archive at all",
        "a zip bomb": zipped("zeros.bin", bytes(100 << 20)),
        "a path that leaves the folder": zipped("../../evil.txt", b"evil"),
        "an absolute path": zipped("/etc/cron.d/evil", b"evil"),
        "a damaged zip": zip_bytes({"a.txt": "a" * 1000})[:-30],
    }
    for what, content in cases.items():
        made = (await publish(ada, mod, "1.0", await upload(ada, content))).json()["release"]
        await run_jobs(platform)
        release = await read(ada, made["id"])
        assert release["state"] == "refused", what
        assert release["state_reason"].startswith("mod.zip: "), what
        assert len(release["state_reason"]) > 20, what
        way = await stages(ada, made["id"])
        assert way["inspect"]["state"] == "refused"
        assert way["inspect"]["detail"] == release["state_reason"]
        assert way["publish"]["state"] == "waiting"
        assert await events(platform, made["id"]) == ["release.made", "release.refused"]
        assert (await client.get(f"/api/v1/releases/{made['id']}")).status_code == 404
    made = (await publish(ada, mod, "1.0", await upload(ada, zip_bytes({"good.txt": "good"})))).json()["release"]
    await run_jobs(platform)
    assert (await read(ada, made["id"]))["state"] == "published"


async def test_equal_bytes_are_one_artifact_and_inspected_once(
    ada: Person, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []

    async def counting(*arguments: Any, **options: Any) -> Any:
        looked_at.append(options["name"])
        return await inspect(*arguments, **options)

    monkeypatch.setattr("loadstone.publishing.pipeline.inspect", counting)
    mod = await make_mod(ada)
    good, bad = zip_bytes({"same.txt": "same"}), zipped("../up.txt", b"up")
    for version, content, state in (
        ("1", good, "published"), ("2", good, "published"), ("3", bad, "refused"), ("3", bad, "refused"),
    ):  # fmt: skip
        made = (await publish(ada, mod, version, await upload(ada, content))).json()["release"]
        await run_jobs(platform)
        assert (await read(ada, made["id"]))["state"] == state
    assert len(looked_at) == 2
    assert await platform.db.fetchval("select count(*) from artifacts") == 2


async def test_equal_bytes_published_at_once_are_one_artifact(ada: Person, platform: Platform) -> None:
    content = zip_bytes({"same.txt": "same at once"})
    made = []
    for n in range(4):
        mod = await make_mod(ada, name=f"Mod {n}")
        made.append((await publish(ada, mod, "1.0", await upload(ada, content))).json()["release"]["id"])
    for job in JOBS:
        await asyncio.gather(*(job.run(platform, {"release": decode("release", name)}) for name in made))
    assert [(await read(ada, name))["state"] for name in made] == ["published"] * 4
    assert await platform.db.fetchval("select count(*) from artifacts") == 1
    assert await platform.db.fetchval("select count(distinct artifact_id) from release_artifacts") == 1


async def test_an_upload_that_no_process_saw_whole_is_hashed_once_by_the_pipeline(
    ada: Person, platform: Platform
) -> None:
    mod = await make_mod(ada)
    content = zip_bytes({"a.txt": "moved between processes"})
    started = await uploads.start(platform, ada.actor, len(content), {"filename": "mod.zip"})

    async def body(part: bytes) -> AsyncIterator[bytes]:
        yield part

    await uploads.send(platform, ada.actor, started.id, offset=0, body=body(content[:50]))
    receiving.RUNNING.forget(decode("upload", started.id))
    sent = await uploads.send(platform, ada.actor, started.id, offset=50, body=body(content[50:]))
    assert (sent.state, sent.sha256) == ("complete", None)
    made = (await publish(ada, mod, "1.0", started.id)).json()["release"]
    await run_jobs(platform)
    [file] = (await read(ada, made["id"]))["artifacts"]
    assert file["sha256"] == hashlib.sha256(content).hexdigest()


async def test_releases_are_placed_in_the_order_of_their_publication(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    first = (await publish(ada, mod, "1.0", await upload(ada, zip_bytes({"a": "1"})))).json()["release"]["id"]
    second = (await publish(ada, mod, "2.0", await upload(ada, zip_bytes({"a": "2"})))).json()["release"]["id"]
    for name in (second, first):  # the first one took longer
        for job in JOBS:
            await job.run(platform, {"release": decode("release", name)})
    assert (await read(ada, second))["place"] < (await read(ada, first))["place"]


async def test_without_a_jail_nothing_is_published_and_the_operator_is_asked(
    ada: Person, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    mod = await make_mod(ada)
    made = (await publish(ada, mod, "1.0", await upload(ada, zip_bytes({"a": "fail closed"})))).json()["release"]
    job = next(job for job in JOBS if job.name == "publishing.inspect")
    payload = {"release": decode("release", made["id"])}
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        with pytest.raises(GateClosedError):
            await run_jobs(platform)
    assert job.on_parked is not None
    await job.on_parked(platform, payload)
    assert (await read(ada, made["id"]))["state"] == "processing"
    way = await stages(ada, made["id"])
    assert way["inspect"]["state"] == "parked"
    assert "waits for the operator" in way["inspect"]["detail"]
    await run_jobs(platform)  # the operator has mended it and retries
    assert (await read(ada, made["id"]))["state"] == "published"
    assert (await stages(ada, made["id"]))["inspect"]["detail"] == ""


async def test_damaged_bytes_are_never_published(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    content = zip_bytes({"a": "soon damaged"})
    made = (await publish(ada, mod, "1.0", await upload(ada, content))).json()["release"]
    await JOBS[0].run(platform, {"release": decode("release", made["id"])})
    blob = platform.blobs.path(hashlib.sha256(content).hexdigest())
    blob.write_bytes(content[:-1] + b"!")
    with pytest.raises(DamagedBlobError):
        await run_jobs(platform)
    assert (await read(ada, made["id"]))["state"] == "processing"


async def test_a_quarantined_file_is_not_published_again(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    content = zip_bytes({"a": "found out later"})
    await publish(ada, mod, "1.0", await upload(ada, content))
    await run_jobs(platform)
    await platform.db.fetch("update artifacts set verdict = 'quarantined'")
    made = (await publish(ada, mod, "1.1", await upload(ada, content))).json()["release"]
    await run_jobs(platform)
    release = await read(ada, made["id"])
    assert (release["state"], release["state_reason"]) == (
        "refused", "mod.zip is quarantined and cannot be published.",
    )  # fmt: skip


async def test_a_release_quarantined_on_its_way_goes_no_further(ada: Person, platform: Platform) -> None:
    mod = await make_mod(ada)
    made = (await publish(ada, mod, "1.0", await upload(ada, zip_bytes({"a": "stopped"})))).json()["release"]
    await JOBS[0].run(platform, {"release": decode("release", made["id"])})
    await platform.db.fetch("update releases set state = 'quarantined'")
    await run_jobs(platform)
    assert (await read(ada, made["id"]))["state"] == "quarantined"
    assert "release.published" not in await events(platform, made["id"])


class Killed(BaseException):
    """The process ends here."""


class MortalDatabase(Database):
    """Dies at the n-th transaction: just before its commit, or just after."""

    def __init__(self, living: Database, at: int, *, after: bool) -> None:
        super().__init__(living.dsn)
        self._pool = living._pool
        self._left = at
        self._after = after

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        self._left -= 1
        if self._left or self._after:
            async with super().transaction() as tx:
                yield tx
            if not self._left:
                raise Killed
            return
        async with super().transaction() as tx:
            yield tx
            raise Killed


async def test_a_death_between_any_two_steps_ends_in_exactly_one_published_release(
    ada: Person, platform: Platform
) -> None:
    mod = await make_mod(ada)
    deaths = 0
    for at in range(1, 100):
        died = False
        for after in (False, True):
            version = f"1.{at}.{int(after)}"
            content = zip_bytes({f"{version}.txt": version, "b.txt": "b"})
            made = (await publish(ada, mod, version, await upload(ada, content))).json()["release"]["id"]
            mortal = dataclasses.replace(platform, db=MortalDatabase(platform.db, at, after=after))
            try:
                await run_jobs(mortal)
            except Killed:
                died = True
                deaths += 1
            await run_jobs(platform)
            assert (await read(ada, made))["state"] == "published", (at, after)
            assert await events(platform, made) == ["release.made", "release.published"], (at, after)
            assert {s["state"] for s in (await stages(ada, made)).values()} == {"done"}, (at, after)
            [file] = (await read(ada, made))["artifacts"]
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            entries = (await ada.http.get(f"/api/v1/releases/{made}/entries")).json()["items"]
            assert [e["path"] for e in entries] == [f"{version}.txt", "b.txt"]
        if not died:
            break
    assert deaths > 20  # each stage begins, works and ends
    await uploads.expire(platform)
    assert list((platform.config.data / "uploads").iterdir()) == []

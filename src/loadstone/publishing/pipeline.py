"""A release's way: store → digests → inspect → publish.

Laws: each stage may run again at any point, and its end, its effect and the next stage's job are one
transaction; so a killed worker costs time and nothing else. No byte is published without a clean verdict.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from loadstone.archives import Entry, Inspection, Profile, inspect, jail_layers, profile_for
from loadstone.catalog import authoring, releasing
from loadstone.catalog.models import NewClaim
from loadstone.catalog.releasing import OnItsWay
from loadstone.kernel.db import Row, Transaction
from loadstone.kernel.metrics import FAILED_CLOSED
from loadstone.kernel.platform import Platform
from loadstone.publishing import store
from loadstone.publishing.digesting import digests_of
from loadstone.publishing.models import STAGES, StageName
from loadstone.publishing.service import job_of
from loadstone.publishing.staging import staging_of

PARKED: Final = (
    "This step failed several times and waits for the operator, who has been told. Nothing is published yet."
)
_ENTRIES_AT_ONCE: Final = 5000
_NO_ANSWER: Final = frozenset({"jail-died", "jail-nonsense", "cancelled"})
"""Refusals that may be this machine's fault as well as the archive's."""


class DamagedBlobError(Exception):
    """A blob's bytes do not have the digest that it is stored under."""


class GateClosedError(Exception):
    """The inspection cannot run on this machine; ``loadstone doctor`` says why."""


class _Refused(Exception):  # noqa: N818 - an outcome, not an error
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Finish = Callable[[Transaction], Awaitable[None]]
Work = Callable[[Platform, OnItsWay, dict[str, Any]], Awaitable[Finish]]
"""Does a stage's work and returns what belongs into the transaction that ends it."""


async def run_stage(platform: Platform, stage: StageName, work: Work, payload: dict[str, Any]) -> None:
    """Do a stage, once: begin, work, then end it together with its effect and the next stage's job."""
    release = await releasing.on_its_way(platform, payload["release"])
    if release is None:
        return
    async with platform.transaction() as tx:
        begun = await store.begin_stage(tx, release.id, stage, platform.clock.now())
        tx.stale(f"release:{release.id}")
    if begun is None:
        return
    try:
        finish = await work(platform, release, begun["data"])
        async with platform.transaction() as tx:
            await _end(platform, tx, release, stage, finish)
    except _Refused as refused:
        await _refuse(platform, release, stage, refused.reason)


async def _end(platform: Platform, tx: Transaction, release: OnItsWay, stage: StageName, finish: Finish) -> None:
    if not await releasing.lock_processing(tx, release):
        return
    if not await store.end_stage(tx, release.id, stage, "done", "", platform.clock.now()):
        return
    await finish(tx)
    tx.stale(f"release:{release.id}")
    following = STAGES[STAGES.index(stage) + 1 :]
    if following:
        job = job_of(following[0])
        await tx.enqueue(job, {"release": release.id}, key=f"{job} {release.id}")


async def _refuse(platform: Platform, release: OnItsWay, stage: StageName, reason: str) -> None:
    async with platform.transaction() as tx:
        if not await releasing.lock_processing(tx, release):
            return
        await store.end_stage(tx, release.id, stage, "refused", reason, platform.clock.now())
        await releasing.refuse(tx, release, reason)


async def park(platform: Platform, stage: StageName, payload: dict[str, Any]) -> None:
    """Say that the operator has to look; the job's last attempt failed."""
    async with platform.transaction() as tx:
        await store.park_stage(tx, payload["release"], stage, PARKED)
        tx.stale(f"release:{payload['release']}")


async def store_files(platform: Platform, release: OnItsWay, _data: dict[str, Any]) -> Finish:
    """Each upload becomes a blob; equal bytes become one artifact."""
    staging = staging_of(platform)
    for upload in await store.uploads_of_release(platform.db, release.id):
        if upload["state"] != "stored":
            known = upload["sha256"].hex() if upload["sha256"] is not None else None
            pieces = await store.pieces(platform.db, upload["id"])
            sha256 = bytes.fromhex(await staging.keep(upload["id"], pieces, known))
            async with platform.transaction() as tx:
                await releasing.attach(
                    tx, release.id, upload["place"], fresh_id=platform.ids.new(), sha256=sha256,
                    size=upload["length"],
                )  # fmt: skip
                await store.mark_stored(tx, upload["id"], sha256)
        await staging.discard(upload["id"])
    return _nothing


async def digest_files(platform: Platform, release: OnItsWay, _data: dict[str, Any]) -> Finish:
    """The look-up digests of each file; reading it also proves that the blob is what it should be."""
    for file in await releasing.files(platform, release.id):
        if file["md5"] is not None:
            continue
        async with _local(platform, file["sha256"].hex()) as path:
            found = await digests_of(path)
        if found.sha256 != file["sha256"]:
            raise DamagedBlobError(f"blob {file['sha256'].hex()} has the SHA-256 {found.sha256.hex()}")
        async with platform.transaction() as tx:
            await releasing.set_digests(
                tx, file["artifact_id"], md5=found.md5, sha1=found.sha1, sha512=found.sha512, murmur2=found.murmur2
            )
    return _nothing


async def inspect_files(platform: Platform, release: OnItsWay, _data: dict[str, Any]) -> Finish:
    """The gate, in its jail; what it said of these bytes before counts again."""
    profile = profile_for(release.game_slug)
    for file in await releasing.files(platform, release.id):
        extension = PurePosixPath(file["file_name"]).suffix.lower()[:16]
        known = await store.verdict(platform.db, file["artifact_id"], profile.name, extension)
        if known is None:
            await _inspect(platform, file, profile, extension)
            known = await store.verdict(platform.db, file["artifact_id"], profile.name, extension)
        assert known is not None
        if known["verdict"] != "accept":
            raise _Refused(_sentence(file["file_name"], known["reasons"]))
    return _nothing


async def publish_release(platform: Platform, release: OnItsWay, data: dict[str, Any]) -> Finish:
    """Place, time, claims and the event, in the transaction that ends the last stage."""
    claims = msgspec.convert(data.get("claims", []), list[NewClaim])

    async def publish(tx: Transaction) -> None:
        for file in await releasing.unclean_files(tx, release.id):
            if file["verdict"] == "waiting":
                raise GateClosedError(f"{file['file_name']} of release {release.id} has no verdict")
            raise _Refused(f"{file['file_name']} is {file['verdict']} and cannot be published.")
        await releasing.publish(tx, release, platform.clock.now())
        await authoring.add_claims(
            tx, platform, game_id=release.game_id, chain_id=release.chain_id, release_id=release.id,
            claims=claims, source="author", actor_id=release.created_by,
        )  # fmt: skip

    return publish


WORK: Final[dict[StageName, Work]] = {
    "store": store_files,
    "digests": digest_files,
    "inspect": inspect_files,
    "publish": publish_release,
}


async def _inspect(platform: Platform, file: Row, profile: Profile, extension: str) -> None:
    """Ask the gate and remember its verdict. Raises :class:`GateClosedError` when it cannot be asked."""
    async with _local(platform, file["sha256"].hex()) as path:
        found = await inspect(path, profile=profile, name=file["file_name"])
    if not found.accepted and {reason.code for reason in found.reasons} & _NO_ANSWER:
        await _check_gate(found)
    await _write_entries(platform, file["artifact_id"], found.entries)
    async with platform.transaction() as tx:
        await store.insert_verdict(
            tx, file["artifact_id"], profile.name, extension, verdict=found.verdict,
            reasons=msgspec.to_builtins(found.reasons[:100]), warnings=msgspec.to_builtins(found.warnings[:100]),
        )  # fmt: skip
        await releasing.set_verdict(
            tx, file["artifact_id"], verdict="clean" if found.accepted else "refused",
            reason="" if found.accepted else found.reasons[0].detail, format_=found.format,
            entries=len(found.entries) if found.accepted else None,
            unpacked=found.facts.unpacked_bytes if found.accepted else None,
        )  # fmt: skip


async def _check_gate(found: Inspection) -> None:
    """A jail that cannot start here is no verdict on the archive (law 4)."""
    stands = {name: up for name, up, _ in await asyncio.to_thread(jail_layers)}
    if not stands.get("start", True) or any(reason.code == "cancelled" for reason in found.reasons):
        FAILED_CLOSED.labels("inspect").inc()
        raise GateClosedError("the jail does not start on this machine; `loadstone doctor` says why")


async def _write_entries(platform: Platform, artifact_id: int, entries: Sequence[Entry]) -> None:
    """In short transactions: a long one would hold back every reader of events."""
    for first in range(0, len(entries), _ENTRIES_AT_ONCE):
        rows = [
            (entry.path, entry.size, bytes.fromhex(entry.sha256), entry.type)
            for entry in entries[first : first + _ENTRIES_AT_ONCE]
        ]
        async with platform.transaction() as tx:
            await releasing.insert_entries(tx, artifact_id, first, rows)


@contextlib.asynccontextmanager
async def _local(platform: Platform, sha256: str) -> AsyncIterator[Path]:
    """A blob as a local file: itself, or a copy for the time of the block."""
    if platform.blobs.is_local:
        yield platform.blobs.path(sha256)
        return
    folder = platform.config.data / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / secrets.token_hex(16)
    try:
        with path.open("wb") as file:
            async for chunk in platform.blobs.chunks(sha256):
                await asyncio.to_thread(file.write, chunk)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _sentence(file_name: str, reasons: Sequence[dict[str, Any]]) -> str:
    """Why the gate refused, for the creator."""
    details = " ".join(str(reason.get("detail", "")) for reason in reasons[:3])
    more = f" And {len(reasons) - 3} more." if len(reasons) > 3 else ""
    return f"{file_name}: {details}{more}"


async def _nothing(_tx: Transaction) -> None:
    """A stage whose work is all in its own transactions."""

"""Making a release of uploads, and showing how far it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadstone.catalog import authoring, releasing
from loadstone.catalog import service as catalog
from loadstone.catalog.models import FileName, GameDetail
from loadstone.compat.versions import InvalidVersion
from loadstone.compat.versions import scheme as version_scheme
from loadstone.identity.models import Actor
from loadstone.kernel.db import Row
from loadstone.kernel.errors import FieldError, InvalidInputError, NotFoundError
from loadstone.kernel.ids import InvalidIdError, decode, encode
from loadstone.kernel.platform import Platform
from loadstone.publishing import store, uploads
from loadstone.publishing.models import (
    STAGES,
    NewArtifact,
    NewRelease,
    Processing,
    Stage,
    UnknownLoaderError,
    UnknownUploadError,
    UploadGoneError,
    UploadNotCompleteError,
    UploadUsedError,
    VersionTakenError,
)


def job_of(stage: str) -> str:
    """The name of the job that does a stage."""
    return f"publishing.{stage}"


async def make_release(platform: Platform, actor: Actor, mod_id: int, new: NewRelease) -> Processing:
    """Make a release of complete uploads and send it on its way.

    Raises :class:`VersionTakenError`, :class:`UnknownUploadError`, :class:`UploadNotCompleteError`,
    :class:`UploadUsedError`, :class:`UnknownLoaderError`, and what the claims and the mod raise.
    """
    mod = await catalog.edit_mod(platform, actor, mod_id)
    game = await catalog.game(platform, mod.game_slug)
    chain = await authoring.pick_chain(platform, mod_id, new.chain)
    guessed, key = _read_version(game, new.version)
    for nth, claim in enumerate(new.claims):
        authoring.check_claim(claim, f"/claims/{nth}")
        authoring.check_ranges(game.version_scheme, claim, f"/claims/{nth}")
    rows = await _find_uploads(platform, actor, new.artifacts)
    files = _files(game, new.artifacts, rows)
    release_id = platform.ids.new()
    values = {
        "id": release_id, "chain_id": decode("chain", chain.id), "mod_id": mod_id, "game_id": mod.game_id,
        "version": new.version, "version_key": key, "channel": new.channel or guessed, "line": new.line,
        "changelog": new.changelog, "created_by": actor.member, "created_at": platform.clock.now(),
    }  # fmt: skip
    async with platform.transaction() as tx:
        if not await releasing.add_release(tx, values, files):
            raise VersionTakenError(errors=[FieldError("/version", "taken")])
        if not await store.use_uploads(tx, release_id, [row["id"] for row in rows], actor.member):
            raise UploadUsedError
        await store.insert_stages(tx, release_id, {"claims": msgspec.to_builtins(new.claims)})
        await tx.emit(
            "release.made", subject=release_id, game=mod.game_id, actor=actor.member,
            data={"mod": mod_id, "version": new.version},
            tags=[*authoring.mod_tags(mod_id, mod.game_slug), f"release:{release_id}"],
        )  # fmt: skip
        await tx.enqueue(job_of(STAGES[0]), {"release": release_id}, key=f"{job_of(STAGES[0])} {release_id}")
    name = encode("release", release_id)
    _, release = await catalog.see_release(platform, actor, name)
    return Processing(release=release, stages=await stages(platform, actor, name))


async def stages(platform: Platform, actor: Actor, release_name: str) -> list[Stage]:
    """The stages of a release, for its team and moderators. Raises :class:`NotFoundError`.

    A release that came another way than by upload has none.
    """
    mod, release = await catalog.see_release(platform, actor, release_name)
    if not mod.in_team and not actor.is_moderator:
        raise NotFoundError("There is no such release of yours.")
    rows = await store.stages(platform.db, decode("release", release.id))
    return [Stage(**row) for row in rows]


def _read_version(game: GameDetail, text: str) -> tuple[str, bytes]:
    """The channel that a version suggests and its place in the game's order."""
    scheme = version_scheme(game.version_scheme)
    try:
        return scheme.parse(text).channel, scheme.sort_bytes(text)
    except InvalidVersion as error:
        raise InvalidInputError(f"{error}.", errors=[FieldError("/version", error.reason)]) from None


async def _find_uploads(platform: Platform, actor: Actor, artifacts: Sequence[NewArtifact]) -> list[Row]:
    """The actor's complete uploads that the files are made of, in order."""
    ids = []
    for nth, artifact in enumerate(artifacts):
        try:
            ids.append(decode("upload", artifact.upload))
        except InvalidIdError:
            raise _at(nth, UnknownUploadError, "not an upload") from None
    if len(set(ids)) != len(ids):
        raise InvalidInputError(
            "One upload is one file; it is named twice.", errors=[FieldError("/artifacts", "an upload is named twice")]
        )
    found = await store.uploads_by_id(platform.db, ids, actor.member)
    for nth, id_ in enumerate(ids):
        row = found.get(id_)
        if row is None:
            raise _at(nth, UnknownUploadError, "unknown")
        if row["state"] == "open":
            raise _at(nth, UploadNotCompleteError, f"{row['received']} of {row['length']} bytes have arrived")
        if row["state"] in {"used", "stored"}:
            raise _at(nth, UploadUsedError, "used")
        if row["state"] == "expired" or row["expires_at"] <= platform.clock.now():
            raise _at(nth, UploadGoneError, "expired")
    return [found[id_] for id_ in ids]


def _at(nth: int, error: type[Any], detail: str) -> Any:
    return error(errors=[FieldError(f"/artifacts/{nth}/upload", detail)])


def _files(game: GameDetail, artifacts: Sequence[NewArtifact], rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    known = {loader.slug for loader in game.loaders}
    files: list[Mapping[str, Any]] = []
    names: set[str] = set()
    for nth, (artifact, row) in enumerate(zip(artifacts, rows, strict=True)):
        unknown = [slug for slug in artifact.loaders if slug not in known]
        if unknown:
            raise UnknownLoaderError(
                f"{game.name} has no loader “{unknown[0]}”; it has {', '.join(sorted(known)) or 'none'}.",
                errors=[FieldError(f"/artifacts/{nth}/loaders", f"unknown: {unknown[0]}")],
            )
        name = artifact.file_name or _promised_name(row, nth)
        if name.casefold() in names:
            raise InvalidInputError(
                f"Two files have the name “{name}”.", errors=[FieldError(f"/artifacts/{nth}/file_name", "twice")]
            )
        names.add(name.casefold())
        files.append(
            {
                "file_name": name, "role": artifact.role, "loaders": sorted(set(artifact.loaders)),
                "os": sorted(set(artifact.os)), "side": artifact.side, "size": row["length"],
            }
        )  # fmt: skip
    if all(file["role"] == "extra" for file in files):
        raise InvalidInputError("A release has a main file.", errors=[FieldError("/artifacts", "all are extra")])
    return files


def _promised_name(row: Row, nth: int) -> str:
    try:
        return msgspec.convert(uploads.as_upload(row).file_name, FileName)
    except msgspec.ValidationError:
        raise InvalidInputError(
            "The upload came with no usable file name; send one.",
            errors=[FieldError(f"/artifacts/{nth}/file_name", "missing")],
        ) from None

"""Uploads, new releases and the stages of their way."""

import datetime as dt
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from loadstone.catalog.models import Channel, Description, FileName, NewClaim, Release, Side, Slug, VersionText
from loadstone.kernel.errors import (
    ConflictError,
    GoneError,
    InvalidInputError,
    PreconditionFailedError,
    Problem,
    TooLargeError,
)
from loadstone.kernel.permissions import Rank, permission

PUBLISH: Final = permission(
    "releases.publish",
    "Upload files and publish releases of your mods.",
    rank=Rank.MEMBER,
    scope="releases:publish",
    changes=True,
    about="team",
)
READ_UPLOADS: Final = permission(
    "uploads.read", "See your own uploads.", rank=Rank.MEMBER, scope="releases:publish", about="own"
)

UploadState = Literal["open", "complete", "used", "stored", "expired"]
StageName = Literal["store", "digests", "inspect", "publish"]
StageState = Literal["waiting", "running", "done", "refused", "parked"]
STAGES: Final[tuple[StageName, ...]] = ("store", "digests", "inspect", "publish")
"""A release's way, in order."""


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload as its owner sees it. ``received`` bytes of ``length`` are safe."""

    id: str
    length: int
    received: int
    state: UploadState
    file_name: str
    sha256: str | None
    """Known at the end when one process saw the whole stream; else the pipeline finds it."""
    created_at: dt.datetime
    expires_at: dt.datetime


class NewArtifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of a new release: which upload, and for whom it is."""

    upload: Annotated[str, Meta(max_length=40, description="Id of a complete upload of yours.")]
    file_name: FileName | None = None
    """The name that players save it under; the upload's own without one."""
    role: Literal["main", "extra"] = "main"
    loaders: Annotated[list[Slug], Meta(max_length=50)] = []
    os: Annotated[list[Literal["windows", "linux", "macos"]], Meta(max_length=3)] = []
    side: Side = "both"


class NewRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A release to be made of uploads. Its version is never used again in its chain, unless it is refused."""

    version: VersionText
    chain: Annotated[str, Meta(max_length=64, description="Slug or id; the default chain without one.")] | None = None
    channel: Channel | None = None
    """Guessed from the version without one: ``1.0-beta2`` is a beta."""
    line: Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    changelog: Description = ""
    claims: Annotated[list[NewClaim], Meta(max_length=200)] = []
    artifacts: Annotated[list[NewArtifact], Meta(min_length=1, max_length=20)]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a release's way. ``parked`` waits for the operator; ``detail`` says why."""

    stage: StageName
    state: StageState
    detail: str
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


class Processing(msgspec.Struct, frozen=True, kw_only=True):
    """A release on its way, and how far it is."""

    release: Release
    stages: list[Stage]


class Piece(msgspec.Struct, frozen=True):
    """A part of an upload that lies in an object of its own; offsets in bytes."""

    start: int
    length: int
    name: str


class TusVersionError(PreconditionFailedError):
    code = "tus-version"
    title = "Uploads speak tus 1.0.0; send the header Tus-Resumable: 1.0.0"

    def __init__(self) -> None:
        super().__init__(headers={"Tus-Version": "1.0.0"})


class UploadEmptyError(InvalidInputError):
    code = "upload-empty"
    title = "An upload has at least one byte; check that the file was written"


class UploadTooLargeError(TooLargeError):
    code = "upload-too-large"
    title = "The upload is larger than this server takes"


class TooManyUploadsError(ConflictError):
    code = "too-many-uploads"
    title = "You have too many unfinished uploads; finish them or end some with DELETE"


class OffsetMismatchError(ConflictError):
    code = "upload-offset"
    title = "Upload-Offset is not where the upload stands; ask with HEAD and go on from there"


class UploadCompleteError(ConflictError):
    code = "upload-complete"
    title = "All bytes of this upload have arrived; make a release of it"


class UploadBusyError(Problem):
    code = "upload-busy"
    status = 423
    title = "Another request is sending to this upload; wait for it, or ask with HEAD and try again"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class ChecksumMismatchError(Problem):
    code = "checksum-mismatch"
    status = 460  # of the tus checksum extension
    title = "The bytes do not have the checksum that was sent with them; send them again"


class UploadGoneError(GoneError):
    code = "upload-gone"
    title = "This upload has expired or was ended; start a new one"


class CutOffError(Problem):
    code = "upload-cut-off"
    status = 408
    title = "The connection ended before the body did; ask with HEAD and go on from there"


class StorageFullError(Problem):
    code = "storage-full"
    status = 507
    title = "There is no room for these bytes at the moment; the operator has to make some"


class UploadNotCompleteError(ConflictError):
    code = "upload-not-complete"
    title = "The upload has not arrived in full; finish it first"


class UploadUsedError(ConflictError):
    code = "upload-used"
    title = "A release was made of this upload already; upload the file again for another"


class UnknownUploadError(InvalidInputError):
    code = "unknown-upload"
    title = "You have no upload of this id"


class VersionTakenError(ConflictError):
    code = "version-taken"
    title = "The chain has a release of this version, and versions are never used again; take the next one"


class UnknownLoaderError(InvalidInputError):
    code = "unknown-loader"
    title = "The game has no such loader; read the game to see those it has"


Metadata = dict[str, Any]

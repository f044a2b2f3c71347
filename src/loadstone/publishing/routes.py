"""REST of uploads (tus 1.0.0) and of new releases."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final

from litestar import Request, Response, delete, head, patch, post, route
from litestar.enums import HttpMethod, MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from loadstone.catalog import service as catalog
from loadstone.identity.models import Actor, Who
from loadstone.kernel.db import Row
from loadstone.kernel.errors import InvalidInputError, Problem
from loadstone.kernel.pages import Page
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import NO_STORE, Here, create, read
from loadstone.publishing import documented, service, tus, uploads
from loadstone.publishing.models import (
    PUBLISH,
    READ_UPLOADS,
    CutOffError,
    NewRelease,
    Processing,
    Stage,
    Upload,
)

SILENCE_SECONDS: Final = 60
"""How long a client may send nothing in the middle of a body."""
_TAGS: Final = ["publishing"]
_STREAMED: Final = {"permission": PUBLISH, "keyed": False, "streams": True}
_DISCOVERY: Final = {"permission": READ_PUBLIC, "keyed": False, "streams": False}

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Items on a page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=500, description="next_cursor of the page before.")]
AnyRequest = Request[Any, Any, Any]


@route(
    ["/api/v1/uploads", "/api/v1/uploads/{upload:str}"],
    http_method=[HttpMethod.OPTIONS],
    opt=_DISCOVERY,
    status_code=204,
    include_in_schema=False,
)
async def discover(platform: Here) -> Response[None]:
    """What of tus this server speaks."""
    headers = {
        "Tus-Resumable": tus.VERSION,
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Checksum-Algorithm": ",".join(tus.CHECKSUMS),
        "Tus-Max-Size": str(platform.config.max_upload_bytes),
    }
    return Response(None, status_code=204, headers=headers)


@post(
    "/api/v1/uploads",
    opt=_STREAMED | documented.START,
    status_code=201,
    summary="Start an upload (tus creation)",
    tags=_TAGS,
)
async def start_upload(request: AnyRequest, actor: Who, platform: Here) -> Response[None]:
    """Needs ``Tus-Resumable: 1.0.0`` and ``Upload-Length``; ``Upload-Metadata`` may name the ``filename``.
    A body of ``application/offset+octet-stream`` is taken as the first bytes. ``Location`` is where the
    bytes go by PATCH.
    """
    headers = request.headers
    try:
        tus.check_version(headers)
        length = tus.length(headers, platform.config.max_upload_bytes)
        checksum = tus.checksum(headers)
        started = await uploads.start(platform, actor, length, tus.metadata(headers))
        location = f"/api/v1/uploads/{started.id}"
        if tus.carries_bytes(headers):
            try:
                started = await uploads.send(
                    platform, actor, started.id, offset=0, body=_body(request),
                    size=tus.content_length(headers), checksum=checksum,
                )  # fmt: skip
            except Problem as problem:
                problem.headers["Location"] = location
                raise
    except Problem as problem:
        raise _speaking_tus(problem) from None
    headers_given = _upload_headers(started) | {"Location": location}
    return Response(None, status_code=201, media_type=MediaType.TEXT, headers=headers_given)


@read("/api/v1/uploads", READ_UPLOADS, summary="List my uploads", tags=_TAGS)
async def list_uploads(actor: Who, platform: Here, cursor: Cursor = None, limit: Limit = 50) -> Response[Page[Upload]]:
    """Your uploads, newest first, with what has arrived of each."""
    return Response(await uploads.listing(platform, actor, cursor, limit), headers=NO_STORE)


@read("/api/v1/uploads/{upload:str}", READ_UPLOADS, summary="Read an upload", tags=_TAGS)
async def read_upload(upload: FromPath[str], actor: Who, platform: Here) -> Response[Upload]:
    """One of your uploads, also after its end."""
    return Response(uploads.as_upload(await uploads.find(platform, actor, upload)), headers=NO_STORE)


@head(
    "/api/v1/uploads/{upload:str}",
    opt={"permission": READ_UPLOADS, "keyed": False, "streams": False} | documented.ASK,
    summary="Where an upload stands (tus)",
    tags=_TAGS,
)
async def upload_offset(upload: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[None]:
    """``Upload-Offset`` is where to go on."""
    try:
        tus.check_version(request.headers)
        row = await uploads.see(platform, actor, upload)
    except Problem as problem:
        raise _speaking_tus(problem) from None
    stands = _upload_headers(uploads.as_upload(row)) | _description(row) | NO_STORE
    return Response(None, media_type=MediaType.TEXT, headers=stands)


@patch(
    "/api/v1/uploads/{upload:str}",
    opt=_STREAMED | documented.SEND,
    status_code=204,
    summary="Send bytes to an upload (tus)",
    tags=_TAGS,
)
async def send_bytes(upload: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[None]:
    """The body is ``application/offset+octet-stream`` and belongs at ``Upload-Offset``;
    ``Upload-Checksum`` may give its SHA-1, SHA-256 or MD5. What arrived of a broken connection stays.
    """
    return await _send(platform, actor, upload, request)


@delete(
    "/api/v1/uploads/{upload:str}",
    opt=_STREAMED | documented.END,
    status_code=204,
    summary="End an upload (tus termination)",
    tags=_TAGS,
)
async def end_upload(upload: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[None]:
    """Its bytes are deleted; the address answers 410 afterwards."""
    return await _end(platform, actor, upload, request)


@post("/api/v1/uploads/{upload:str}", opt=_STREAMED, status_code=204, include_in_schema=False)
async def overridden(upload: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[None]:
    """PATCH and DELETE for clients behind proxies that let neither through: ``X-HTTP-Method-Override``."""
    method = request.headers.get("x-http-method-override", "").strip().upper()
    if method == "PATCH":
        return await _send(platform, actor, upload, request)
    if method == "DELETE":
        return await _end(platform, actor, upload, request)
    raise _speaking_tus(InvalidInputError("POST here needs X-HTTP-Method-Override: PATCH or DELETE."))


@create(
    "/api/v1/mods/{mod:str}/releases",
    PUBLISH,
    status_code=202,
    summary="Publish a release",
    tags=_TAGS,
    opt={"gives": {"Location": "Where the release is."}},
)
async def make_release(
    mod: FromPath[str], data: JSONBody[NewRelease], actor: Who, platform: Here
) -> Response[Processing]:
    """Make a release of complete uploads. It is published when its stages are done: stored, digested,
    inspected. A file that the inspection refuses is shown with the reason, and frees the version.
    """
    mod_id = await catalog.resolve_mod(platform, "", mod)
    made = await service.make_release(platform, actor, mod_id, data)
    return Response(made, status_code=202, headers={"Location": f"/api/v1/releases/{made.release.id}"} | NO_STORE)


@read("/api/v1/releases/{release:str}/stages", READ_UPLOADS, summary="How far a release is", tags=_TAGS)
async def read_stages(release: FromPath[str], actor: Who, platform: Here) -> Response[list[Stage]]:
    """The stages of a release of yours, in order."""
    return Response(await service.stages(platform, actor, release), headers=NO_STORE)


async def _send(platform: Platform, actor: Actor, upload: str, request: AnyRequest) -> Response[None]:
    headers = request.headers
    try:
        tus.check_version(headers)
        tus.check_content_type(headers)
        sent = await uploads.send(
            platform, actor, upload, offset=tus.number(headers, "Upload-Offset"), body=_body(request),
            size=tus.content_length(headers), checksum=tus.checksum(headers),
        )  # fmt: skip
    except Problem as problem:
        raise _speaking_tus(problem) from None
    return Response(None, status_code=204, headers=_upload_headers(sent))


async def _end(platform: Platform, actor: Actor, upload: str, request: AnyRequest) -> Response[None]:
    try:
        tus.check_version(request.headers)
        await uploads.end(platform, actor, upload)
    except Problem as problem:
        raise _speaking_tus(problem) from None
    return Response(None, status_code=204, headers={"Tus-Resumable": tus.VERSION})


async def _body(request: AnyRequest) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises :class:`CutOffError` when the client goes away or falls silent."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                message: Mapping[str, Any] = await request.receive()
        except TimeoutError:
            raise CutOffError(f"Nothing arrived for {SILENCE_SECONDS} seconds; ask with HEAD and go on.") from None
        if message["type"] == "http.disconnect":
            raise CutOffError
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def _upload_headers(upload: Upload) -> dict[str, str]:
    headers = {"Tus-Resumable": tus.VERSION, "Upload-Offset": str(upload.received)}
    if upload.state in {"open", "complete"}:
        headers["Upload-Expires"] = tus.http_date(upload.expires_at)
    return headers


def _description(row: Row) -> dict[str, str]:
    headers = {"Upload-Length": str(row["length"])}
    if row["metadata"]:
        headers["Upload-Metadata"] = tus.metadata_header(row["metadata"])
    return headers


def _speaking_tus(problem: Problem) -> Problem:
    problem.headers.setdefault("Tus-Resumable", tus.VERSION)
    return problem


ROUTES: list[HTTPRouteHandler] = [
    discover, start_upload, list_uploads, read_upload, upload_offset, send_bytes, end_upload, overridden,
    make_release, read_stages,
]  # fmt: skip

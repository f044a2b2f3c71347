"""The creator's area: my mods, a new mod, editing, a new release with its upload and stages."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from loadstone.catalog import authoring, pictures
from loadstone.catalog import service as catalog
from loadstone.catalog.models import WRITE_MODS, ModChange, NewClaim, NewMod
from loadstone.identity.models import Actor, Who
from loadstone.kernel.errors import FieldError, InvalidInputError, NotFoundError, Problem
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import Here, act, read
from loadstone.publishing import service as publishing
from loadstone.publishing import uploads
from loadstone.publishing.models import PUBLISH, NewArtifact, NewRelease
from loadstone.web.forms import field_errors, fill, read_form
from loadstone.web.markdown import prepare
from loadstone.web.multipart import Sent, read_form_with_file
from loadstone.web.render import go, page

AnyRequest = Request[Any, Any, Any]
Cursor = Annotated[str | None, QueryParameter(max_length=500)]


@read("/create", WRITE_MODS, include_in_schema=False)
async def my_mods(request: AnyRequest, actor: Who, platform: Here, cursor: Cursor = None) -> Response[str]:
    mods = await catalog.mods_of_member(platform, actor.member, cursor, 24)
    games = await catalog.list_games(platform, None, 100)
    return page(request, "create.html", mods=mods, games=games.items)


@read("/create/new", WRITE_MODS, include_in_schema=False)
async def new_mod_page(
    request: AnyRequest, platform: Here, game: Annotated[str, QueryParameter(max_length=64)]
) -> Response[str]:
    return await _mod_form(request, platform, game, {}, None)


@act("/create/new", WRITE_MODS, include_in_schema=False)
async def new_mod(
    request: AnyRequest, actor: Who, platform: Here, game: Annotated[str, QueryParameter(max_length=64)]
) -> Response[Any]:
    form = await read_form(request)
    try:
        mod = await authoring.make_mod(platform, actor, game, fill(NewMod, _mod_fields(form)))
    except Problem as problem:
        return await _mod_form(request, platform, game, form, problem)
    return go(f"/create/mods/{mod.id}")


@read("/create/mods/{mod:str}", WRITE_MODS, include_in_schema=False)
async def manage_page(mod: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[str]:
    return await _manage(request, platform, actor, await catalog.resolve_mod(platform, "", mod))


@act("/create/mods/{mod:str}", WRITE_MODS, include_in_schema=False)
async def change_mod(mod: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[Any]:
    mod_id = await catalog.resolve_mod(platform, "", mod)
    form = await read_form(request)
    read_version = form.pop("etag", None)
    try:
        fields = _mod_fields(form) | ({"visibility": form["visibility"]} if "visibility" in form else {})
        await authoring.change_mod(platform, actor, mod_id, fill(ModChange, fields), read_version)
    except Problem as problem:
        return await _manage(request, platform, actor, mod_id, form=form, problem=problem)
    return go(f"/create/mods/{mod}")


@act("/create/mods/{mod:str}/claims", WRITE_MODS, include_in_schema=False)
async def add_claim(mod: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[Any]:
    mod_id = await catalog.resolve_mod(platform, "", mod)
    form = {name: value for name, value in (await read_form(request)).items() if value}
    try:
        await authoring.claim(platform, actor, mod_id, form.pop("chain", None), fill(NewClaim, form))
    except Problem as problem:
        return await _manage(request, platform, actor, mod_id, problem=problem)
    return go(f"/create/mods/{mod}#claims")


@act("/create/mods/{mod:str}/releases", PUBLISH, include_in_schema=False, streams=True, opt={"csrf_in_stream": True})
async def new_release(mod: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[Any]:
    """The form of a new release: with ``upload``, the id of a finished upload, or with the file itself."""
    mod_id = await catalog.resolve_mod(platform, "", mod)
    await catalog.edit_mod(platform, actor, mod_id)
    most = platform.config.max_upload_bytes
    async with read_form_with_file(request, actor, platform.config.data / "tmp", most) as sent:
        try:
            upload = sent.fields.get("upload", "")
            if sent.size or not upload:  # a file that is sent now replaces the one kept from a form that was refused
                upload = sent.fields["upload"] = await _take_file(platform, actor, sent)
            made = await publishing.make_release(platform, actor, mod_id, _release_of(sent.fields, upload))
        except Problem as problem:
            return await _manage(request, platform, actor, mod_id, form=sent.fields, problem=problem)
    return go(f"/create/releases/{made.release.id}")


@act("/create/mods/{mod:str}/images", WRITE_MODS, include_in_schema=False, streams=True, opt={"csrf_in_stream": True})
async def add_image(mod: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[Any]:
    mod_id = await catalog.resolve_mod(platform, "", mod)
    await catalog.edit_mod(platform, actor, mod_id)
    async with read_form_with_file(request, actor, platform.config.data / "tmp", pictures.MOST_BYTES) as sent:
        try:
            data = b"".join([chunk async for chunk in sent.chunks()])
            await pictures.add(platform, actor, mod_id, data, sent.fields.get("caption", "")[:200])
        except Problem as problem:
            return await _manage(request, platform, actor, mod_id, problem=problem)
    return go(f"/create/mods/{mod}#gallery")


@act("/create/mods/{mod:str}/images/{image:str}/remove", WRITE_MODS, include_in_schema=False)
async def remove_image(mod: FromPath[str], image: FromPath[str], actor: Who, platform: Here) -> Response[Any]:
    await pictures.remove(platform, actor, await catalog.resolve_mod(platform, "", mod), image)
    return go(f"/create/mods/{mod}#gallery")


@read("/create/releases/{release:str}", PUBLISH, include_in_schema=False)
async def release_page(release: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[str]:
    mod, found = await catalog.see_release(platform, actor, release)
    stages = await publishing.stages(platform, actor, release)
    going = found.state == "processing"
    await prepare([found.changelog])
    headers = {"Refresh": "2"} if going else {}
    return page(request, "release.html", headers=headers, mod=mod.mod, release=found, stages=stages, going=going)


class _Action(msgspec.Struct, frozen=True):
    action: Literal["yank", "archive", "restore"]
    reason: Annotated[str, msgspec.Meta(min_length=3, max_length=500)]


@act("/create/releases/{release:str}/state", WRITE_MODS, include_in_schema=False)
async def act_on_release(release: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[Any]:
    wanted = fill(_Action, await read_form(request))
    await authoring.act_on_release(platform, actor, release, wanted.action, wanted.reason)
    return go(f"/create/releases/{release}")


async def _take_file(platform: Platform, actor: Actor, sent: Sent) -> str:
    if not sent.size:
        raise InvalidInputError("Choose the file to upload.", errors=[FieldError("/file", "no file")])
    name = sent.file_name.replace("\\", "/").rsplit("/", 1)[-1]
    started = await uploads.start(platform, actor, sent.size, {"filename": name})
    await uploads.send(platform, actor, started.id, offset=0, body=sent.chunks(), size=sent.size)
    return started.id


def _release_of(fields: dict[str, str], upload: str) -> NewRelease:
    claims = []
    for line in fields.get("requires", "").splitlines():
        if line.strip():
            target, _, range_ = line.strip().partition(" ")
            claims.append({"kind": "requires", "target": target} | ({"range": range_.strip()} if range_ else {}))
    given: dict[str, Any] = {
        "version": fields.get("version", ""),
        "changelog": fields.get("changelog", ""),
        "claims": claims,
        "artifacts": [msgspec.to_builtins(NewArtifact(upload=upload))],
    }
    for name in ("chain", "channel"):
        if fields.get(name):
            given[name] = fields[name]
    return fill(NewRelease, given)


def _mod_fields(form: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: form[name] for name in ("name", "summary", "description", "licence") if name in form
    }
    if "tags" in form:
        fields["tags"] = [tag.strip().lower() for tag in form["tags"].split(",") if tag.strip()]
    if "category" in form:
        fields["category"] = form["category"] or None
    return fields


async def _mod_form(
    request: AnyRequest, platform: Platform, game: str, form: dict[str, str], problem: Problem | None
) -> Response[str]:
    return page(
        request,
        "new_mod.html",
        status=problem.status if problem else 200,
        game=await catalog.game(platform, game),
        form=form,
        errors=field_errors(problem) if problem else {},
        problem=problem.detail if problem else None,
    )


async def _manage(
    request: AnyRequest,
    platform: Platform,
    actor: Actor,
    mod_id: int,
    *,
    form: dict[str, str] | None = None,
    problem: Problem | None = None,
) -> Response[str]:
    row = await catalog.see_mod(platform, actor, mod_id)
    if not row.in_team:
        raise NotFoundError("You have no such mod.")
    releases = await catalog.releases(platform, row, actor)
    return page(
        request,
        "manage.html",
        status=problem.status if problem else 200,
        mod=row.mod,
        game=await catalog.game(platform, row.game_slug),
        chains=await catalog.chains(platform, mod_id),
        claims=await catalog.claims(platform, mod_id),
        releases=releases.items,
        images=await catalog.images(platform, mod_id),
        etag=authoring.mod_etag(row.mod),
        form=form or {},
        errors=field_errors(problem) if problem else {},
        problem=problem.detail if problem else None,
    )


ROUTES: list[HTTPRouteHandler] = [
    my_mods, new_mod_page, new_mod, manage_page, change_mod, add_claim, new_release, release_page, act_on_release,
    add_image, remove_image,
]  # fmt: skip

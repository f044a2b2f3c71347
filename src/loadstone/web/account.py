"""Register, log in, log out, and the account's page with its tokens."""

from typing import Any

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from loadstone.identity import service
from loadstone.identity.models import (
    LOG_IN,
    LOG_OUT,
    MANAGE_TOKENS,
    READ_SELF,
    REGISTER,
    SCOPES,
    Credentials,
    NewToken,
    Registration,
    Who,
)
from loadstone.identity.routes import session_cookie
from loadstone.kernel.errors import NotFoundError, Problem
from loadstone.kernel.ids import InvalidIdError, decode
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import Here, act, read
from loadstone.web.forms import field_errors, fill, read_form
from loadstone.web.render import go, page

AnyRequest = Request[Any, Any, Any]


def safe_next(request: AnyRequest) -> str:
    """Where to go after logging in: a path of this site and nothing else."""
    wanted = request.query_params.get("next", "/")
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if plain else "/"


@read("/register", READ_PUBLIC, include_in_schema=False)
async def register_page(request: AnyRequest) -> Response[str]:
    return page(request, "register.html", form={}, errors={}, problem=None)


@act("/register", REGISTER, include_in_schema=False)
async def register(request: AnyRequest, platform: Here) -> Response[Any]:
    form = await read_form(request)
    try:
        new = fill(Registration, form)
        await service.register(platform, new)
        given = Credentials(new.name, new.password)
        opened = await service.log_in(platform, given, agent=request.headers.get("user-agent", ""))
    except Problem as problem:
        return page(
            request,
            "register.html",
            status=problem.status,
            form=form,
            errors=field_errors(problem),
            problem=None if problem.errors else problem.detail,
        )
    return go("/create", cookies=[session_cookie(platform.config, opened)])


@read("/login", READ_PUBLIC, include_in_schema=False)
async def login_page(request: AnyRequest) -> Response[str]:
    return page(request, "login.html", form={}, errors={}, problem=None)


@act("/login", LOG_IN, include_in_schema=False)
async def login(request: AnyRequest, platform: Here) -> Response[Any]:
    form = await read_form(request)
    try:
        given = fill(Credentials, form)
        opened = await service.log_in(platform, given, agent=request.headers.get("user-agent", ""))
    except Problem as problem:
        return page(
            request,
            "login.html",
            status=problem.status,
            form=form,
            errors=field_errors(problem),
            problem=None if problem.errors else problem.detail,
        )
    return go(safe_next(request), cookies=[session_cookie(platform.config, opened)])


@act("/logout", LOG_OUT, include_in_schema=False)
async def logout(actor: Who, platform: Here) -> Response[Any]:
    await service.log_out(platform, actor)
    return go("/", cookies=[session_cookie(platform.config, None)])


@read("/account", READ_SELF, include_in_schema=False)
async def account_page(request: AnyRequest, actor: Who, platform: Here) -> Response[str]:
    return page(
        request,
        "account.html",
        account=await service.account(platform, actor),
        tokens=(await service.list_tokens(platform, actor, None, 100)).items,
        scopes=SCOPES,
        made=None,
        errors={},
        problem=None,
    )


@act("/account/tokens", MANAGE_TOKENS, include_in_schema=False)
async def make_token(request: AnyRequest, actor: Who, platform: Here) -> Response[str]:
    form = await read_form(request)
    made, trouble = None, None
    try:
        scopes = [s for s in SCOPES if form.get(f"scope {s}")]
        made = await service.make_token(platform, actor, fill(NewToken, {"name": form.get("name"), "scopes": scopes}))
    except Problem as problem:
        trouble = problem
    return page(
        request,
        "account.html",
        status=trouble.status if trouble else 200,
        headers={"Cache-Control": "no-store"},
        account=await service.account(platform, actor),
        tokens=(await service.list_tokens(platform, actor, None, 100)).items,
        scopes=SCOPES,
        made=made,
        errors=field_errors(trouble) if trouble else {},
        problem=trouble.detail if trouble else None,
    )


@act("/account/tokens/{token:str}/revoke", MANAGE_TOKENS, include_in_schema=False)
async def revoke_token(token: FromPath[str], actor: Who, platform: Here) -> Response[Any]:
    try:
        number = decode("token", token)
    except InvalidIdError:
        raise NotFoundError("You have no such token.") from None
    await service.revoke_token(platform, actor, number)
    return go("/account")


ROUTES: list[HTTPRouteHandler] = [
    register_page, register, login_page, login, logout, account_page, make_token, revoke_token,
]  # fmt: skip

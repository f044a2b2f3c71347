"""REST of accounts, sessions and tokens."""

from typing import Annotated, Any

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from loadstone.identity import service
from loadstone.identity.models import (
    LOG_IN,
    LOG_OUT,
    MANAGE_TOKENS,
    READ_SELF,
    READ_TOKENS,
    REGISTER,
    Account,
    Credentials,
    Member,
    NewToken,
    OpenedSession,
    Registration,
    Token,
    Who,
)
from loadstone.kernel.config import Config
from loadstone.kernel.errors import NotFoundError
from loadstone.kernel.ids import InvalidIdError, decode
from loadstone.kernel.pages import Page
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import NO_STORE, Here, create, read, remove

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Items on a page.")]
Cursor = Annotated[str | None, QueryParameter(max_length=500, description="next_cursor of the page before.")]


def cookie_name(config: Config) -> str:
    """``__Host-`` binds the cookie to this host and to HTTPS, where there is HTTPS."""
    return "__Host-loadstone" if config.address.startswith("https:") else "loadstone_session"


def session_cookie(config: Config, opened: OpenedSession | None) -> Cookie:
    """The cookie of a fresh session, or the one that ends it."""
    return Cookie(
        key=cookie_name(config),
        value=opened.secret if opened else "",
        max_age=config.session_days * 86400 if opened else 0,
        path="/",
        secure=config.address.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


@create("/api/v1/members", REGISTER, summary="Register", tags=["identity"])
async def register(data: JSONBody[Registration], platform: Here) -> Account:
    """Make an account. Log in afterwards with ``POST /api/v1/session``."""
    return await service.register(platform, data)


@create("/api/v1/session", LOG_IN, keyed=False, summary="Log in", tags=["identity"])
async def log_in(
    data: JSONBody[Credentials], request: Request[Any, Any, Any], platform: Here
) -> Response[dict[str, Any]]:
    """Open a browser session: the answer sets an HTTP-only cookie. ``csrf`` goes into ``X-CSRF-Token``
    of every change made with the cookie.
    """
    opened = await service.log_in(platform, data, agent=request.headers.get("user-agent", ""))
    return Response(
        {"name": opened.actor.name, "expires_at": opened.expires_at, "csrf": opened.actor.csrf},
        cookies=[session_cookie(platform.config, opened)],
        headers=NO_STORE,
    )


@remove("/api/v1/session", LOG_OUT, summary="Log out", tags=["identity"])
async def log_out(actor: Who, platform: Here) -> Response[None]:
    """End the session of the cookie."""
    await service.log_out(platform, actor)
    return Response(None, status_code=204, cookies=[session_cookie(platform.config, None)])


@read("/api/v1/me", READ_SELF, summary="Who am I", tags=["identity"])
async def me(actor: Who, platform: Here) -> Response[Account]:
    """The account of the session or token that asks."""
    return Response(await service.account(platform, actor), headers=NO_STORE)


@read("/api/v1/members/{name:str}", READ_PUBLIC, summary="A member's public profile", tags=["identity"])
async def profile(name: FromPath[str], platform: Here) -> Member:
    """A member as everyone sees them."""
    return await service.profile(platform, name)


@create("/api/v1/tokens", MANAGE_TOKENS, summary="Make a personal token", tags=["identity"], opt={"shown_once": True})
async def make_token(data: JSONBody[NewToken], actor: Who, platform: Here) -> Response[Token]:
    """Make a token for scripts and mod managers. ``secret`` is shown this once."""
    return Response(await service.make_token(platform, actor, data), headers=NO_STORE)


@read("/api/v1/tokens", READ_TOKENS, summary="List my tokens", tags=["identity"])
async def list_tokens(actor: Who, platform: Here, cursor: Cursor = None, limit: Limit = 50) -> Response[Page[Token]]:
    """Your tokens that still work, newest first, without their secrets."""
    return Response(await service.list_tokens(platform, actor, cursor, limit), headers=NO_STORE)


@remove("/api/v1/tokens/{token:str}", MANAGE_TOKENS, summary="Revoke a token", tags=["identity"])
async def revoke_token(token: FromPath[str], actor: Who, platform: Here) -> None:
    """End one of your tokens at once."""
    try:
        number = decode("token", token)
    except InvalidIdError:
        raise NotFoundError("You have no such token.") from None
    await service.revoke_token(platform, actor, number)


ROUTES: list[HTTPRouteHandler] = [
    register,
    log_in,
    log_out,
    me,
    profile,
    make_token,
    list_tokens,
    revoke_token,
]

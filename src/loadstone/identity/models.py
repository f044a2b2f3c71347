"""Who someone is and what they may do."""

import datetime as dt
import hmac
from typing import Annotated, Final, Literal

import msgspec
from litestar.di import NamedDependency
from msgspec import Meta

from loadstone.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    Problem,
    UnauthenticatedError,
)
from loadstone.kernel.ids import encode
from loadstone.kernel.permissions import Permission, Rank, permission

Role = Literal["creator", "moderator", "admin"]
SCOPES: Final = {
    "profile:read": "Read who you are.",
    "mods:write": "Make and edit your mods.",
    "releases:publish": "Upload files and publish releases of your mods.",
    "downloads": "Download in your name.",
    "moderate": "Act as moderator, if you are one.",
    "admin": "Act as admin, if you are one.",
}
"""What tokens can be narrowed to, in plain words."""

REGISTER: Final = permission("account.register", "Make an account.", changes=True)
LOG_IN: Final = permission("session.create", "Log in.", changes=True)
READ_SELF: Final = permission(
    "account.read", "Read your own account.", rank=Rank.MEMBER, scope="profile:read", about="own"
)
LOG_OUT: Final = permission("session.end", "Log out.", rank=Rank.MEMBER, changes=True, about="own")
MANAGE_TOKENS: Final = permission(
    "tokens.manage",
    "Make and revoke your tokens.",
    rank=Rank.MEMBER,
    scope="session-only",
    changes=True,
    about="own",
)
READ_TOKENS: Final = permission("tokens.read", "List your tokens.", rank=Rank.MEMBER, scope="session-only", about="own")

MemberName = Annotated[
    str,
    Meta(
        min_length=3, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="Letters, digits, hyphens and underscores; names that differ only in case are the same.",
    ),
]  # fmt: skip
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")]
Password = Annotated[str, Meta(min_length=10, max_length=256)]


class Actor(msgspec.Struct, frozen=True):
    """Who asks. Anonymous when ``member_id`` is None."""

    member_id: int | None = None
    name: str = ""
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    """What a token was narrowed to; None for a browser session: everything that the member may."""
    session_id: int | None = None
    token_id: int | None = None
    csrf: str = ""

    @property
    def rank(self) -> Rank:
        if self.member_id is None:
            return Rank.EVERYONE
        if "admin" in self.roles:
            return Rank.ADMIN
        return Rank.MODERATOR if "moderator" in self.roles else Rank.MEMBER

    @property
    def is_moderator(self) -> bool:
        """Whether they see what is hidden: by rank, and with a token only in the scope for it."""
        return self.rank >= Rank.MODERATOR and (self.scopes is None or bool(self.scopes & {"moderate", "admin"}))

    @property
    def member(self) -> int:
        """The member's id. Raises :class:`UnauthenticatedError` for the anonymous."""
        if self.member_id is None:
            raise UnauthenticatedError()
        return self.member_id

    @property
    def caller(self) -> str:
        """A stable name of the caller, for idempotency keys and limits."""
        return f"member {self.member_id}" if self.member_id else "anonymous"


ANONYMOUS: Final = Actor()
Who = NamedDependency[Actor]
"""Who asks, as a route's parameter ``actor: Who``."""


def fits_csrf(actor: Actor, given: str) -> bool:
    """Whether the value is the one of the actor's session, compared in constant time."""
    return bool(actor.csrf) and hmac.compare_digest(given.encode(), actor.csrf.encode())


def check(actor: Actor, wanted: Permission) -> None:
    """The coarse half of the policy: rank and token scope.

    Raises :class:`UnauthenticatedError` for the anonymous, :class:`ForbiddenError` for the rest.
    """
    if actor.member_id is None and wanted.rank > Rank.EVERYONE:
        raise UnauthenticatedError()
    if actor.rank < wanted.rank:
        raise ForbiddenError(f"This needs the role {wanted.rank.name.lower()}.")
    if actor.scopes is None or not wanted.scope:
        return
    if wanted.scope == "session-only":
        raise ForbiddenError("A token cannot do this; log in with a browser session.")
    if wanted.scope not in actor.scopes:
        raise ForbiddenError(f"Your token lacks the scope {wanted.scope}; make one that has it.")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A member as others see them."""

    id: str
    name: str
    roles: list[str]
    created_at: dt.datetime


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A member as they see themselves."""

    id: str
    name: str
    email: str
    roles: list[str]
    created_at: dt.datetime
    scopes: list[str] | None = None
    """The scopes of the token that asks, or null for a browser session."""


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: MemberName
    email: Email
    password: Password


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    login: Annotated[str, Meta(min_length=1, max_length=254, description="Name or e-mail address.")]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class OpenedSession(msgspec.Struct, frozen=True):
    """A fresh session; ``secret`` goes into the cookie and is kept nowhere."""

    actor: Actor
    secret: str
    expires_at: dt.datetime


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    scopes: Annotated[list[str], Meta(min_length=1, max_length=10)]
    days: Annotated[int, Meta(ge=1, le=365)] | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A personal token as its owner sees it; the secret is shown once, when it is made."""

    id: str
    name: str
    hint: str
    scopes: list[str]
    created_at: dt.datetime
    expires_at: dt.datetime
    used_at: dt.datetime | None = None
    secret: str | None = None


class NameTakenError(ConflictError):
    code = "name-taken"
    title = "This name or e-mail address has an account already; log in, or take another"


class WrongCredentialsError(Problem):
    code = "wrong-credentials"
    status = 401
    title = "Name and password do not fit together; check both and try again"


class WeakPasswordError(InvalidInputError):
    code = "weak-password"
    title = "This password is easily guessed; take a longer or less common one"


class CrossSiteError(ForbiddenError):
    code = "cross-site"
    title = "This request came from another site or without its CSRF token; reload the page and try again"


class RegistrationClosedError(ForbiddenError):
    code = "registration-closed"
    title = "This site takes no new accounts; ask its operator"


def member_id(number: int) -> str:
    """A member's public id."""
    return encode("member", number)

"""Accounts, sessions and personal tokens; the depth (second factors, OAuth) grows from these shapes."""

import binascii
import datetime as dt
from typing import Final

from loadstone.identity import store
from loadstone.identity.models import (
    SCOPES,
    Account,
    Actor,
    Credentials,
    Member,
    NameTakenError,
    NewToken,
    OpenedSession,
    Registration,
    RegistrationClosedError,
    Role,
    Token,
    WeakPasswordError,
    WrongCredentialsError,
    member_id,
)
from loadstone.identity.passwords import PasswordKeeper, is_common
from loadstone.kernel.db import Row
from loadstone.kernel.errors import FieldError, InvalidInputError, NotFoundError
from loadstone.kernel.ids import encode
from loadstone.kernel.pages import Page, page, read_cursor
from loadstone.kernel.platform import Platform

TOKEN_PREFIX: Final = "lds_"  # noqa: S105 - the public part
_PASSWORDS: Final = PasswordKeeper()
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


async def register(platform: Platform, new: Registration, *, roles: tuple[Role, ...] = ()) -> Account:
    """Make an account. Raises :class:`NameTakenError`, :class:`WeakPasswordError`,
    :class:`RegistrationClosedError`.
    """
    if platform.config.registration == "closed":
        raise RegistrationClosedError()
    return await make_member(platform, new, roles=roles)


async def make_member(platform: Platform, new: Registration, *, roles: tuple[Role, ...] = ()) -> Account:
    """Make an account whether or not registration is open; for the operator and the seed."""
    if is_common(new.password, new.name, new.email.partition("@")[0]):
        raise WeakPasswordError(errors=[FieldError("/password", WeakPasswordError.title)])
    hashed = await _PASSWORDS.hash(new.password)
    id_ = platform.ids.new()
    async with platform.transaction() as tx:
        made = await store.insert_member(tx, id_=id_, name=new.name, email=new.email, password=hashed, roles=roles)
        if not made:
            raise NameTakenError()
        await tx.emit("member.registered", subject=id_, actor=id_, data={"name": new.name})
    row = await store.member(platform.db, id_)
    assert row is not None
    return _account(row, None)


async def log_in(platform: Platform, given: Credentials, *, agent: str) -> OpenedSession:
    """Open a session. The same answer, in the same time, for an unknown account and a wrong password.

    Raises :class:`WrongCredentialsError`.
    """
    row = await store.member_by_login(platform.db, given.login)
    usable = row is not None and row["state"] == "active"
    fits = await _PASSWORDS.verify(row["password"] if row and usable else None, given.password)
    if row is None or not fits:
        raise WrongCredentialsError()
    fresh = await _PASSWORDS.hash(given.password) if _PASSWORDS.is_outdated(row["password"]) else None
    raw = platform.ids.secret()
    session_id = platform.ids.new()
    expires_at = platform.clock.now() + dt.timedelta(days=platform.config.session_days)
    digest = platform.signer.digest("session", raw)
    async with platform.transaction() as tx:
        if fresh:
            await store.set_password(tx, row["id"], fresh)
        await store.insert_session(
            tx, id_=session_id, member_id=row["id"], digest=digest, agent=agent[:200], expires_at=expires_at
        )
        await tx.emit("session.opened", subject=session_id, actor=row["id"])
    actor = Actor(row["id"], row["name"], frozenset(row["roles"]), None, session_id, None, _csrf(platform, raw))
    return OpenedSession(actor, raw.hex(), expires_at)


async def log_out(platform: Platform, actor: Actor) -> None:
    """End the session that asks; harmless for a token."""
    if actor.session_id is None:
        return
    async with platform.transaction() as tx:
        await store.delete_session(tx, actor.session_id)
        await tx.emit("session.ended", subject=actor.session_id, actor=actor.member_id)


async def actor_by_session(platform: Platform, secret: str) -> Actor | None:
    """Who holds this cookie, or None."""
    try:
        raw = bytes.fromhex(secret)
    except ValueError:
        return None
    digest = platform.signer.digest("session", raw)
    rows = await store.actors_by_session(platform.db, [digest], platform.clock.now())
    if not rows:
        return None
    row = rows[0]
    return Actor(row["id"], row["name"], frozenset(row["roles"]), None, row["session_id"], None, _csrf(platform, raw))


async def actor_by_token(platform: Platform, secret: str) -> Actor | None:
    """Who holds this personal token, or None. Malformed ones never reach the database."""
    if not is_token(secret):
        return None
    now = platform.clock.now()
    rows = await store.actors_by_token(platform.db, [platform.signer.digest("token", secret.encode())], now)
    if not rows:
        return None
    row = rows[0]
    if row["used_at"] is None or now - row["used_at"] > dt.timedelta(minutes=5):
        async with platform.transaction() as tx:
            await store.touch_tokens(tx, [row["token_id"]], now)
    return Actor(row["id"], row["name"], frozenset(row["roles"]), frozenset(row["scopes"]), None, row["token_id"])


async def make_token(platform: Platform, actor: Actor, new: NewToken) -> Token:
    """Make a personal token; its secret is in the answer and nowhere else."""
    unknown = [s for s in new.scopes if s not in SCOPES]
    if unknown:
        raise InvalidInputError(
            f"There are no scopes {', '.join(unknown)}; the scopes are {', '.join(SCOPES)}.",
            errors=[FieldError("/scopes", "unknown scope")],
        )
    secret = _new_token_secret(platform)
    days = new.days or platform.config.token_days
    values = {
        "id": platform.ids.new(),
        "member_id": actor.member,
        "name": new.name,
        "digest": platform.signer.digest("token", secret.encode()),
        "hint": secret[:8],
        "scopes": sorted(set(new.scopes)),
        "expires_at": platform.clock.now() + dt.timedelta(days=days),
    }
    async with platform.transaction() as tx:
        row = await store.insert_token(tx, values)
        await tx.emit("token.made", subject=row["id"], actor=actor.member, data={"scopes": values["scopes"]})
    return _token(row, secret)


async def list_tokens(platform: Platform, actor: Actor, cursor: str | None, limit: int) -> Page[Token]:
    after = read_cursor(platform.signer, "tokens", cursor)
    rows = await store.tokens_of(platform.db, actor.member, after[0] if after else None, limit + 1)
    return page(platform.signer, "tokens", rows, limit, lambda r: [r["id"]], _token)


async def revoke_token(platform: Platform, actor: Actor, token: int) -> None:
    """End one of one's own tokens. Raises :class:`NotFoundError` for anyone else's."""
    async with platform.transaction() as tx:
        if not await store.revoke_token(tx, token, actor.member, platform.clock.now()):
            raise NotFoundError("You have no such token.")
        await tx.emit("token.revoked", subject=token, actor=actor.member)


async def account(platform: Platform, actor: Actor) -> Account:
    row = await store.member(platform.db, actor.member)
    if row is None:
        raise NotFoundError()
    return _account(row, sorted(actor.scopes) if actor.scopes is not None else None)


async def profile(platform: Platform, name: str) -> Member:
    """A member as others see them, by name. Raises :class:`NotFoundError`."""
    row = await store.member_by_name(platform.db, name)
    if row is None:
        raise NotFoundError(f"There is no member {name[:40]}.")
    return Member(id=member_id(row["id"]), name=row["name"], roles=list(row["roles"]), created_at=row["created_at"])


async def grant_roles(platform: Platform, actor: Actor, name: str, roles: tuple[Role, ...]) -> None:
    """Set a member's roles; for the operator and the seed."""
    row = await store.member_by_name(platform.db, name)
    if row is None:
        raise NotFoundError(f"There is no member {name[:40]}.")
    async with platform.transaction() as tx:
        await store.set_roles(tx, row["id"], roles)
        await tx.emit("member.roles_set", subject=row["id"], actor=actor.member_id, data={"roles": list(roles)})


async def has_members(platform: Platform) -> bool:
    """Whether anyone has registered yet."""
    return await store.has_members(platform.db)


async def forget_expired(platform: Platform) -> None:
    """Delete sessions that ended by themselves; a timer calls it."""
    async with platform.transaction() as tx:
        await store.delete_expired_sessions(tx, platform.clock.now())


def is_token(text: str) -> bool:
    """Whether the text has the form and the check sum of our tokens; secret scanners use the same rule."""
    if not text.startswith(TOKEN_PREFIX) or len(text) != len(TOKEN_PREFIX) + 36 or not text.isascii():
        return False
    body, check = text[len(TOKEN_PREFIX) : -6], text[-6:]
    return check == _check_sum(body)


def _new_token_secret(platform: Platform) -> str:
    number = int.from_bytes(platform.ids.secret(24), "big")
    body = ""
    while len(body) < 30:
        number, digit = divmod(number, 62)
        body += _ALPHABET[digit]
    return TOKEN_PREFIX + body + _check_sum(body)


def _check_sum(body: str) -> str:
    number = binascii.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


def _csrf(platform: Platform, session_secret: bytes) -> str:
    return platform.signer.mac("csrf", session_secret)[:16].hex()


def _account(row: Row, scopes: list[str] | None) -> Account:
    return Account(
        id=member_id(row["id"]), name=row["name"], email=row["email"], roles=list(row["roles"]),
        created_at=row["created_at"], scopes=scopes,
    )  # fmt: skip


def _token(row: Row, secret: str | None = None) -> Token:
    return Token(
        id=encode("token", row["id"]), name=row["name"], hint=row["hint"], scopes=list(row["scopes"]),
        created_at=row["created_at"], expires_at=row["expires_at"], used_at=row["used_at"], secret=secret,
    )  # fmt: skip

"""The SQL of identity."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from loadstone.kernel.db import Database, Row, Transaction


async def insert_member(
    tx: Transaction, *, id_: int, name: str, email: str, password: str, roles: Sequence[str]
) -> bool:
    """False when the name or the address is taken."""
    return bool(
        await tx.fetchval(
            "insert into members (id, name, name_key, email, email_key, password, roles)"
            " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning true",
            id_, name, name.lower(), email, email.lower(), password, list(roles),
        )
    )  # fmt: skip


async def has_members(db: Database) -> bool:
    return bool(await db.fetchval("select exists (select from members)"))


async def member_by_login(db: Database, login: str) -> Row | None:
    return await db.fetchrow(
        "select id, name, password, roles, state from members where name_key = $1 or email_key = $1"
        " order by (name_key = $1) desc limit 1",
        login.lower(),
    )


async def member(db: Database, id_: int) -> Row | None:
    return await db.fetchrow("select id, name, email, roles, created_at, state from members where id = $1", id_)


async def members_by_id(db: Database, ids: Sequence[int]) -> list[Row]:
    return await db.fetch("select id, name, roles, created_at from members where id = any($1)", list(ids))


async def member_by_name(db: Database, name: str) -> Row | None:
    return await db.fetchrow(
        "select id, name, roles, created_at from members where name_key = $1 and state <> 'deleted'",
        name.lower(),
    )


async def set_password(tx: Transaction, id_: int, password: str) -> None:
    await tx.execute("update members set password = $2 where id = $1", id_, password)


async def set_roles(tx: Transaction, id_: int, roles: Sequence[str]) -> bool:
    return bool(
        await tx.fetchval(
            "update members set roles = $2, version = version + 1 where id = $1 returning true",
            id_,
            list(roles),
        )
    )


async def insert_session(
    tx: Transaction, *, id_: int, member_id: int, digest: bytes, agent: str, expires_at: dt.datetime
) -> None:
    await tx.execute(
        "insert into sessions (id, member_id, digest, agent, expires_at) values ($1, $2, $3, $4, $5)",
        id_, member_id, digest, agent, expires_at,
    )  # fmt: skip


async def actors_by_session(db: Database, digests: Sequence[bytes], now: dt.datetime) -> list[Row]:
    return await db.fetch(
        "select s.digest, s.id as session_id, m.id, m.name, m.roles"
        " from sessions s join members m on m.id = s.member_id"
        " where s.digest = any($1) and s.expires_at > $2 and m.state = 'active'",
        list(digests), now,
    )  # fmt: skip


async def delete_session(tx: Transaction, id_: int) -> None:
    await tx.execute("delete from sessions where id = $1", id_)


async def delete_expired_sessions(tx: Transaction, now: dt.datetime) -> None:
    await tx.execute("delete from sessions where expires_at < $1", now)


async def insert_token(tx: Transaction, values: dict[str, Any]) -> Row:
    row = await tx.fetchrow(
        "insert into tokens (id, member_id, name, digest, hint, scopes, expires_at)"
        " values ($1, $2, $3, $4, $5, $6, $7) returning *",
        values["id"], values["member_id"], values["name"], values["digest"], values["hint"],
        values["scopes"], values["expires_at"],
    )  # fmt: skip
    assert row is not None
    return row


async def actors_by_token(db: Database, digests: Sequence[bytes], now: dt.datetime) -> list[Row]:
    return await db.fetch(
        "select t.digest, t.id as token_id, t.scopes, t.used_at, m.id, m.name, m.roles"
        " from tokens t join members m on m.id = t.member_id"
        " where t.digest = any($1) and t.revoked_at is null and t.expires_at > $2 and m.state = 'active'",
        list(digests), now,
    )  # fmt: skip


async def touch_tokens(tx: Transaction, ids: Sequence[int], now: dt.datetime) -> None:
    await tx.execute("update tokens set used_at = $2 where id = any($1)", list(ids), now)


async def tokens_of(db: Database, member_id: int, after: int | None, limit: int) -> list[Row]:
    return await db.fetch(
        "select id, name, hint, scopes, created_at, expires_at, used_at from tokens"
        " where member_id = $1 and revoked_at is null and ($2::bigint is null or id < $2)"
        " order by id desc limit $3",
        member_id, after, limit,
    )  # fmt: skip


async def revoke_token(tx: Transaction, id_: int, member_id: int, now: dt.datetime) -> bool:
    return bool(
        await tx.fetchval(
            "update tokens set revoked_at = $3 where id = $1 and member_id = $2 and revoked_at is null"
            " returning true",
            id_, member_id, now,
        )
    )  # fmt: skip

"""Law 5: every operation declares its permission beside its route. Generated: each operation × who asks."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar import get, post
from litestar.handlers import HTTPRouteHandler

from loadstone.http.app import UndeclaredPermissionError, all_routes, check_routes
from loadstone.kernel.permissions import READ_PUBLIC, Permission, Rank, all_permissions, permission
from loadstone.kernel.rest import act
from tests.conftest import MakePerson

PLACEHOLDERS = {"int": "1", "str": "nothing-here", "path": "a/b"}


def operations() -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in all_routes():
        for path in route.paths:
            address = re.sub(r"\{\w+:(\w+)\}", lambda m: PLACEHOLDERS[m[1]], path)
            for method in sorted(route.http_methods - {"OPTIONS"}):
                yield method, address, route


def wanted(route: HTTPRouteHandler) -> Permission:
    declared: Permission = route.opt["permission"]
    return declared


def test_a_route_without_a_permission_does_not_start() -> None:
    @get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(UndeclaredPermissionError, match="/forgotten"):
        check_routes([forgotten])


def test_a_changing_route_under_a_permission_to_read_does_not_start() -> None:
    @act("/wolf", READ_PUBLIC)
    async def wolf() -> None: ...

    @post("/sheep", opt={"permission": READ_PUBLIC, "asks_only": True})
    async def sheep() -> None: ...

    with pytest.raises(UndeclaredPermissionError, match="/wolf"):
        check_routes([wolf])
    check_routes([sheep])


def test_a_permission_is_declared_once() -> None:
    with pytest.raises(RuntimeError, match=r"public\.read"):
        permission("public.read", "again")


def test_every_permission_is_used_by_some_operation_or_says_why() -> None:
    used = {wanted(r).name for r in all_routes()}
    unused = {p.name for p in all_permissions()} - used
    assert unused <= set(), unused


async def test_each_operation_turns_away_who_may_not(client: httpx.AsyncClient, person: MakePerson) -> None:
    """law 5: each operation × anonymous, member, narrowed token, moderator, admin; one platform for all."""
    people = {
        "anonymous": client,
        "member": (await person("mel")).http,
        "moderator": (await person("mod", roles=("moderator",))).http,
        "narrowed": (await person("nat", roles=("admin",), scopes=["profile:read"])).http,
        "admin": (await person("ann", roles=("admin",))).http,
    }
    wrong: list[str] = []
    for method, address, route in operations():
        needs = wanted(route)
        for who, http in people.items():
            body: dict[str, Any] = {} if method in {"GET", "DELETE"} else {"json": {}}
            answer = await http.request(method, address, headers={"If-Match": "*"}, **body)
            status = answer.status_code
            if status >= 500 and status != 503:
                wrong.append(f"{method} {address} as {who}: {status}")
            if not is_right(who, needs, status, by_page=bool(route.opt.get("csrf_in_stream"))):
                wrong.append(f"{method} {address} ({needs.name}) as {who}: {status}")
    assert not wrong, "\n".join(wrong)


RANKS = {
    "anonymous": Rank.EVERYONE,
    "member": Rank.MEMBER,
    "moderator": Rank.MODERATOR,
    "narrowed": Rank.ADMIN,
    "admin": Rank.ADMIN,
}


def is_right(who: str, needs: Permission, status: int, *, by_page: bool) -> bool:
    """What the coarse half of the policy must answer; 403 may also come from the object, never 401."""
    if who == "anonymous":
        return (status == 401) == (needs.rank > Rank.EVERYONE)
    if RANKS[who] < needs.rank or needs.scope == "session-only":
        return status == 403
    if who == "narrowed" and needs.scope and needs.scope != "profile:read":
        return status == 403
    return status != 401 and (status != 403 or by_page or needs.object == "team" or who != "admin")

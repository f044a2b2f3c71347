"""The page that plans an installation: the plan, or why there is none and what would help, as plain links."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from loadstone.catalog import service as catalog
from loadstone.installs import service as installs
from loadstone.installs.models import Fact, Repair, Resolution, ResolveRequest, Wanted
from loadstone.kernel.errors import InvalidInputError
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.rest import Here, read
from loadstone.web.render import page

AnyRequest = Request[Any, Any, Any]
MOST_MODS: Final = 100
_EXPRESSIBLE: Final = frozenset({"drop", "substitute", "use_build", "use_loader"})
"""Repairs that the address of this page can say."""


class Branch(msgspec.Struct, frozen=True):
    """A fact and those that follow it up."""

    fact: Fact
    below: list["Branch"]


class WayOut(msgspec.Struct, frozen=True):
    """A repair, with the address that applies it where there is one."""

    text: str
    address: str | None


@read("/games/{game:str}/resolve", READ_PUBLIC, include_in_schema=False)
async def resolve_page(
    game: FromPath[str],
    request: AnyRequest,
    platform: Here,
    mod: Annotated[list[str] | None, QueryParameter(max_items=2 * MOST_MODS)] = None,
    build: Annotated[str, QueryParameter(max_length=100)] = "",
    loader: Annotated[str, QueryParameter(max_length=100)] = "",
) -> Response[str]:
    detail = await catalog.game(platform, game)
    asked = list(dict.fromkeys(name.strip() for name in mod or [] if name.strip()))
    found: Resolution | None = None
    complaint = None
    packages: list[str] = []
    try:
        packages = await installs.packages_of(platform, game, _bounded(asked))
        if packages:
            wanted = [Wanted(package=package) for package in packages]
            found = await installs.resolve(
                platform, ResolveRequest(game=game, wanted=wanted, build=build or None, loader=loader or None)
            )
    except InvalidInputError as error:
        complaint = error.detail

    def address(names: Sequence[str], build: str = build, loader: str = loader) -> str:
        pairs = [("mod", name) for name in names] + [("build", build), ("loader", loader)]
        return f"/games/{game}/resolve?" + urlencode([(key, value) for key, value in pairs if value])

    return page(
        request,
        "resolve.html",
        status=400 if complaint else 200,
        game=detail,
        asked=packages or asked,
        build=build,
        loader=loader,
        found=found,
        complaint=complaint,
        names={entry.package: entry.mod_name for entry in found.plan} if found else {},
        facts=_tree(found.facts) if found else [],
        ways=[_way(repair, packages, address) for repair in found.repairs] if found else [],
        without=lambda name: address([other for other in packages or asked if other != name]),
    )


def _bounded(asked: list[str]) -> list[str]:
    if len(asked) > MOST_MODS:
        raise InvalidInputError(f"This page plans up to {MOST_MODS} mods at once; the API takes more.")
    if any(len(name) > 130 for name in asked):
        raise InvalidInputError("A mod is named by its slug, number or id; one of these is too long to be any.")
    return asked


def _tree(facts: Sequence[Fact]) -> list[Branch]:
    roots: list[Branch] = []
    branches: list[Branch] = []
    for fact in facts:
        branch = Branch(fact, [])
        (roots if fact.parent is None else branches[fact.parent].below).append(branch)
        branches.append(branch)
    return roots


def _way(repair: Repair, packages: Sequence[str], address: Any) -> WayOut:
    if repair.kind not in _EXPRESSIBLE:
        return WayOut(repair.text, None)
    names = [repair.substitute.get(name, name) for name in packages if name not in repair.drop]
    changes = {"build": repair.use_build, "loader": repair.use_loader}
    return WayOut(repair.text, address(names, **{key: value for key, value in changes.items() if value}))


ROUTES: list[HTTPRouteHandler] = [resolve_page]

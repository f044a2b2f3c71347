"""A mod's page: description, gallery, files, dependencies, changelog."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from loadstone.catalog import service as catalog
from loadstone.catalog.models import Claim, Mod, Release
from loadstone.delivery import service as delivery
from loadstone.delivery.models import FETCH, TicketRequest
from loadstone.identity.models import Who
from loadstone.kernel.permissions import READ_PUBLIC
from loadstone.kernel.platform import Platform
from loadstone.kernel.rest import Here, act, read
from loadstone.web.markdown import prepare
from loadstone.web.render import go, page

AnyRequest = Request[Any, Any, Any]
Tab = Literal["about", "files", "dependencies", "changes", "contents"]
TABS: dict[Tab, str] = {
    "about": "About",
    "files": "Files",
    "dependencies": "Dependencies",
    "changes": "Changes",
    "contents": "Contents",
}
Cursor = Annotated[str | None, QueryParameter(max_length=500)]

VERBS = {
    "requires": "requires",
    "any_of": "requires one of",
    "provides": "provides",
    "conflicts": "conflicts with",
    "discouraged": "is discouraged beside",
    "recommends": "recommends",
    "patches": "patches",
    "replaces": "replaces",
    "order_after": "loads after",
    "order_before": "loads before",
    "works_with": "works with",
    "broken_in": "is broken in",
    "needs": "needs",
}


class Fact(msgspec.Struct, frozen=True):
    """A claim as a sentence's parts."""

    verb: str
    what: str
    address: str | None
    note: str
    source: str
    by: str | None
    version: str | None


@read("/games/{game:str}/mods/{mod:str}", READ_PUBLIC, include_in_schema=False)
async def mod_page(
    game: FromPath[str],
    mod: FromPath[str],
    request: AnyRequest,
    actor: Who,
    platform: Here,
    tab: Annotated[Tab, QueryParameter()] = "about",
    cursor: Cursor = None,
) -> Response[Any]:
    mod_id = await catalog.resolve_mod(platform, game, mod)
    row = await catalog.see_mod(platform, actor, mod_id)
    if (game, mod) != (row.game_slug, row.mod.slug):
        return go(f"/games/{row.game_slug}/mods/{row.mod.slug}")
    releases = await catalog.releases(platform, row, actor, cursor=cursor if tab in {"files", "changes"} else None)
    latest = next((r for r in releases.items if r.state == "published"), None)
    context: dict[str, Any] = {
        "mod": row.mod,
        "game_name": (await catalog.find_game(platform, row.game_slug))["name"],
        "in_team": row.in_team,
        "tab": tab,
        "tabs": TABS,
        "releases": releases,
        "latest": latest,
        "images": await catalog.images(platform, row.id),
    }
    if tab == "dependencies":
        context["facts"] = await _facts(platform, row.mod, row.id, releases.items)
        context["dependents"] = (await catalog.dependents(platform, row, None, 24)).items
        context["pictures"] = await catalog.first_images(platform, context["dependents"])
    if tab == "contents" and latest and latest.artifacts and latest.artifacts[0].artifact:
        context["entries"] = await catalog.entries(platform, actor, latest.id, 0, cursor, 200)
    if tab == "about":
        await prepare([row.mod.description])
    if tab == "changes":
        await prepare([r.changelog for r in releases.items])
    return page(request, "mod.html", **context)


@act("/releases/{release:str}/download", FETCH, include_in_schema=False)
async def download(release: FromPath[str], request: AnyRequest, actor: Who, platform: Here) -> Response[Any]:
    """The button on the page: grants a ticket and sends the browser to its link.

    Our content policy lets a form lead to this site only, also by a redirect, so a link to the object store opens
    from a page in between.
    """
    ticket = await delivery.grant(platform, actor, release, TicketRequest())
    own = platform.config.address
    if ticket.url.startswith(f"{own}/"):
        return go(ticket.url.removeprefix(own))
    headers = {"Refresh": f"0; url={ticket.url}", "Cache-Control": "no-store"}
    return page(request, "download.html", headers=headers, ticket=ticket)


async def _facts(platform: Platform, mod: Mod, mod_id: int, releases: list[Release]) -> list[Fact]:
    """What stands of the newest releases and of the mod as a whole, each once."""
    shown = {r.id: r.version for r in releases[:3]}
    facts: dict[tuple[str, str], Fact] = {}
    for claim in await catalog.claims(platform, mod_id):
        if claim.release is not None and claim.release not in shown:
            continue
        fact = _fact(mod.game, claim, shown.get(claim.release) if claim.release else None)
        facts[(fact.verb, fact.what)] = fact
    return sorted(facts.values(), key=lambda f: (list(VERBS.values()).index(f.verb), f.what))


def _fact(game: str, claim: Claim, version: str | None) -> Fact:
    body = claim.body
    names = [body["target"]] if body.get("target") else [a.get("target", "?") for a in body.get("any_of", [])]
    what = " or ".join(names)
    if body.get("range"):
        what = f"{what} {body['range']}"
    if body.get("builds"):
        first, last = body["builds"]
        what = f"game builds {first or 'the first'} to {last or 'the newest'}"
    if body.get("loader"):
        what = f"{what} {body['loader']}".strip()
    address = f"/search?game={game}&q={names[0]}" if len(names) == 1 else None
    return Fact(VERBS[claim.kind], what or "—", address, body.get("note", ""), claim.source, claim.by, version)


ROUTES: list[HTTPRouteHandler] = [mod_page, download]

"""The catalogue as a graph: game → mods → chains → releases, read through the same service as REST."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar, cast, get_args

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.types import Info

from loadstone.catalog import service
from loadstone.catalog.models import Chain as ChainModel
from loadstone.catalog.models import Claim as ClaimModel
from loadstone.catalog.models import Game as GameModel
from loadstone.catalog.models import GameDetail, Mod, ModSummary, Release
from loadstone.identity.models import Actor
from loadstone.kernel.errors import InvalidInputError, NotFoundError
from loadstone.kernel.ids import decode, is_id
from loadstone.kernel.platform import Platform

MOST = 100
T = TypeVar("T")


class CatalogLoaders:
    """One request's loaders: what a document asks for many things is read in one statement."""

    def __init__(self, platform: Platform, actor: Actor) -> None:
        self.platform = platform
        self.actor = actor
        self.mods: DataLoader[int, service.ModRow | None] = DataLoader(self._mods)
        self.games: DataLoader[str, GameDetail | None] = DataLoader(self._games)
        self.chains: DataLoader[int, list[ChainModel]] = DataLoader(self._chains)
        self.releases: DataLoader[int, list[Release]] = DataLoader(self._releases)
        self.claims: DataLoader[int, list[ClaimModel]] = DataLoader(self._claims)

    async def _mods(self, ids: list[int]) -> Sequence[service.ModRow | None]:
        seen = await service.see_mods(self.platform, self.actor, ids)
        return [seen.get(i) for i in ids]

    async def _games(self, slugs: list[str]) -> Sequence[GameDetail | None]:
        found = await service.games_by_slug(self.platform, slugs)
        return [found.get(s) for s in slugs]

    async def _chains(self, ids: list[int]) -> Sequence[list[ChainModel]]:
        found = await service.chains_of(self.platform, ids)
        return [found.get(i, []) for i in ids]

    async def _releases(self, ids: list[int]) -> Sequence[list[Release]]:
        rows = [row for row in await self.mods.load_many(ids) if row is not None]
        found = await service.newest_releases(self.platform, self.actor, rows, MOST)
        return [found.get(i, []) for i in ids]

    async def _claims(self, ids: list[int]) -> Sequence[list[ClaimModel]]:
        found = await service.claims_of(self.platform, ids)
        return [found.get(i, []) for i in ids]


def loaders(info: Info[Any, Any]) -> CatalogLoaders:
    found: CatalogLoaders = info.context["catalog"]
    return found


First = Annotated[int, strawberry.argument(description="How many, 1 to 100.")]


def checked(first: int) -> int:
    if not 1 <= first <= MOST:
        raise InvalidInputError(f"first is {first}; it must be between 1 and {MOST}.")
    return first


@strawberry.type(description="Some items of a list, and where the next ones start.")
class Connection(Generic[T]):
    items: list[T]
    next_cursor: str | None


@strawberry.type(description="A file of a release.")
class FileNode:
    file_name: str
    role: str
    loaders: list[str]
    os: list[str]
    side: str
    size: str | None = strawberry.field(description="Bytes, as text: it may be larger than a GraphQL Int.")
    sha256: str | None
    url: str | None


@strawberry.type(name="Release", description="One upload in a chain; immutable.")
class ReleaseNode:
    id: strawberry.ID
    version: str
    channel: str
    state: str
    state_reason: str
    changelog: str
    package: str
    published_at: dt.datetime | None
    downloads: int
    files: list[FileNode]
    mod_id: strawberry.Private[int]

    @strawberry.field
    async def mod(self, info: Info[Any, Any]) -> "ModNode | None":
        row = await loaders(info).mods.load(self.mod_id)
        return mod_node(row.mod) if row else None


@strawberry.type(name="Chain", description="One line of updates of a mod; the solver's package.")
class ChainNode:
    id: strawberry.ID
    package: str
    slug: str
    name: str
    category: str
    is_default: bool
    mod_id: strawberry.Private[int]

    @strawberry.field(description="Newest first.")
    async def releases(self, info: Info[Any, Any], first: First = 20) -> list[ReleaseNode]:
        found = await loaders(info).releases.load(self.mod_id)
        return [release_node(r) for r in found if r.chain == self.id][: checked(first)]


@strawberry.type(name="Claim", description="A fact about a chain or release, and who said it.")
class ClaimNode:
    id: strawberry.ID
    package: str
    kind: str
    target: str | None
    range: str | None
    source: str
    by: str | None
    at: dt.datetime


@strawberry.type(name="Mod", description="A project of one game.")
class ModNode:
    id: strawberry.ID
    number: int
    slug: str
    name: str
    summary: str
    authors: list[str]
    category: str | None
    tags: list[str]
    visibility: str
    downloads: int
    published_at: dt.datetime | None
    updated_at: dt.datetime
    game_slug: strawberry.Private[str]
    number_id: strawberry.Private[int]

    @strawberry.field
    async def game(self, info: Info[Any, Any]) -> "GameNode | None":
        found = await loaders(info).games.load(self.game_slug)
        return game_node(found) if found else None

    @strawberry.field(description="Markdown.")
    async def description(self, info: Info[Any, Any]) -> str:
        row = await loaders(info).mods.load(self.number_id)
        return row.mod.description if row else ""

    @strawberry.field
    async def chains(self, info: Info[Any, Any]) -> list[ChainNode]:
        return [chain_node(c) for c in await loaders(info).chains.load(self.number_id)]

    @strawberry.field(description="Newest first.")
    async def releases(self, info: Info[Any, Any], first: First = 20) -> list[ReleaseNode]:
        found = await loaders(info).releases.load(self.number_id)
        return [release_node(r) for r in found[: checked(first)]]

    @strawberry.field
    async def claims(self, info: Info[Any, Any]) -> list[ClaimNode]:
        return [claim_node(c) for c in await loaders(info).claims.load(self.number_id)]


@strawberry.type(name="Build", description="A version of a game.")
class BuildNode:
    name: str
    place: int


@strawberry.type(name="Game", description="A game whose mods are here.")
class GameNode:
    id: strawberry.ID
    slug: str
    name: str
    summary: str
    version_scheme: str

    @strawberry.field(description="Oldest first.")
    async def builds(self, info: Info[Any, Any]) -> list[BuildNode]:
        found = await loaders(info).games.load(self.slug)
        return [BuildNode(name=b.name, place=b.place) for b in found.builds] if found else []

    @strawberry.field(description="Published mods; sort is new, updated, name or downloads.")
    async def mods(
        self, info: Info[Any, Any], first: First = 20, after: str | None = None, sort: str = "updated"
    ) -> Connection[ModNode]:
        if sort not in get_args(service.Order):
            raise InvalidInputError(f"There is no order “{sort[:20]}”; there are {', '.join(get_args(service.Order))}.")
        order: service.Order = cast("service.Order", sort)
        page = await service.browse(loaders(info).platform, self.slug, order, after, checked(first))
        return Connection(items=[mod_node(m) for m in page.items], next_cursor=page.next_cursor)


@strawberry.type
class CatalogQuery:
    @strawberry.field(description="A game by slug or id.")
    async def game(self, info: Info[Any, Any], name: str) -> GameNode | None:
        own = loaders(info)
        if is_id("game", name):
            name = (await service.find_game(own.platform, name))["slug"]
        found = await own.games.load(name)
        return game_node(found) if found else None

    @strawberry.field(description="All games, by slug.")
    async def games(self, info: Info[Any, Any], first: First = 20, after: str | None = None) -> Connection[GameNode]:
        page = await service.list_games(loaders(info).platform, after, checked(first))
        return Connection(items=[game_node(g) for g in page.items], next_cursor=page.next_cursor)

    @strawberry.field(description="A mod by its id, or by its game and its slug or number.")
    async def mod(self, info: Info[Any, Any], name: str, game: str | None = None) -> ModNode | None:
        own = loaders(info)
        try:
            row = await own.mods.load(await service.resolve_mod(own.platform, game or "", name))
        except NotFoundError:
            return None
        return mod_node(row.mod) if row else None

    @strawberry.field(description="Mods by id, up to 100; null where there is none or you may not see it.")
    async def mods(self, info: Info[Any, Any], ids: list[strawberry.ID]) -> list[ModNode | None]:
        checked(len(ids) or 1)
        numbers = [decode("mod", i) if is_id("mod", i) else -1 for i in ids]
        rows = await loaders(info).mods.load_many(numbers)
        return [mod_node(row.mod) if row else None for row in rows]

    @strawberry.field(description="A release by its id.")
    async def release(self, info: Info[Any, Any], id: strawberry.ID) -> ReleaseNode | None:  # noqa: A002
        own = loaders(info)
        try:
            return release_node((await service.see_release(own.platform, own.actor, id))[1])
        except NotFoundError:
            return None


def game_node(game: GameModel) -> GameNode:
    return GameNode(
        id=strawberry.ID(game.id), slug=game.slug, name=game.name, summary=game.summary,
        version_scheme=game.version_scheme,
    )  # fmt: skip


def mod_node(mod: ModSummary | Mod) -> ModNode:
    return ModNode(
        id=strawberry.ID(mod.id), number=mod.number, slug=mod.slug, name=mod.name, summary=mod.summary,
        authors=mod.authors, category=mod.category, tags=mod.tags, visibility=mod.visibility,
        downloads=mod.downloads, published_at=mod.published_at, updated_at=mod.updated_at,
        game_slug=mod.game, number_id=decode("mod", mod.id),
    )  # fmt: skip


def chain_node(chain: ChainModel) -> ChainNode:
    return ChainNode(
        id=strawberry.ID(chain.id), package=chain.package, slug=chain.slug, name=chain.name,
        category=chain.category, is_default=chain.is_default, mod_id=decode("mod", chain.mod),
    )  # fmt: skip


def release_node(release: Release) -> ReleaseNode:
    files = [
        FileNode(
            file_name=f.file_name, role=f.role, loaders=f.loaders, os=f.os, side=f.side,
            size=None if f.size is None else str(f.size), sha256=f.sha256, url=f.url,
        )
        for f in release.artifacts
    ]  # fmt: skip
    return ReleaseNode(
        id=strawberry.ID(release.id), version=release.version, channel=release.channel, state=release.state,
        state_reason=release.state_reason, changelog=release.changelog, package=release.package,
        published_at=release.published_at, downloads=release.downloads, files=files,
        mod_id=decode("mod", release.mod),
    )  # fmt: skip


def claim_node(claim: ClaimModel) -> ClaimNode:
    return ClaimNode(
        id=strawberry.ID(claim.id), package=claim.package, kind=claim.kind, target=claim.body.get("target"),
        range=claim.body.get("range"), source=claim.source, by=claim.by, at=claim.at,
    )  # fmt: skip

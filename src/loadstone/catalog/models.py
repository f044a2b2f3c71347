"""Games, mods, chains, releases, artifacts, claims, teams: what they are and who may see them."""

import datetime as dt
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from loadstone.identity.models import Actor
from loadstone.kernel.errors import ConflictError, GoneError, InvalidInputError
from loadstone.kernel.permissions import Rank, permission

Visibility = Literal["draft", "unlisted", "published", "hidden", "quarantined", "removed"]
ReleaseState = Literal["processing", "refused", "published", "yanked", "quarantined", "archived"]
Channel = Literal["release", "beta", "alpha"]
Side = Literal["both", "client", "server"]
ChainCategory = Literal["main", "optional", "miscellaneous", "patch"]
ClaimKind = Literal[
    "requires", "any_of", "provides", "conflicts", "discouraged", "recommends", "patches", "replaces",
    "order_after", "order_before", "works_with", "broken_in", "needs",
]  # fmt: skip
ClaimSource = Literal["author", "archive", "curator", "telemetry", "import"]

WRITE_MODS: Final = permission(
    "mods.write",
    "Make a mod, edit your own.",
    rank=Rank.MEMBER,
    scope="mods:write",
    changes=True,
    about="team",
)
MODERATE: Final = permission(
    "mods.moderate", "Hide, quarantine and restore mods and releases.",
    rank=Rank.MODERATOR, scope="moderate", changes=True,
)  # fmt: skip
ADMINISTER_GAMES: Final = permission(
    "games.administer", "Add and edit games.", rank=Rank.ADMIN, scope="admin", changes=True
)

Slug = Annotated[
    str,
    Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", description="a-z, 0-9, -"),
]
Title = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
Summary = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Description = Annotated[str, Meta(max_length=60_000, pattern=r"^[^\x00]*$", description="Markdown.")]
Tag = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[a-z0-9](?:[a-z0-9 .+_-]*[a-z0-9+])?$")]
VersionText = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")]
FileName = Annotated[str, Meta(min_length=1, max_length=200, pattern=r'^[^\x00-\x1f\x7f/\\:*?"<>|]+$')]
Link = Annotated[str, Meta(max_length=500, pattern=r"^https?://[^\s<>\"]+$")]
PackageName = Annotated[str, Meta(min_length=1, max_length=130, pattern=r"^[^\x00-\x20\x7f]+$")]


class Build(msgspec.Struct, frozen=True):
    """One version of a game; ``place`` orders them, oldest first."""

    name: str
    place: int
    released_at: dt.datetime | None = None


class Loader(msgspec.Struct, frozen=True):
    slug: str
    name: str


class Category(msgspec.Struct, frozen=True):
    """A category of a game; ``path`` is the slugs from the root, ``weapons/swords``."""

    id: str
    path: str
    name: str


class Game(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    slug: str
    name: str
    summary: str
    version_scheme: str
    created_at: dt.datetime


class GameDetail(Game, frozen=True, kw_only=True):
    """A game with what its mods are described by. Builds oldest first."""

    builds: list[Build]
    loaders: list[Loader]
    categories: list[Category]


class NewGame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    slug: Slug
    name: Title
    summary: Summary = ""
    version_scheme: str = "hybrid"
    builds: Annotated[list[VersionText], Meta(max_length=5000, description="Oldest first.")] = []
    loaders: Annotated[dict[Slug, Title], Meta(max_length=50)] = {}
    categories: Annotated[dict[str, Title], Meta(max_length=500, description="Path → name.")] = {}


class ModSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A mod as lists show it."""

    id: str
    game: str
    number: int
    slug: str
    name: str
    summary: str
    authors: list[str]
    category: str | None
    tags: list[str]
    visibility: Visibility
    downloads: int
    published_at: dt.datetime | None
    updated_at: dt.datetime


class Mod(ModSummary, frozen=True, kw_only=True):
    """A mod's page."""

    description: str
    licence: str
    links: dict[str, str]
    team: str | None
    visibility_reason: str
    source: str
    created_at: dt.datetime
    version: int
    """Counts edits; the ETag is made of it."""


class NewMod(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Title
    slug: Slug | None = None
    """Made from the name when it is not given."""
    summary: Summary = ""
    description: Description = ""
    category: str | None = None
    tags: Annotated[list[Tag], Meta(max_length=20)] = []
    licence: Annotated[str, Meta(max_length=100)] = ""
    visibility: Literal["draft", "unlisted", "published"] = "draft"


class ModChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields to change; those left out stay."""

    name: Title | msgspec.UnsetType = msgspec.UNSET
    slug: Slug | msgspec.UnsetType = msgspec.UNSET
    summary: Summary | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    category: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: Annotated[list[Tag], Meta(max_length=20)] | msgspec.UnsetType = msgspec.UNSET
    licence: Annotated[str, Meta(max_length=100)] | msgspec.UnsetType = msgspec.UNSET
    links: Annotated[dict[Slug, Link], Meta(max_length=20)] | msgspec.UnsetType = msgspec.UNSET
    visibility: Literal["draft", "unlisted", "published", "removed"] | msgspec.UnsetType = msgspec.UNSET


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """One line of updates of a mod; what the solver calls a package."""

    id: str
    mod: str
    package: str
    slug: str
    name: str
    category: ChainCategory
    is_default: bool


class NewChain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Title
    slug: Slug | None = None
    category: ChainCategory = "optional"


class ReleaseArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a release. Without ``artifact`` it lies elsewhere: at ``url``, where one is known."""

    artifact: str | None
    file_name: str
    role: str
    loaders: list[str]
    os: list[str]
    side: Side
    size: int | None
    sha256: str | None
    url: str | None = None
    md5: str | None = None
    sha1: str | None = None
    sha512: str | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    mod: str
    chain: str
    package: str
    version: str
    channel: Channel
    line: str
    place: int
    """Its order in the chain, oldest first."""
    state: ReleaseState
    state_reason: str
    changelog: str
    created_at: dt.datetime
    published_at: dt.datetime | None
    downloads: int
    artifacts: list[ReleaseArtifact]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A fact about a chain or one of its releases, who said it and when."""

    id: str
    package: str
    release: str | None
    kind: ClaimKind
    body: dict[str, Any]
    source: ClaimSource
    at: dt.datetime
    by: str | None = None


class Alternative(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of several packages that would do."""

    target: PackageName
    range: Annotated[str, Meta(max_length=200)] | None = None


class NewClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fact to be claimed.

    ``target`` names another package (requires, conflicts, recommends, …) or a virtual name (provides);
    ``range`` narrows its versions; ``any_of`` lists alternatives; ``builds`` are the first and last game
    build (works_with, broken_in).
    """

    kind: ClaimKind
    target: PackageName | None = None
    range: Annotated[str, Meta(max_length=200)] | None = None
    any_of: Annotated[list[Alternative], Meta(max_length=100)] | None = None
    builds: Annotated[list[VersionText | None], Meta(min_length=2, max_length=2)] | None = None
    loader: Slug | None = None
    side: Side | None = None
    note: Annotated[str, Meta(max_length=300)] = ""


class Image(msgspec.Struct, frozen=True):
    """A picture of a mod's gallery; ``url`` is on this site."""

    id: str
    url: str
    width: int
    height: int
    caption: str


class Entry(msgspec.Struct, frozen=True):
    """A file inside an artifact."""

    path: str
    size: int
    sha256: str
    kind: str


class SlugTakenError(ConflictError):
    code = "slug-taken"
    title = "This address belongs to another mod of the game; take another slug"


class GameExistsError(ConflictError):
    code = "game-exists"
    title = "A game has this slug already"


class BadImageError(InvalidInputError):
    code = "bad-image"
    title = "This is no PNG, JPEG, WebP or GIF that can be read, or it is too large; save it anew and try again"


class TooManyImagesError(ConflictError):
    code = "too-many-images"
    title = "The gallery is full; remove a picture first"


class UnknownCategoryError(InvalidInputError):
    code = "unknown-category"
    title = "The game has no such category; read the game to see those it has"


class UnknownPackageError(InvalidInputError):
    code = "unknown-package"
    title = "The claim names nothing that could be a package"


class RemovedError(GoneError):
    code = "removed"
    title = "This mod was removed by its team or a moderator"


class NotPublishableError(ConflictError):
    code = "not-publishable"
    title = "A mod that moderators hid or quarantined is shown again by them, not by its team"


SHOWN: Final = frozenset({"published"})
"""What lists, search and feeds show."""
REACHABLE: Final = frozenset({"published", "unlisted"})
"""What anyone who has the address may read and fetch."""
FETCHABLE: Final = frozenset({"published", "yanked", "archived"})
"""Releases whose bytes may be fetched; a yanked or archived one is only never newly chosen."""


def may_see_mod(actor: Actor, visibility: Visibility, *, in_team: bool) -> bool:
    """The visibility rule (law 3) for a mod; every reader goes through it.

    Published and unlisted ones are everyone's; drafts and hidden ones their team's and moderators';
    quarantined ones too, but their bytes are nobody's but moderators'; removed ones moderators' alone.
    """
    if visibility in REACHABLE:
        return True
    if actor.is_moderator:
        return True
    return in_team and visibility != "removed"


def may_see_release(actor: Actor, state: ReleaseState, *, in_team: bool) -> bool:
    """The visibility rule for a release of a mod that the actor may see."""
    return state in FETCHABLE or in_team or actor.is_moderator


def may_fetch(actor: Actor, visibility: Visibility, state: ReleaseState, verdict: str, *, in_team: bool) -> bool:
    """The visibility rule for bytes; without a clean verdict they are the team's and moderators' (law 4)."""
    if actor.is_moderator:
        return True
    if visibility == "quarantined" or state == "quarantined" or verdict in {"refused", "quarantined"}:
        return False
    if in_team and visibility != "removed":
        return True
    return visibility in REACHABLE and state in FETCHABLE and verdict == "clean"

"""Asking for a plan, and the plan."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from loadstone.catalog.models import Channel
from loadstone.compat.lockfile import LockedEntry, LockedLoader, Lockfile
from loadstone.kernel.errors import InvalidInputError, UnavailableError

MOST_WANTED: Final = 2000
MOST_INSTALLED: Final = 4000
MOST_CHECKED: Final = 2000

Name = Annotated[str, Meta(min_length=1, max_length=130, pattern=r"^[^\x00-\x20\x7f]+$")]
Text = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Range = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Side = Literal["client", "server"]
Os = Literal["windows", "linux", "macos"]
Policy = Literal["newest", "minimal_change", "oldest"]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that must be there: a mod (slug, number or id; its default chain is meant) or a package.

    ``range`` is in the game's version scheme; ``version`` as written or ``release`` (id) pin it.
    """

    mod: Name | None = None
    package: Name | None = None
    range: Range | None = None
    version: Text | None = None
    release: Text | None = None


class Installed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is there of a package: a release's id, or its version where that is all one knows."""

    package: Name
    release: Text | None = None
    version: Text | None = None


class ResolveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is asked for and where it is to run.

    Without ``build`` any game build will do. ``minimal_change`` keeps what is ``installed`` as far as it can.
    ``choices`` answer earlier questions: name asked for → package. ``owned`` are packages of DLCs. With
    ``lockfile``, a plan comes with its lockfile, which is for one ``build``; ``loader_version`` is noted in it.
    """

    game: Name
    wanted: Annotated[list[Wanted], Meta(min_length=1, max_length=MOST_WANTED)]
    installed: Annotated[list[Installed], Meta(max_length=MOST_INSTALLED)] = []
    build: Text | None = None
    loader: Text | None = None
    os: Os | None = None
    side: Side | None = None
    policy: Policy = "newest"
    channels: Annotated[list[Channel], Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["release"]
    )
    package_channels: Annotated[dict[Name, Channel], Meta(max_length=100)] = {}
    choices: Annotated[dict[Name, Name], Meta(max_length=200)] = {}
    owned: Annotated[list[Name], Meta(max_length=200)] = []
    recommends: bool = False
    lockfile: bool = False
    loader_version: Text | None = None


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a planned release, number ``file`` of it. Not ``here``: it lies at ``url``, if that is known."""

    file: int
    file_name: str
    role: str
    size: int | None
    sha256: str | None
    here: bool
    url: str | None = None


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One release to be there. ``needed_by`` are packages; ``was`` the installed version where it differs.

    ``installed``: nothing asks for it, but it was there and nothing speaks against it.
    """

    mod: str
    mod_slug: str
    mod_name: str
    package: str
    chain: str
    release: str
    version: str
    reason: Literal["requested", "required", "installed"]
    needed_by: list[str]
    was: str | None
    artifacts: list[PlanFile]


class Option(msgspec.Struct, frozen=True):
    package: str
    name: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Several packages would do; ``chosen`` is in the plan, the first option is the default."""

    asked_for: list[str]
    asked_by: str
    options: list[Option]
    chosen: str
    claims: list[str]


class Note(msgspec.Struct, frozen=True):
    """Something to know about the plan."""

    kind: str
    text: str
    package: str
    claims: list[str]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence of why there is no plan; ``claims`` and ``sources`` say who said so, ``parent`` what it
    follows up.
    """

    kind: str
    text: str
    claims: list[str]
    sources: list[str]
    packages: list[str]
    parent: int | None


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """A way out that was tried and holds; the least change first.

    What to change in the request: packages not to ask for any more (``drop``), to ask for at any version
    (``loosen``) or instead (``substitute``, old → new), DLCs to ``own``, channels to accept for packages, another
    build or loader. ``accept_build``: mods made for that build have to be put up with.
    """

    kind: str
    text: str
    cost: int
    drop: list[str] = []
    loosen: list[str] = []
    substitute: dict[str, str] = {}
    own: list[str] = []
    accept_channel: dict[str, str] = {}
    accept_build: str | None = None
    use_build: str | None = None
    use_loader: str | None = None


class OrderPair(msgspec.Struct, frozen=True):
    """``first`` loads before ``then``."""

    first: str
    then: str


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. ``solved`` has a plan; ``unsatisfiable`` facts and repairs; ``gave_up`` a reason in notes."""

    status: Literal["solved", "unsatisfiable", "gave_up"]
    game: str
    build: str | None
    loader: str | None
    plan: list[PlanEntry] = []
    order: list[OrderPair] = []
    questions: list[Question] = []
    notes: list[Note] = []
    facts: list[Fact] = []
    repairs: list[Repair] = []
    lockfile: Lockfile | None = None


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something installed: a release by its id, or a package (or mod) at a version."""

    release: Annotated[str, Meta(max_length=40)] | None = None
    package: Name | None = None
    version: Text | None = None


class CheckRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is installed and where it runs; ``going_to`` is another build that the game may be brought to."""

    game: Name
    installed: Annotated[list[Held], Meta(min_length=1, max_length=MOST_CHECKED)]
    build: Text | None = None
    going_to: Text | None = None
    loader: Text | None = None
    os: Os | None = None
    side: Side | None = None
    channels: Annotated[list[Channel], Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["release", "beta", "alpha"]
    )
    owned: Annotated[list[Name], Meta(max_length=200)] = []


class Said(msgspec.Struct, frozen=True):
    """Who says so: a claim, where it comes from, and what its author added in words."""

    claim: str
    source: str
    note: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, in a sentence. ``item`` is the place in ``installed``, where it is about one."""

    kind: str
    text: str
    package: str
    item: int | None
    said: list[Said]


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What going to another build would mean: what it breaks, and what it mends."""

    build: str
    sound: bool
    breaks: list[Finding]
    mends: list[Finding]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """``sound`` means that nothing in ``problems`` stands against what is installed; ``warnings`` do not count."""

    sound: bool
    game: str
    build: str | None
    problems: list[Finding]
    warnings: list[Finding]
    going_to: Move | None = None


class Have(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something installed: a release by its id, or a file by its SHA-256 (hex)."""

    release: Annotated[str, Meta(max_length=40)] | None = None
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None


class UpdatesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is installed, of any games, and where it runs."""

    items: Annotated[list[Have], Meta(min_length=1, max_length=MOST_INSTALLED)]
    build: Text | None = None
    loader: Text | None = None
    os: Os | None = None
    side: Side | None = None
    channels: Annotated[list[Channel], Meta(min_length=1, max_length=3)] = msgspec.field(
        default_factory=lambda: ["release"]
    )


class Newest(msgspec.Struct, frozen=True):
    release: str
    version: str


Status = Literal["newest", "update", "replace", "nothing_fits", "unknown"]


class UpdateState(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one installed thing.

    ``newest``: nothing newer fits. ``update``: something newer does. ``replace``: it does not fit (any more, or
    was withdrawn) and something older does. ``nothing_fits``: neither it nor any other release of its package.
    ``unknown``: not known here, or taken away.
    """

    release: str | None
    sha256: str | None
    status: Status
    package: str | None = None
    version: str | None = None
    newest: Newest | None = None


class Updates(msgspec.Struct, frozen=True):
    """One answer for each item, in the order asked."""

    items: list[UpdateState]


Standing = Literal["installable", "uninstallable", "no_release", "undecided", "unknown"]


class Installability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a package can be installed on a build at all.

    ``installable``: ``newest`` is the newest release that can. ``uninstallable``: releases seem to fit, but what
    they need cannot be had. ``no_release``: none is made for the build. ``undecided``: not found out within the
    bounds. ``unknown``: this game has nothing of that name, which ``asked`` repeats. ``reason`` says why not; it
    is null where it was not worked out in this answer, which asking again for fewer mods brings.
    """

    package: str | None
    mod: str | None
    mod_name: str | None
    standing: Standing
    asked: str | None = None
    newest: Newest | None = None
    reason: list[Fact] | None = None


class Standings(msgspec.Struct, frozen=True, kw_only=True):
    """Packages by name, and how many of the game's listed ones stand how on this build."""

    game: str
    build: str | None
    counts: dict[Standing, int]
    items: list[Installability]
    next_cursor: str | None = None


class LockfilesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two lockfiles of one game."""

    before: dict[str, Any]
    after: dict[str, Any]


class LockfileChange(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that both hold in different ways: which fields differ, and which way its version went."""

    mod: str
    chain: str
    before: LockedEntry
    after: LockedEntry
    direction: Literal["up", "down", "same", "unknown"]
    parts: list[str]


class LockfileChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What differs from ``before`` to ``after``. Pairs are [before, after], null where nothing changed."""

    same: bool
    added: list[LockedEntry]
    removed: list[LockedEntry]
    changed: list[LockfileChange]
    unchanged: int
    game_build: list[str] | None
    loader: list[LockedLoader | None] | None
    load_order_changed: bool


class BadLockfileError(InvalidInputError):
    code = "bad-lockfile"
    title = "A lockfile cannot be used"


class UnlockableError(InvalidInputError):
    code = "unlockable"
    title = "A lockfile cannot be made of this plan"


class UnknownWantedError(InvalidInputError):
    code = "unknown-wanted"
    title = "The request names something that this game does not have"


class BadRangeError(InvalidInputError):
    code = "bad-range"
    title = "A range is not in the syntax of the game's version scheme"


class SolverBusyError(UnavailableError):
    code = "solver-busy"
    title = "Many plans are being made at the moment; try again in a few seconds"

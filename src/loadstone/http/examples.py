"""One example for every operation of the API, made of the very structs that it takes and gives.

A struct that changes breaks its example at once, and the tests send the requests to the real application.
"""

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from loadstone.catalog import models as catalog
from loadstone.catalog.routes import ReleaseChange, Verdict
from loadstone.compat.lockfile import Lockfile, seal
from loadstone.delivery.models import Ticket, TicketOutcome, TicketRequest, Tickets, TicketsRequest
from loadstone.delivery.models import Wanted as WantedFile
from loadstone.discovery.models import FacetCount, Facets, SearchPage
from loadstone.http.graphql import Document
from loadstone.identity.models import Account, Credentials, Member, NewToken, Registration, Token
from loadstone.installs.models import (
    Check,
    CheckRequest,
    Finding,
    Have,
    Held,
    Installability,
    LockfileChanges,
    LockfilesRequest,
    Newest,
    PlanEntry,
    PlanFile,
    Resolution,
    ResolveRequest,
    Said,
    Standings,
    Updates,
    UpdatesRequest,
    UpdateState,
)
from loadstone.installs.models import Wanted as WantedMod
from loadstone.kernel.ids import encode
from loadstone.kernel.pages import Page
from loadstone.publishing.models import NewArtifact, NewRelease, Processing, Stage, Upload

_AT: Final = dt.datetime(2026, 5, 4, 12, 0, tzinfo=dt.UTC)
_LATER: Final = _AT + dt.timedelta(minutes=1)
_SHA256: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SIZE: Final = 1_048_576
# A number as the platform makes them: milliseconds since 1970 in the upper bits.
_NUMBER: Final = 0x0019_5B2C_4D00_0000

GAME: Final = "starfall"
MOD: Final = encode("mod", _NUMBER + 1)
CHAIN: Final = encode("chain", _NUMBER + 2)
RELEASE: Final = encode("release", _NUMBER + 3)
CLAIM: Final = encode("claim", _NUMBER + 4)
UPLOAD: Final = encode("upload", _NUMBER + 5)
TICKET: Final = encode("grant", _NUMBER + 6)
IMAGE: Final = encode("image", _NUMBER + 7)
TOKEN: Final = encode("token", _NUMBER + 8)
MEMBER: Final = encode("member", _NUMBER + 9)
PACKAGE: Final = "sharper-swords"

PATHS: Final[Mapping[str, str]] = {
    "game": GAME, "mod": MOD, "release": RELEASE, "claim": CLAIM, "upload": UPLOAD, "ticket": TICKET,
    "image": IMAGE, "token": TOKEN, "name": "ada",
}  # fmt: skip
"""An example for each parameter of a path."""


class Example(msgspec.Struct, frozen=True):
    """What one operation is sent and what it answers; None where there is no JSON."""

    request: Any = None
    answer: Any = None


def _mod() -> catalog.Mod:
    return catalog.Mod(
        id=MOD, game=GAME, number=7, slug="sharper-swords", name="Sharper Swords", summary="Swords that cut better.",
        authors=["ada"], category="weapons/swords", tags=["swords"], visibility="published", downloads=1200,
        published_at=_AT, updated_at=_LATER, description="Every sword is **sharper**.", licence="MIT", links={},
        team="ada", visibility_reason="", source="local", created_at=_AT, version=3,
    )  # fmt: skip


def _summary() -> catalog.ModSummary:
    mod = msgspec.structs.asdict(_mod())
    return catalog.ModSummary(**{f: mod[f] for f in catalog.ModSummary.__struct_fields__})


def _game() -> catalog.GameDetail:
    return catalog.GameDetail(
        id=encode("game", _NUMBER), slug=GAME, name="Starfall", summary="A quiet game of falling stars.",
        version_scheme="hybrid", created_at=_AT, builds=[catalog.Build("1.0", 0), catalog.Build("1.1", 1)],
        loaders=[catalog.Loader("forge", "Forge")],
        categories=[
            catalog.Category(encode("category", _NUMBER + 10), "weapons", "Weapons"),
            catalog.Category(encode("category", _NUMBER + 11), "weapons/swords", "Swords"),
        ],
    )  # fmt: skip


def _listed_game() -> catalog.Game:
    game = msgspec.structs.asdict(_game())
    return catalog.Game(**{f: game[f] for f in catalog.Game.__struct_fields__})


def _chain(slug: str = "textures", name: str = "Textures") -> catalog.Chain:
    return catalog.Chain(
        id=CHAIN, mod=MOD, package=f"{PACKAGE}/{slug}", slug=slug, name=name, category="optional", is_default=False
    )


def _release(state: catalog.ReleaseState = "published") -> catalog.Release:
    file = catalog.ReleaseArtifact(
        artifact=encode("artifact", _NUMBER + 12), file_name="sharper-swords.zip", role="main", loaders=["forge"],
        os=[], side="both", size=_SIZE, sha256=_SHA256,
    )  # fmt: skip
    return catalog.Release(
        id=RELEASE, mod=MOD, chain=CHAIN, package=PACKAGE, version="1.0", channel="release", line="", place=1,
        state=state, state_reason="", changelog="First release.", created_at=_AT,
        published_at=_LATER if state == "published" else None, downloads=1200, artifacts=[file],
    )  # fmt: skip


def _claim() -> catalog.Claim:
    return catalog.Claim(
        id=CLAIM, package=PACKAGE, release=None, kind="requires", body={"target": "forge-tools", "range": ">=2"},
        source="author", at=_AT, by="ada",
    )  # fmt: skip


def _image() -> catalog.Image:
    return catalog.Image(id=IMAGE, url=f"/media/{IMAGE}.webp", width=1280, height=720, caption="The forge at night")


def _account() -> Account:
    return Account(id=MEMBER, name="ada", email="ada@example.org", roles=[], created_at=_AT)


def _token(secret: str | None = None) -> Token:
    return Token(
        id=TOKEN, name="My mod manager", hint="lds_4h7", scopes=["downloads"], created_at=_AT,
        expires_at=_AT + dt.timedelta(days=90), secret=secret,
    )  # fmt: skip


def _upload() -> Upload:
    return Upload(
        id=UPLOAD, length=_SIZE, received=_SIZE, state="complete", file_name="sharper-swords.zip", sha256=_SHA256,
        created_at=_AT, expires_at=_AT + dt.timedelta(days=1),
    )  # fmt: skip


def _stages() -> list[Stage]:
    return [
        Stage(stage="store", state="done", detail="", started_at=_AT, finished_at=_LATER),
        Stage(stage="digests", state="running", detail="", started_at=_LATER, finished_at=None),
        Stage(stage="inspect", state="waiting", detail="", started_at=None, finished_at=None),
        Stage(stage="publish", state="waiting", detail="", started_at=None, finished_at=None),
    ]


def _ticket() -> Ticket:
    return Ticket(
        id=TICKET, release=RELEASE, file=0, url="/files/k1.…/sharper-swords.zip", expires_at=_LATER,
        file_name="sharper-swords.zip", size=_SIZE, sha256=_SHA256,
    )  # fmt: skip


def _resolution() -> Resolution:
    file = PlanFile(file=0, file_name="sharper-swords.zip", role="main", size=_SIZE, sha256=_SHA256, here=True)
    entry = PlanEntry(
        mod=MOD, mod_slug="sharper-swords", mod_name="Sharper Swords", package=PACKAGE, chain="main",
        release=RELEASE, version="1.0", reason="requested", needed_by=[], was=None, artifacts=[file],
    )  # fmt: skip
    return Resolution(status="solved", game=GAME, build="1.1", loader="forge", plan=[entry])


def _update() -> UpdateState:
    newer = Newest(encode("release", _NUMBER + 13), "1.1")
    return UpdateState(
        release=RELEASE, sha256=None, status="update", package=PACKAGE, version="1.0", newest=newer
    )  # fmt: skip


def _found() -> SearchPage:
    facets = Facets(category=[FacetCount("weapons", 1)], tag=[FacetCount("swords", 1)], loader=[FacetCount("forge", 1)])
    return SearchPage(items=[_summary()], next_cursor=None, total=1, facets=facets)


def _new_release() -> NewRelease:
    return NewRelease(
        version="1.0",
        changelog="First release.",
        claims=[catalog.NewClaim(kind="works_with", builds=["1.0", "1.1"])],
        artifacts=[NewArtifact(upload=UPLOAD, loaders=["forge"])],
    )


def _new_game() -> catalog.NewGame:
    return catalog.NewGame(
        slug=GAME, name="Starfall", summary="A quiet game of falling stars.", builds=["1.0", "1.1"],
        loaders={"forge": "Forge"}, categories={"weapons": "Weapons", "weapons/swords": "Swords"},
    )  # fmt: skip


def _new_mod() -> catalog.NewMod:
    return catalog.NewMod(
        name="Sharper Swords", summary="Swords that cut better.", description="Every sword is **sharper**.",
        category="weapons/swords", tags=["swords"], licence="MIT", visibility="published",
    )  # fmt: skip


@cache
def examples() -> Mapping[str, Example]:
    """The examples by operationId."""
    password = "a lodestone points north"  # noqa: S105 - an example
    graph = 'query { game(name: "starfall") { name mods(first: 5) { items { name } next_cursor } } }'
    items = {"items": [{"name": "Sharper Swords"}], "next_cursor": None}
    return _identity(password) | _catalogue() | _publishing() | {
        "make_ticket": Example(TicketRequest(), _ticket()),
        "make_tickets": Example(
            TicketsRequest([WantedFile(RELEASE)], "dependency"),
            Tickets([TicketOutcome(release=RELEASE, file=0, ticket=_ticket())]),
        ),
        "renew_ticket": Example(answer=_ticket()),
        "search": Example(answer=_found()),
        "resolve": Example(
            ResolveRequest(game=GAME, wanted=[WantedMod(mod="sharper-swords")], build="1.1", loader="forge"),
            _resolution(),
        ),
        "check_updates": Example(
            UpdatesRequest(items=[Have(release=RELEASE)], build="1.1", loader="forge"),
            Updates([_update()]),
        ),
        "list_installability": Example(
            answer=Standings(
                game=GAME, build="1.1", counts={"installable": 1},
                items=[
                    Installability(
                        package=PACKAGE, mod=MOD, mod_name="Sharper Swords", standing="installable",
                        newest=Newest(RELEASE, "1.0"),
                    )
                ],
            )
        ),
        "diff_lockfiles": Example(
            LockfilesRequest(msgspec.to_builtins(_lockfile("1.0")), msgspec.to_builtins(_lockfile("1.1"))),
            LockfileChanges(
                same=False, added=[], removed=[], changed=[], unchanged=0, game_build=["1.0", "1.1"], loader=None,
                load_order_changed=False,
            ),
        ),
        "check_installed": Example(
            CheckRequest(game=GAME, installed=[Held(package="sharper-swords", version="1.0")], build="1.1"),
            _check(),
        ),
        "graphql": Example(Document(graph), {"data": {"game": {"name": "Starfall", "mods": items}}}),
        "sdl": Example(answer='"""A game whose mods are here."""\ntype Game {\n  id: ID!\n  slug: String!\n}'),
    }  # fmt: skip


def _lockfile(build: str) -> Lockfile:
    return seal(game=GAME, game_build=build, version_scheme="hybrid", entries=[])


def _check() -> Check:
    text = "Sharper Swords 1.0 needs Forge Tools >=2; it is not installed."
    missing = Finding(kind="missing", text=text, package=PACKAGE, item=0, said=[Said(CLAIM, "author", "")])
    return Check(sound=False, game=GAME, build="1.1", problems=[missing], warnings=[])


def _identity(password: str) -> dict[str, Example]:
    return {
        "register": Example(Registration("ada", "ada@example.org", password), _account()),
        "log_in": Example(
            Credentials("ada", password), {"name": "ada", "expires_at": _AT + dt.timedelta(days=30), "csrf": "Jx2…"}
        ),
        "log_out": Example(),
        "me": Example(answer=_account()),
        "profile": Example(answer=Member(id=MEMBER, name="ada", roles=[], created_at=_AT)),
        "make_token": Example(NewToken("My mod manager", ["downloads"], 90), _token("lds_4h7…")),
        "list_tokens": Example(answer=Page([_token()])),
        "revoke_token": Example(),
    }


def _catalogue() -> dict[str, Example]:
    return {
        "list_games": Example(answer=Page([_listed_game()])),
        "add_game": Example(_new_game(), _game()),
        "read_game": Example(answer=_game()),
        "browse": Example(answer=Page([_summary()])),
        "make_mod": Example(_new_mod(), _mod()),
        "read_mod_by_name": Example(answer=_mod()),
        "read_mod": Example(answer=_mod()),
        "change_mod": Example(catalog.ModChange(summary="Swords that cut best.", tags=["blades", "swords"]), _mod()),
        "moderate_mod": Example(Verdict("published", "Looked at again; it is fine."), _mod()),
        "list_chains": Example(answer=[_chain()]),
        "add_chain": Example(catalog.NewChain(name="Textures"), _chain()),
        "list_releases": Example(answer=Page([_release()])),
        "read_release": Example(answer=_release()),
        "act_on_release": Example(ReleaseChange("yank", "It loses savegames."), _release("yanked")),
        "list_entries": Example(answer=Page([catalog.Entry("mods/swords.cfg", 812, _SHA256, "file")])),
        "list_claims": Example(answer=[_claim()]),
        "add_claim": Example(catalog.NewClaim(kind="requires", target="forge-tools", range=">=2"), [_claim()]),
        "withdraw_claim": Example(),
        "dependents": Example(answer=Page([_summary()])),
        "my_mods": Example(answer=Page([_summary()])),
        "list_images": Example(answer=[_image()]),
        "add_image": Example(answer=_image()),
        "remove_image": Example(),
    }


def _publishing() -> dict[str, Example]:
    return {
        "start_upload": Example(),
        "list_uploads": Example(answer=Page([_upload()])),
        "read_upload": Example(answer=_upload()),
        "upload_offset": Example(),
        "send_bytes": Example(),
        "end_upload": Example(),
        "make_release": Example(_new_release(), Processing(release=_release("processing"), stages=_stages())),
        "read_stages": Example(answer=_stages()),
    }

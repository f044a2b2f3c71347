"""Demo content for an empty platform: two games, some mods with real files, an account for each role.

Everything goes the way that a creator's own work goes: accounts, mods, uploads, releases, the pipeline.
"""

import io
import json
import os
import zipfile
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from loadstone.catalog import authoring, pictures
from loadstone.catalog import service as catalog
from loadstone.catalog.models import NewGame, NewMod
from loadstone.identity import service as identity
from loadstone.identity.models import Actor, Registration, Role
from loadstone.kernel.config import Config
from loadstone.kernel.ids import decode
from loadstone.kernel.platform import Platform, open_platform
from loadstone.publishing import service as publishing
from loadstone.publishing import uploads
from loadstone.publishing.models import NewRelease

ACCOUNTS: Final[tuple[tuple[str, str, tuple[Role, ...]], ...]] = (
    ("player", "pia", ()),
    ("creator", "carl", ("creator",)),
    ("moderator", "mona", ("moderator",)),
    ("admin", "ada", ("admin",)),
)

GAMES: Final = (
    NewGame(
        slug="starfall", name="Starfall", summary="Build ships, fall through storms, trade what you find.",
        version_scheme="semver", builds=["1.0.0", "1.1.0", "1.2.0"],
        loaders={"keel": "Keel Loader"},
        categories={"ships": "Ships", "ships/engines": "Engines", "interface": "Interface", "world": "World"},
    ),
    NewGame(
        slug="embervale", name="Embervale", summary="A quiet valley, loud swords.",
        version_scheme="hybrid", builds=["0.9", "1.0", "1.05"],
        categories={"weapons": "Weapons", "weapons/swords": "Swords", "quests": "Quests"},
    ),
)  # fmt: skip


class Release(msgspec.Struct, frozen=True):
    version: str
    changelog: str
    requires: tuple[tuple[str, str], ...] = ()


class Demo(msgspec.Struct, frozen=True):
    game: str
    slug: str
    name: str
    summary: str
    category: str
    tags: tuple[str, ...]
    releases: tuple[Release, ...]
    colours: tuple[int, int] = (0x1B3A5B, 0xEF7F4D)


MODS: Final = (
    Demo("starfall", "keel-core", "Keel Core", "The library that most Starfall mods stand on.", "ships", ("library",),
         (Release("1.4.0", "First public release."), Release("2.0.0", "A new hook interface; old hooks are gone."))),
    Demo("starfall", "storm-charts", "Storm Charts", "Shows where the next storm breaks, on every map.", "interface",
         ("map", "quality of life"),
         (Release("0.8.0-beta.1", "For testers.", (("keel-core", ">=1.4 <2"),)),
          Release("1.0.0", "Charts remember what you have seen.", (("keel-core", "^2.0.0"),)))),
    Demo("starfall", "ember-blades", "Ember Blades", "Boarding swords with heat that shows.", "ships",
         ("weapons", "visual"),
         (Release("1.0.0", "Three blades.", (("keel-core", "^2.0.0"),)),
          Release("1.1.0", "A fourth blade, and quieter sheaths.", (("keel-core", "^2.0.0"),))), (0x30120B, 0xF2A65A)),
    Demo("starfall", "twin-engines", "Twin Engines", "Two engines where one was.", "ships/engines", ("engines",),
         (Release("1.2.3", "Fits the new hulls.", (("keel-core", ">=2"),)),), (0x12231C, 0x67D39C)),
    Demo("starfall", "calm-hud", "Calm HUD", "Fewer lights, same facts.", "interface", ("hud", "accessibility"),
         (Release("3.0.1", "Works beside Storm Charts.", (("storm-charts", ">=1.0.0"),)),), (0x20202A, 0x98A5B5)),
    Demo("embervale", "honest-steel", "Honest Steel", "Swords weigh what swords weigh.", "weapons/swords",
         ("realism",), (Release("1.0", "Weights for all blades."), Release("1.0 hotfix", "The rapier was an anvil."))),
    Demo("embervale", "long-way-home", "The Long Way Home", "Eleven quests along the old road.", "quests",
         ("quests", "story"), (Release("v2.3b", "Two new endings.", (("honest-steel", ""),)),), (0x2A2140, 0xF0C163)),
)  # fmt: skip


async def seed_if_empty(config: Config) -> bool:
    """Fill a platform that has no game and no member; returns whether it did."""
    async with open_platform(config) as platform:
        if (await catalog.list_games(platform, None, 1)).items or await identity.has_members(platform):
            return False
        await seed(platform)
        return True


async def seed(platform: Platform) -> None:
    """Make the demo content. The accounts' passwords go to ``DATA/demo.json`` (mode 0600)."""
    actors = await _accounts(platform)
    for game in GAMES:
        await authoring.add_game(platform, actors["admin"], game)
    for demo in MODS:
        await _mod(platform, actors["creator"], demo)


async def _accounts(platform: Platform) -> dict[str, Actor]:
    actors, accounts = {}, []
    for role, name, roles in ACCOUNTS:
        password = "-".join(platform.ids.secret(2).hex() for _ in range(4))
        account = await identity.make_member(
            platform, Registration(name, f"{name}@demo.invalid", password), roles=roles
        )
        actors[role] = Actor(decode("member", account.id), name, frozenset(roles))
        accounts.append({"role": role, "name": name, "password": password})
    path = platform.config.data / "demo.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"address": platform.config.address, "accounts": accounts}, file, indent=2)
    return actors


async def _mod(platform: Platform, creator: Actor, demo: Demo) -> None:
    mod = await authoring.make_mod(
        platform,
        creator,
        demo.game,
        NewMod(
            name=demo.name, slug=demo.slug, summary=demo.summary, description=_description(demo),
            category=demo.category, tags=list(demo.tags), licence="CC0-1.0", visibility="published",
        ),
    )  # fmt: skip
    mod_id = decode("mod", mod.id)
    await pictures.add(platform, creator, mod_id, _picture(demo), f"{demo.name}, at dusk")
    for release in demo.releases:
        data = _archive(demo, release)
        started = await uploads.start(platform, creator, len(data), {"filename": f"{demo.slug}-{release.version}.zip"})
        await uploads.send(platform, creator, started.id, offset=0, body=_once(data), size=len(data))
        claims: list[dict[str, Any]] = [
            {"kind": "requires", "target": target} | ({"range": range_} if range_ else {})
            for target, range_ in release.requires
        ]
        given = {
            "version": release.version, "changelog": release.changelog, "claims": claims,
            "artifacts": [{"upload": started.id}],
        }  # fmt: skip
        await publishing.make_release(platform, creator, mod_id, msgspec.convert(given, NewRelease))


def _description(demo: Demo) -> str:
    return f"""{demo.summary}

## What it does

- begins to work as soon as it is installed
- can be removed at any time

| file | what for |
|---|---|
| `{demo.slug}/mod.json` | what the game reads |
| `{demo.slug}/README.txt` | for you |

*This is demo content: the files are real archives, the game is not.*
"""


def _archive(demo: Demo, release: Release) -> bytes:
    """A small zip with the same bytes each time."""
    files = {
        f"{demo.slug}/README.txt": f"{demo.name} {release.version}\n\n{demo.summary}\n{release.changelog}\n",
        f"{demo.slug}/mod.json": json.dumps({"name": demo.slug, "version": release.version}, indent=1) + "\n",
        f"{demo.slug}/data/settings.ini": "[main]\nenabled = yes\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _picture(demo: Demo) -> bytes:
    """A sunset in the mod's two colours."""
    from PIL import Image, ImageDraw

    low, high = (tuple(colour.to_bytes(3, "big")) for colour in demo.colours)
    height = Image.linear_gradient("L").resize((1280, 720))
    bands = [
        height.point([top + (bottom - top) * step // 255 for step in range(256)])
        for top, bottom in zip(high, low, strict=True)
    ]
    picture = Image.merge("RGB", bands)
    draw = ImageDraw.Draw(picture)
    shift = sum(demo.slug.encode()) % 500
    draw.ellipse((300 + shift, 180, 520 + shift, 400), fill=high)
    for layer in range(4):
        points = [(x, 430 + 70 * layer + (x * (3 + layer) + shift * 7) % (90 + 30 * layer)) for x in range(0, 1400, 60)]
        shade = tuple(max(0, c - 9 * layer) for c in low)
        draw.polygon([(0, 720), *points, (1280, 720)], fill=shade)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data

"""Which packages of a game can be installed on a build at all, and why the others cannot."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from loadstone.catalog import knowledge
from loadstone.catalog import service as catalog
from loadstone.catalog.models import Mod
from loadstone.compat.universe import ABSENT
from loadstone.identity.models import ANONYMOUS
from loadstone.installs.keeping import Keeper, Swept, keeper_of
from loadstone.installs.models import Fact, Installability, Newest, SolverBusyError, Standing, Standings
from loadstone.installs.service import as_fact
from loadstone.installs.worlds import World
from loadstone.kernel.errors import FieldError, InvalidInputError
from loadstone.kernel.ids import decode
from loadstone.kernel.pages import read_cursor
from loadstone.kernel.platform import Platform

MOST_NAMED: Final = 1_000
_SECONDS: Final = 1.5
"""For how long reasons are looked for in one answer; those that were found are kept."""
_ATTEMPTS: Final = 4


async def standings(
    platform: Platform, game_name: str, build: str | None, mods: str | None, cursor: str | None, limit: int
) -> Standings:
    """A page of the game's listed packages by id, or those of ``mods`` (comma-separated) in the order asked.

    Raises :class:`NotFoundError` (no such game), :class:`InvalidInputError` (no such build, too many names, a
    cursor that this list did not give out), :class:`SolverBusyError`.
    """
    game = await catalog.find_game(platform, game_name)
    names = [name.strip() for name in (mods or "").split(",") if name.strip()]
    if len(names) > MOST_NAMED:
        raise InvalidInputError(f"{len(names)} mods are too many for one question; ask for {MOST_NAMED} at a time.")
    keeper = keeper_of(platform)
    list_name = f"installability {game['id']} {build}"
    after = read_cursor(platform.signer, list_name, cursor)
    for _ in range(_ATTEMPTS):
        world = await keeper.world(platform, game["id"], game["version_scheme"])
        if build is not None and not world.has_build(build):
            told = f"The game has no build “{build[:64]}”; read the game to see those it has."
            raise InvalidInputError(told, errors=[FieldError("?build", "unknown build")])
        swept = await keeper.swept(game["id"], world, build)
        more = False
        if names:
            asked = [(name, _package(world, name)) for name in names]
        else:
            listed = [package for package in world.listed() if after is None or package > after[0]]
            asked, more = [(package, package) for package in listed[:limit]], len(listed) > limit
        items = await _items(platform, keeper, game["id"], world, swept, asked, named=bool(names))
        if items is not None:
            key = asked[-1][0] if more else None
            return Standings(
                game=game["slug"],
                build=build,
                counts=_counts(world, swept),
                items=items,
                next_cursor=platform.signer.sign(f"cursor {list_name}", [key]) if key else None,
            )
    raise SolverBusyError("What this game has is changing faster than it can be told; try again in a moment.")


def _package(world: World, name: str) -> str | None:
    return world.package_of(name) or (name if world.mod_of(name) is not None else None)


async def _items(
    platform: Platform,
    keeper: Keeper,
    game_id: int,
    world: World,
    swept: Swept,
    asked: Sequence[tuple[str, str | None]],
    *,
    named: bool,
) -> list[Installability] | None:
    """None where something was taken away that the world still has; it is read anew then."""
    mod_ids = {package: world.mod_of(package) for _, package in asked if package}
    seen = await catalog.see_mods(platform, ANONYMOUS, [id_ for id_ in mod_ids.values() if id_ is not None])
    newest = {package: found for package in mod_ids if (found := _newest(swept, package))}
    ids = {package: decode("release", found.release) for package, found in newest.items()}
    offered = await knowledge.offered(platform, sorted(set(ids.values())))
    gone = [id_ for package, id_ in ids.items() if mod_ids[package] in seen and id_ not in offered]
    if gone:
        await keeper.doubt(platform, game_id, gone)
        return None
    visible = {
        package: seen[id_].mod
        for package, id_ in mod_ids.items()
        if id_ in seen and (named or seen[id_].mod.visibility == "published")
    }
    reasons = await keeper.workers.run(lambda: _reasons(swept, list(visible)))
    return [
        _item(swept, name if named else None, package, visible[package], newest, reasons)
        if package in visible
        else Installability(package=None, mod=None, mod_name=None, standing="unknown", asked=name)
        for name, package in asked
        if named or package in visible
    ]


def _item(
    swept: Swept,
    asked: str | None,
    package: str,
    mod: Mod,
    newest: dict[str, Newest],
    reasons: dict[str, list[Fact]],
) -> Installability:
    return Installability(
        package=package,
        mod=mod.id,
        mod_name=mod.name,
        standing=_standing(swept, package),
        asked=asked,
        newest=newest.get(package),
        reason=reasons.get(package),
    )


def _standing(swept: Swept, package: str) -> Standing:
    at = swept.sweep.universe.index.get(package)
    if at is None:
        return "unknown"
    if swept.sweep.installable.get(at, 0):
        return "installable"
    if not swept.sweep.view.base[at] & ~ABSENT:
        return "no_release"
    return "undecided" if swept.sweep.undecided.get(at, 0) else "uninstallable"


def _newest(swept: Swept, package: str) -> Newest | None:
    at = swept.sweep.universe.index.get(package, -1)
    mask = swept.sweep.installable.get(at, 0)
    if not mask:
        return None
    candidate = swept.sweep.universe.packages[at].candidate(mask & -mask)
    return Newest(candidate.release, candidate.version)


def _reasons(swept: Swept, packages: Sequence[str]) -> dict[str, list[Fact]]:
    """As many as there is time for."""
    until = time.monotonic() + _SECONDS
    found: dict[str, list[Fact]] = {}
    for package in packages:
        if _standing(swept, package) not in {"uninstallable", "no_release"}:
            continue
        if package not in swept.reasons and time.monotonic() > until:
            continue
        found[package] = [as_fact(fact) for fact in swept.reason(package)]
    return found


def _counts(world: World, swept: Swept) -> dict[Standing, int]:
    return dict(Counter(_standing(swept, package) for package in world.listed()))

"""Where a set of mods is to run, and what that leaves of each package's releases.

Surroundings are game builds, loader, operating system, side, owned DLCs and the channels that the player
tolerates. Most are given, and then they are a mask per package. A build or loader that the solver shall
choose itself is a package like any other (`@build`, `@loader`) that each release needs in some values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from loadstone.compat.clauses import Clause, Rulebook, Rules, Why
from loadstone.compat.universe import ABSENT, BUILD_AXIS, LOADER_AXIS, RULEBOOK, Universe, bits

Obstacle = Literal["build", "channel", "yanked", "quarantined", "loader", "os", "side", "dlc"]


class Surroundings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the plan has to fit.

    `builds` are the game builds that are all acceptable for each release by itself (none: any build).
    With `choose_build` the solver settles on exactly one of them (or of all builds) for the whole plan;
    `choose_loader` likewise. `channels` are tolerated; `package_channels` widens that for single packages.
    """

    builds: tuple[str, ...] = ()
    choose_build: bool = False
    loader: str | None = None
    choose_loader: bool = False
    os: str | None = None
    side: str | None = None
    owned: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("release",)
    package_channels: tuple[tuple[str, tuple[str, ...]], ...] = ()


class View:
    """A universe seen from one place: the values that each package may take there."""

    def __init__(
        self,
        universe: Universe,
        rulebook: Rulebook,
        surroundings: Surroundings,
        base: Sequence[int] = (),
    ) -> None:
        self.universe = universe
        self.surroundings = surroundings
        self._rulebook = rulebook
        self._spans = [universe.builds.span(build) for build in surroundings.builds]
        self._owned = frozenset(surroundings.owned)
        self._channels = frozenset(surroundings.channels)
        self._package_channels = dict(surroundings.package_channels)
        self.fits = rulebook.fits
        self.open_axes = [
            axis
            for axis, is_open in (
                (BUILD_AXIS, surroundings.choose_build),
                (LOADER_AXIS, surroundings.choose_loader),
            )
            if is_open
        ]
        self._axis_rules: dict[int, Rules] = {}
        self.base = list(base) or [self._base(i) for i in range(len(universe))]

    def for_universe(self, universe: Universe, touched: Iterable[int]) -> View:
        """The same view of a changed universe; only the packages that it touches are looked at again."""
        rulebook = universe.memo.get(RULEBOOK)
        if not isinstance(rulebook, Rulebook) or self.open_axes:
            return View(universe, Rulebook(universe), self.surroundings)
        new = View(universe, rulebook, self.surroundings, self.base)
        new.look_again(touched)
        return new

    def look_again(self, touched: Iterable[int]) -> None:
        """Work out the values of some packages anew."""
        for index in touched:
            self.base[index] = self._base(index)

    def rules(self, index: int) -> Rules:
        """The clauses of a package, with its needs of build and loader where those are to be chosen."""
        rules = self._rulebook.rules(index)
        if not self.open_axes or index in self.universe.axes.values():
            return rules
        known = self._axis_rules.get(index)
        if known is None:
            extra = [clause for axis in self.open_axes for clause in self._needs_of_axis(index, axis)]
            known = self._axis_rules[index] = Rules(index, [*rules.clauses, *extra], rules.softs)
        return known

    def axis_facts(self) -> list[Clause]:
        """For each axis that is to be chosen: it takes one of its accepted values."""
        found = []
        for axis in self.open_axes:
            index = self.universe.axes[axis]
            mask = self.base[index] & ~ABSENT
            found.append(Clause(((index, mask),), Why("axis-choice", index, mask, (), (), axis)))
        return found

    def blocked(self, index: int) -> list[tuple[Obstacle, int]]:
        """Why releases of a package are out of reach here: each obstacle with the releases it stops."""
        package = self.universe.packages[index]
        found: list[tuple[Obstacle, int]] = []
        for obstacle, passed in self._passed(index):
            stopped = package.present & ~passed
            if stopped:
                found.append((obstacle, stopped))
        return found

    def _base(self, index: int) -> int:
        universe = self.universe
        if index >= universe.first_axis:
            return self._axis_base(index)
        mask = universe.packages[index].present
        for _, passed in self._passed(index):
            mask &= passed
            if not mask:
                break
        return mask | ABSENT

    def _axis_base(self, index: int) -> int:
        universe = self.universe
        axis = universe.packages[index].package.id
        if axis not in self.open_axes:
            return ABSENT
        if axis == BUILD_AXIS and self._spans:
            spans = [universe.builds.span(c.version) for c in universe.packages[index].package.candidates]
            return (
                sum(
                    2 << i
                    for i, (first, last) in enumerate(spans)
                    if any(first <= high and low <= last for low, high in self._spans)
                )
                | ABSENT
            )
        return universe.packages[index].every

    def _passed(self, index: int) -> Iterable[tuple[Obstacle, int]]:
        fit = self.fits(index)
        package = self.universe.packages[index].package
        here = self.surroundings
        if package.kind == "dlc":
            yield "dlc", -1 if package.id in self._owned else 0
            return
        if fit.builds and self._spans and not here.choose_build:
            yield "build", fit.for_builds(self._spans)
        tolerated = self._package_channels.get(package.id)
        channels = self._channels if tolerated is None else self._channels.union(tolerated)
        yield "channel", ~sum(mask for channel, mask in fit.channels if channel not in channels)
        if fit.yanked:
            yield "yanked", ~fit.yanked
        if fit.quarantined:
            yield "quarantined", ~fit.quarantined
        if fit.loaders and here.loader is not None and not here.choose_loader:
            yield "loader", fit.for_value(fit.loaders, here.loader)
        if fit.oses and here.os is not None:
            yield "os", fit.for_value(fit.oses, here.os)
        if fit.sides and here.side is not None:
            yield "side", fit.for_value(fit.sides, here.side)

    def _needs_of_axis(self, index: int, axis: str) -> Iterable[Clause]:
        """One clause for each group of releases that need the same values of the axis."""
        universe = self.universe
        fit = self.fits(index)
        if universe.packages[index].package.kind == "dlc":
            return
        at = universe.axes[axis]
        groups: dict[int, int] = {}
        for i, candidate in enumerate(universe.packages[at].package.candidates):
            if axis == BUILD_AXIS:
                fitting = fit.for_builds([universe.builds.span(candidate.version)])
            else:
                fitting = fit.for_value(fit.loaders, candidate.version)
            for bit in bits(universe.packages[index].present & fitting):
                groups[bit] = groups.get(bit, 0) | 2 << i
        by_values: dict[int, int] = {}
        for bit in bits(universe.packages[index].present):
            values = groups.get(bit, 0)
            by_values[values] = by_values.get(values, 0) | bit
        every = universe.packages[index].every
        for values, mask in by_values.items():
            if values != universe.packages[at].present:
                literals = ((index, every & ~mask), (at, values | ABSENT))
                yield Clause(literals, Why("axis", index, mask, (), (), axis))

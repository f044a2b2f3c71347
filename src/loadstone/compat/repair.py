"""Ways out of an impossible request. Every one that is offered was solved and holds.

Repairs change as little as they can and are ranked by that: accept or own something, loosen a pin, take
the successor, drop one mod, move to another game build, drop several.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from loadstone.compat.explain import Reasons
from loadstone.compat.search import Budget
from loadstone.compat.solving import GaveUp, Refuted, Request, Solved, Solving, Wanted
from loadstone.compat.universe import ABSENT, Universe, bits

RepairKind = Literal["own", "accept_channel", "loosen", "substitute", "drop", "use_build", "use_loader"]

TRIED_BUILDS = 8
TRIED_DROPS = 16
OFFERED = 6


class Repair(msgspec.Struct, frozen=True, omit_defaults=True):
    """A changed request that can be met. `cost` ranks: how much of what was asked for is given up.

    `drop` names what is not asked for any more, `substitute` (old, new) what is asked for instead,
    `use_build` and `use_loader` the other surroundings, `own` the DLC to get, `accept_channel`
    (package, channel) the channel to accept for one package. `plan_size` is the number of mods of the
    plan that proves it.
    """

    kind: RepairKind
    text: str
    cost: int
    drop: tuple[str, ...] = ()
    substitute: tuple[tuple[str, str], ...] = ()
    loosen: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    accept_channel: tuple[tuple[str, str], ...] = ()
    use_build: str | None = None
    use_loader: str | None = None
    plan_size: int = 0

    def apply(self, request: Request) -> Request:
        """The request with this repair made."""
        here = request.surroundings
        wanted = [w for w in request.wanted if w.name not in self.drop]
        heirs = dict(self.substitute)
        wanted = [Wanted(heirs[w.name]) if w.name in heirs else w for w in wanted]
        wanted = [Wanted(w.name) if w.name in self.loosen else w for w in wanted]
        here = msgspec.structs.replace(
            here,
            owned=(*here.owned, *self.own),
            package_channels=(*here.package_channels, *((p, (c,)) for p, c in self.accept_channel)),
            builds=here.builds if self.use_build is None else (self.use_build,),
            loader=here.loader if self.use_loader is None else self.use_loader,
        )
        return msgspec.structs.replace(request, wanted=tuple(wanted), surroundings=here)


class Mender:
    """Looks for repairs of one refuted request within a budget."""

    def __init__(self, universe: Universe, request: Request, reasons: Reasons, budget: Budget) -> None:
        self.universe = universe
        self.request = msgspec.structs.replace(
            request, explain=False, repairs=False, recommends=False, policy="newest", locked=()
        )
        self.reasons = reasons
        self.budget = budget

    def repairs(self) -> tuple[Repair, ...]:
        """Verified repairs, the smallest change first."""
        found: list[Repair] = []
        for repair in self._candidates():
            verified = self._verified(repair)
            if verified is not None:
                found.append(verified)
        if not any(repair.drop for repair in found):
            dropped = self._drop_several()
            if dropped is not None:
                found.append(dropped)
        found.sort(key=lambda repair: (repair.cost, repair.text))
        return tuple(found[:OFFERED])

    def _candidates(self) -> Iterable[Repair]:
        yield from self._reachable()
        yield from self._rewordings()
        for name in self.reasons.wanted()[:TRIED_DROPS]:
            if len(self.request.wanted) > 1:
                yield Repair("drop", f"Do without {self._shown(name)}.", 4, drop=(name,))
        yield from self._other_surroundings()

    def _reachable(self) -> Iterable[Repair]:
        """Releases that exist but are masked: a DLC to own, a channel to accept."""
        view = self.reasons.solving.view
        for at in self.reasons.packages("fits"):
            package = self.universe.packages[at].package
            for obstacle, mask in view.blocked(at):
                if obstacle == "dlc":
                    yield Repair("own", f"Get the DLC {package.name}.", 2, own=(package.id,))
                elif obstacle == "channel":
                    releases = [self.universe.packages[at].candidate(bit) for bit in bits(mask)]
                    for channel in sorted({release.channel for release in releases}):
                        text = f"Accept {channel} releases of {package.name}."
                        yield Repair("accept_channel", text, 1, accept_channel=((package.id, channel),))

    def _rewordings(self) -> Iterable[Repair]:
        involved = set(self.reasons.wanted())
        for wanted in self.request.wanted:
            if wanted.name not in involved:
                continue
            if wanted.range or wanted.version or wanted.release:
                pin = wanted.version or wanted.range or wanted.release
                text = f"Let {self._shown(wanted.name)} be any release instead of {pin}."
                yield Repair("loosen", text, 2, loosen=(wanted.name,))
            for claim in self.universe.replacements.get(wanted.name, ()):
                text = f"Take {self._shown(claim.subject)} in place of {self._shown(wanted.name)}."
                yield Repair("substitute", text, 3, substitute=((wanted.name, claim.subject),))

    def _other_surroundings(self) -> Iterable[Repair]:
        here = self.request.surroundings
        if here.builds and not here.choose_build:
            for build, distance in self._builds_nearby():
                text = f"Use game build {build}."
                yield Repair("use_build", text, 5 + distance, use_build=build)
        if here.loader is not None and not here.choose_loader:
            axis = self.universe.packages[self.universe.axes["@loader"]].package
            for candidate in axis.candidates[:TRIED_BUILDS]:
                if candidate.version != here.loader:
                    text = f"Use the loader {candidate.version}."
                    yield Repair("use_loader", text, 6, use_loader=candidate.version)

    def _builds_nearby(self) -> list[tuple[str, int]]:
        """Builds on which every involved wanted package has a release, nearest first."""
        line = self.universe.builds
        here = [line.span(build)[0] for build in self.request.surroundings.builds]
        involved = [self.universe.index[name] for name in self.reasons.wanted() if name in self.universe.index]
        found: list[tuple[int, str]] = []
        for build in line.builds:
            span = line.span(build)
            distance = min(abs(span[0] - at) for at in here)
            if distance and all(self._runs(at, span) for at in involved):
                found.append((distance, build))
        found.sort(key=lambda item: item[0])
        return [(build, rank) for rank, (_, build) in enumerate(found[:TRIED_BUILDS])]

    def _runs(self, at: int, span: tuple[int, int]) -> bool:
        fit = self.reasons.solving.view.fits(at)
        return not fit.builds or bool(fit.for_builds([span]) & ~ABSENT)

    def _drop_several(self) -> Repair | None:
        """Drop what cannot be had, one contradiction at a time, then take back what turns out to fit."""
        request = self.request
        dropped: list[str] = []
        for name in sorted({w.name for w in request.wanted}):
            alone = msgspec.structs.replace(request, wanted=tuple(w for w in request.wanted if w.name == name))
            if isinstance(self._solve(alone), Refuted):
                dropped.append(name)
        while len(dropped) < len(request.wanted):
            outcome, solving = self._attempt(_without(request, dropped))
            if isinstance(outcome, Solved):
                break
            if isinstance(outcome, GaveUp):
                return None
            dropped.append(self._least(Reasons(solving, outcome.core).wanted()))
        for name in list(dropped):
            fewer = [other for other in dropped if other != name]
            if isinstance(self._solve(_without(request, fewer)), Solved):
                dropped = fewer
        if not dropped or len(dropped) >= len({w.name for w in request.wanted}):
            return None
        shown = ", ".join(self._shown(name) for name in dropped)
        return self._verified(Repair("drop", f"Do without {shown}.", 4 * len(dropped), drop=tuple(sorted(dropped))))

    def _least(self, names: list[str]) -> str:
        """The one to part with: the least popular, then the last by name."""

        def worth(name: str) -> tuple[float, str]:
            at = self.universe.index.get(name)
            return (-1.0 if at is None else self.universe.packages[at].package.rank, name)

        return min(names, key=worth)

    def _verified(self, repair: Repair) -> Repair | None:
        outcome = self._solve(repair.apply(self.request))
        if not isinstance(outcome, Solved):
            return None
        return msgspec.structs.replace(repair, plan_size=len(outcome.plan))

    def _solve(self, request: Request) -> Solved | Refuted | GaveUp:
        return self._attempt(request)[0]

    def _attempt(self, request: Request) -> tuple[Solved | Refuted | GaveUp, Solving]:
        solving = Solving(self.universe, request, None)
        solving.budget = self.budget
        return solving.run(), solving

    def _shown(self, name: str) -> str:
        at = self.universe.index.get(name)
        return name if at is None else self.universe.packages[at].package.name


def _without(request: Request, dropped: list[str]) -> Request:
    wanted = tuple(w for w in request.wanted if w.name not in dropped)
    return msgspec.structs.replace(request, wanted=wanted)

"""Ways out of an impossible request. Every one that is offered was solved and holds.

Repairs change as little as they can and are ranked by that: accept or own something, loosen a pin, take
the successor, drop one mod, move to another game build, drop several.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from loadstone.compat.budget import Budget, OutOfBudgetError
from loadstone.compat.explain import MINIMISE_STEPS, Reasons
from loadstone.compat.search import Search
from loadstone.compat.solving import GaveUp, Refuted, Request, Solved, Solving, Wanted
from loadstone.compat.universe import ABSENT, STEP, Universe, bits

RepairKind = Literal["own", "accept_channel", "loosen", "substitute", "drop", "accept_build", "use_build", "use_loader"]

TRIED_BUILDS = 8
TRIED_DROPS = 16
OFFERED = 6
OFFERED_OF_A_KIND = 3
MAX_ROUNDS = 60
MAX_NAME = 100


class Repair(msgspec.Struct, frozen=True, omit_defaults=True):
    """A changed request that can be met. `cost` ranks: how much of what was asked for is given up.

    `drop` names what is not asked for any more, `substitute` (old, new) what is asked for instead,
    `use_build` and `use_loader` the other surroundings, `accept_build` the build whose mods are taken
    although they do not claim to run here, `own` the DLC to get, `accept_channel`
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
    accept_build: str | None = None
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
            builds=self._builds(here.builds),
            loader=here.loader if self.use_loader is None else self.use_loader,
        )
        return msgspec.structs.replace(request, wanted=tuple(wanted), surroundings=here)

    def _builds(self, builds: tuple[str, ...]) -> tuple[str, ...]:
        if self.use_build is not None:
            return (self.use_build,)
        return builds if self.accept_build is None else (*builds, self.accept_build)


class Mender:
    """Looks for repairs of one refuted request within a budget."""

    def __init__(self, universe: Universe, request: Request, reasons: Reasons, budget: Budget) -> None:
        self.universe = universe
        self.request = msgspec.structs.replace(
            request,
            wanted=tuple(sorted(set(request.wanted))),
            explain=False,
            repairs=False,
            recommends=False,
            policy="newest",
            locked=(),
        )
        self.reasons = reasons
        self.budget = budget

    def repairs(self) -> tuple[Repair, ...]:
        """Verified repairs, the smallest change first."""
        found: list[Repair] = []
        for repair in self._candidates():
            if sum(1 for other in found if other.kind == repair.kind) < OFFERED_OF_A_KIND:
                verified = self._verified(repair)
                if verified is not None:
                    found.append(verified)
        if not any(repair.drop for repair in found):
            dropped = self._drop_several(self.request)
            if dropped:
                cost = 4 * len(dropped)
                several = self._verified(Repair("drop", self._do_without(dropped), cost, drop=dropped))
                found.extend([] if several is None else [several])
        if not found:
            found.extend(self._elsewhere())
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
                if obstacle == "build":
                    yield from self._made_for_another_build(at, mask)
                elif obstacle == "dlc":
                    yield Repair("own", f"Get the DLC {package.name}.", 2, own=(package.id,))
                elif obstacle == "channel":
                    releases = [self.universe.packages[at].candidate(bit) for bit in bits(mask)]
                    for channel in sorted({release.channel for release in releases}):
                        text = f"Accept {channel} releases of {package.name}."
                        yield Repair("accept_channel", text, 1, accept_channel=((package.id, channel),))

    def _made_for_another_build(self, at: int, mask: int) -> Iterable[Repair]:
        """Take the newest release that is made for some other build, as players do between patches."""
        line = self.universe.builds
        newest = self.universe.packages[at].candidate(mask & -mask)
        spans = [self.universe.span_of(pair) for pair in newest.builds]
        fitting = [b for b in line.builds if any(low <= line.span(b)[0] <= high for low, high in spans)]
        if fitting and not self.request.surroundings.choose_build:
            text = f"Accept mods made for game build {fitting[-1]} as well, at your own risk."
            yield Repair("accept_build", text, 6, accept_build=fitting[-1])

    def _rewordings(self) -> Iterable[Repair]:
        involved = set(self.reasons.wanted())
        for wanted in self.request.wanted:
            if wanted.name not in involved:
                continue
            if wanted.range or wanted.version or wanted.release:
                pin = wanted.version or wanted.range or wanted.release
                text = f"Let {self._shown(wanted.name)} be any release instead of {pin}."
                yield Repair("loosen", text, 2, loosen=(wanted.name,))
            if wanted.name not in self.universe.index:
                yield from self._similar(wanted.name)
            for claim in self.universe.replacements.get(wanted.name, ()):
                text = f"Take {self._shown(claim.subject)} in place of {self._shown(wanted.name)}."
                yield Repair("substitute", text, 3, substitute=((wanted.name, claim.subject),))

    def _similar(self, name: str) -> Iterable[Repair]:
        """Packages whose id looks like a name that nothing bears."""
        held = self.universe.packages[: self.universe.first_axis]
        ids = {package.package.id.casefold(): package.package.id for package in held}
        for close in difflib.get_close_matches(name.casefold()[:MAX_NAME], ids, n=2, cutoff=0.8):
            text = f"Take {ids[close]} in place of {name}, which is not known."
            yield Repair("substitute", text, 1, substitute=((name, ids[close]),))

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
            distance = -(-min(abs(span[0] - at) for at in here) // STEP)
            if distance and all(self._runs(at, span) for at in involved):
                found.append((distance, build))
        found.sort(key=lambda item: item[0])
        return [(build, rank) for rank, (_, build) in enumerate(found[:TRIED_BUILDS])]

    def _runs(self, at: int, span: tuple[int, int]) -> bool:
        fit = self.reasons.solving.view.fits(at)
        return not fit.builds or bool(fit.for_builds([span]) & ~ABSENT)

    def _elsewhere(self) -> Iterable[Repair]:
        """Nothing can be had here: the build on which most of the request can, and what to drop for that."""
        here = self.request.surroundings
        if not here.builds or here.choose_build:
            return
        line = self.universe.builds
        at = [line.span(build)[0] for build in here.builds]
        known = [self.universe.index[w.name] for w in self.request.wanted if w.name in self.universe.index]
        ranked: list[tuple[int, int, str]] = []
        for build in line.builds:
            span = line.span(build)
            runs = sum(self._runs(package, span) for package in known)
            distance = -(-min(abs(span[0] - position) for position in at) // STEP)
            if runs and distance:
                ranked.append((-runs, distance, build))
        for _, _, build in sorted(ranked)[:TRIED_BUILDS]:
            repair = Repair("use_build", f"Use game build {build}.", 0, use_build=build)
            dropped = self._drop_several(repair.apply(self.request))
            if dropped is None:
                continue
            if dropped:
                text = (
                    f"Use game build {build} and {self._do_without(dropped)[0].lower()}{self._do_without(dropped)[1:]}"
                )
                repair = msgspec.structs.replace(repair, text=text, drop=dropped)
            cost = 4 * len(dropped) + 5 + TRIED_BUILDS
            verified = self._verified(msgspec.structs.replace(repair, cost=cost))
            if verified is not None:
                yield verified
                return

    def _drop_several(self, request: Request) -> tuple[str, ...] | None:
        """Names to drop so that the rest can be had; None if nothing can.

        Drops what cannot be had by itself, then one contradiction at a time, and takes back what turns
        out to fit.
        """
        names = sorted({wanted.name for wanted in request.wanted})
        dropped = self._hopeless(request)
        hopeless = set(dropped)
        while len(dropped) < len(names):
            if len(dropped) - len(hopeless) > MAX_ROUNDS:
                return None
            outcome, solving = self._attempt(_without(request, dropped))
            if isinstance(outcome, Solved):
                break
            if isinstance(outcome, GaveUp):
                return None
            dropped.append(self._least(Reasons(solving, outcome.core, self.budget.allow(MINIMISE_STEPS)).wanted()))
        if len(dropped) == len(names):
            return None
        for name in [name for name in dropped if name not in hopeless]:
            fewer = [other for other in dropped if other != name]
            if isinstance(self._solve(_without(request, fewer)), Solved):
                dropped = fewer
        return tuple(sorted(dropped))

    def _hopeless(self, request: Request) -> list[str]:
        """Names that cannot be had even alone, found with one search that keeps what it learns."""
        solving = Solving(self.universe, request, None)
        search = Search(solving.base, solving.view.rules, self.budget)
        found: set[str] = set()
        try:
            for fact in solving.request_facts():
                assert fact.why is not None
                options = fact.literals
                if fact.why.targets and not any(search.can_be(at, mask) for at, mask in options):
                    found.add(fact.why.targets[0].name)
        except OutOfBudgetError:
            return []
        return sorted(found)

    def _do_without(self, dropped: Sequence[str]) -> str:
        return f"Do without {', '.join(self._shown(name) for name in dropped)}."

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
        solving.polish_steps = 0
        return solving.run(), solving

    def _shown(self, name: str) -> str:
        at = self.universe.index.get(name)
        return name if at is None else self.universe.packages[at].package.name


def _without(request: Request, dropped: Iterable[str]) -> Request:
    gone = set(dropped)
    wanted = tuple(w for w in request.wanted if w.name not in gone)
    return msgspec.structs.replace(request, wanted=wanted)

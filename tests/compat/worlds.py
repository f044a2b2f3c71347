"""Generated universes: random ones with every kind of claim, and adversarial families."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from loadstone.compat.solver import Locked, Request, Surroundings, Wanted
from loadstone.compat.universe import Candidate, Claim, Package, Target, Universe, build_universe
from loadstone.compat.versions import scheme

BUILDS = ("1.0", "1.1", "1.2", "2.0")
LOADERS = ("forge", "fabric", "quilt")
SCHEME = scheme("hybrid")


@dataclass
class World:
    """A universe in the making."""

    packages: list[Package] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    builds: Sequence[str] = BUILDS

    def mod(self, name: str, *versions: str, **fields) -> None:
        """Add a package with plain releases, newest first; `fields` are its own or its candidates'."""
        own = {key: fields.pop(key) for key in ("kind", "rank", "group") if key in fields}
        candidates = tuple(Candidate(release=f"{name}@{version}", version=version, **fields) for version in versions)
        self.packages.append(Package(id=name, name=name, candidates=candidates, **own))

    def claim(self, kind: str, subject: str, *targets: Target | str, **fields) -> Claim:
        """Add a claim; a target given as text is a name."""
        made = tuple(Target(target) if isinstance(target, str) else target for target in targets)
        fields.setdefault("id", f"{len(self.claims):05}-{kind}-{subject}")
        claim = Claim(kind=kind, subject=subject, targets=made, **fields)
        self.claims.append(claim)
        return claim

    def universe(self) -> Universe:
        return build_universe(self.packages, self.claims, builds=self.builds, scheme=SCHEME)


def asked(*names: str, **fields) -> Request:
    """A request for names, on no build in particular unless said otherwise."""
    wanted = tuple(Wanted(name) for name in names)
    return Request(wanted=wanted, **fields)


def random_world(rng: random.Random, *, mods: int = 8, versions: int = 3, patches: bool = True) -> World:
    """A small universe of mods with several chains, loaders, sides, provides, conflicts and patches."""
    world = World()
    names = []
    for i in range(rng.randint(2, mods)):
        chains = rng.choice((1, 1, 1, 2))
        for chain in range(chains):
            name = f"m{i}" + (f".{chain}" if chains > 1 else "")
            names.append(name)
            world.packages.append(_package(rng, name, rng.randint(1, versions), group=f"m{i}"))
        if chains > 1 and rng.random() < 0.5:
            for chain in range(chains):
                world.claim("provides", f"m{i}.{chain}", f"m{i}")
                world.claim("conflicts", f"m{i}.{chain}", f"m{i}")
    names_too = [*names, "v0", "v1", f"m{rng.randint(0, mods)}", "nothing"]
    density = rng.choice((0.5, 1.0, 2.0, 3.0))
    for package in list(world.packages):
        for _ in range(_poisson(rng, density)):
            _random_claim(rng, world, package, names, names_too, patches)
    return world


def _package(rng: random.Random, name: str, count: int, group: str) -> Package:
    candidates = []
    for i in range(count):
        version = f"{count - i}.{rng.randint(0, 1)}"
        low, high = sorted((rng.randrange(4), rng.randrange(4)))
        builds = ((BUILDS[low], BUILDS[high]),) if rng.random() < 0.3 else ()
        candidates.append(
            Candidate(
                release=f"{name}@{version}",
                version=version,
                channel=rng.choice(("release",) * 8 + ("beta", "alpha")),
                yanked=rng.random() < 0.05,
                quarantined=rng.random() < 0.03,
                builds=builds,
                loaders=tuple(rng.sample(LOADERS, rng.randint(1, 2))) if rng.random() < 0.2 else (),
                sides=(rng.choice(("client", "server")),) if rng.random() < 0.1 else (),
            )
        )
    kind = "dlc" if rng.random() < 0.04 else "mod"
    return Package(id=name, name=name.upper(), candidates=tuple(candidates), kind=kind, group=group)


def _random_claim(rng, world: World, package: Package, names, names_too, patches: bool) -> None:
    kinds = ("requires",) * 6 + ("conflicts",) * 4 + ("any_of",) * 2 + ("provides",) * 2 + ("broken_in", "works_with")
    kind = rng.choice((*kinds, "patches") if patches else kinds)
    releases = ()
    if rng.random() < 0.5:
        releases = tuple(c.release for c in package.candidates if rng.random() < 0.5)[: rng.randint(1, 9)]
        if not releases:
            return
    if kind == "provides":
        version = f"{rng.randint(1, 3)}.0" if rng.random() < 0.4 else None
        world.claim(
            kind, package.id, Target(rng.choice(("v0", "v1", rng.choice(names))), version=version), releases=releases
        )
    elif kind in ("broken_in", "works_with"):
        build = rng.choice(BUILDS)
        world.claim(kind, package.id, builds=((build, build),), releases=releases)
    elif kind == "patches":
        targets = [_target(rng, names) for _ in range(rng.randint(1, 2))]
        world.claim(kind, package.id, *targets, releases=releases)
    elif kind == "any_of":
        world.claim(kind, package.id, *(_target(rng, names_too) for _ in range(rng.randint(2, 4))), releases=releases)
    else:
        world.claim(kind, package.id, _target(rng, names_too), releases=releases)


def _target(rng: random.Random, names) -> Target:
    name = rng.choice(names)
    version = f"{rng.randint(1, 3)}.{rng.randint(0, 1)}"
    style = rng.random()
    if style < 0.5:
        return Target(name)
    if style < 0.7:
        return Target(name, at_least=version)
    if style < 0.8:
        return Target(name, at_most=version)
    if style < 0.9:
        return Target(name, range=rng.choice((f">={version}", f"<{version}", f"!={version}")))
    return Target(name, exactly=version)


def _poisson(rng: random.Random, mean: float) -> int:
    count = 0
    left = mean
    while left > 0:
        count += rng.random() < min(1.0, left)
        left -= 1
    return count


def random_request(rng: random.Random, world: World) -> Request:
    """One to five of the world's mods in random surroundings with a single build, loader and side."""
    names = [package.id for package in world.packages]
    wanted = rng.sample(names, min(len(names), rng.randint(1, 5)))
    surroundings = Surroundings(
        builds=(rng.choice(BUILDS),) if rng.random() < 0.6 else (),
        loader=rng.choice(LOADERS) if rng.random() < 0.4 else None,
        side=rng.choice(("client", "server")) if rng.random() < 0.3 else None,
        channels=rng.choice((("release",), ("release", "beta"), ("release", "beta", "alpha"))),
        owned=tuple(p.id for p in world.packages if p.kind == "dlc" and rng.random() < 0.5),
    )
    return asked(*wanted, surroundings=surroundings)


def random_lock(rng: random.Random, world: World) -> tuple[Locked, ...]:
    """Some release of some of the mods, whether or not it fits; none that was withdrawn."""
    found = []
    for package in world.packages:
        release = rng.choice(package.candidates)
        if rng.random() < 0.6 and not release.yanked:
            found.append(Locked(package.id, release=release.release))
    return tuple(found)


# -- adversarial families ---------------------------------------------------------------------------


def three_sat(rng: random.Random, variables: int, ratio: float = 4.26) -> tuple[World, Request]:
    """Random 3-SAT at the phase transition: a variable is a mod with two releases, a clause an any-of."""
    world = World()
    for i in range(variables):
        world.mod(f"x{i}", "2", "1")
    names = []
    for c in range(round(variables * ratio)):
        name = f"c{c}"
        world.mod(name, "1")
        targets = [Target(f"x{i}", exactly=rng.choice(("1", "2"))) for i in rng.sample(range(variables), 3)]
        world.claim("any_of", name, *targets)
        names.append(name)
    return world, asked(*names, *(f"x{i}" for i in range(variables)))


def pigeonhole(holes: int) -> tuple[World, Request]:
    """One pigeon more than holes: each pigeon is a mod with a release per hole."""
    world = World()
    for pigeon in range(holes + 1):
        world.mod(f"p{pigeon}", *(str(h) for h in range(holes, 0, -1)))
    for a in range(holes + 1):
        for b in range(a):
            for hole in range(1, holes + 1):
                world.claim("conflicts", f"p{a}", Target(f"p{b}", exactly=str(hole)), releases=(f"p{a}@{hole}",))
    return world, asked(*(f"p{i}" for i in range(holes + 1)))


def deep_chain(length: int, *, broken: bool) -> tuple[World, Request]:
    """Each mod requires the next; the last one asks for something that may be missing."""
    world = World()
    for i in range(length):
        world.mod(f"n{i:06}", "2", "1")
        if i + 1 < length:
            world.claim("requires", f"n{i:06}", Target(f"n{i + 1:06}"))
    if broken:
        world.claim("requires", f"n{length - 1:06}", "missing")
    return world, asked("n000000")


def wide_any_of(width: int, *, usable: int) -> tuple[World, Request]:
    """One mod that needs any of many, of which only the last `usable` get along with it."""
    world = World()
    world.mod("root", "1")
    names = [f"o{i:05}" for i in range(width)]
    for i, name in enumerate(names):
        world.mod(name, "1")
        if i < width - usable:
            world.claim("conflicts", name, "root")
    world.claim("any_of", "root", *names)
    return world, asked("root")

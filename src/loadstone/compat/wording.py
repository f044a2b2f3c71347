"""Sentences for facts: who needs what, who quarrels with whom, and why something does not fit here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from loadstone.compat.clauses import Clause
from loadstone.compat.universe import ABSENT, BUILD_AXIS, LOADER_AXIS, PackageIndex, Target, bits

if TYPE_CHECKING:
    from loadstone.compat.solving import Solving

LISTED = 3


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sentence of an explanation.

    `claims` are the ids of those who said so (none: the request itself, or a release's own data) and
    `sources` who they are. `parent` is the place of the fact that this one follows up, None at the root.
    """

    kind: str
    text: str
    claims: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    parent: int | None = None


class Statement(msgspec.Struct):
    """What one sentence will say: clauses about one relation, or what fits of one package."""

    kind: str
    packages: tuple[int, ...]
    clauses: list[Clause]


class Draft(msgspec.Struct):
    """A sentence that may still be merged with others of its kind."""

    kind: str
    subject: str
    predicate: str
    claims: tuple[str, ...]
    packages: tuple[int, ...]
    speaks_of: frozenset[int]
    introduces: frozenset[int]

    def text(self) -> str:
        return f"{self.subject} {self.predicate}."


class Speaker:
    """Turns the statements of one refuted request into facts."""

    def __init__(self, solving: Solving) -> None:
        self.solving = solving
        self.universe = solving.universe
        self.base = solving.base

    def tell(self, statements: Sequence[Statement], at_most: int) -> tuple[Fact, ...]:
        """At most so many sentences, each after the one that it follows up."""
        drafts = [self._draft(statement) for statement in statements]
        for merge in (_merge_same_predicate, _merge_wanted, _merge_same_subject):
            if len(drafts) > at_most:
                drafts = merge(drafts)
        while len(drafts) > at_most:
            drafts = _merge_chain(drafts)
        return self._tree(drafts)

    # -- sentences ----------------------------------------------------------------------------------

    def _draft(self, statement: Statement) -> Draft:
        if statement.kind == "wanted":
            return self._wanted(statement)
        if statement.kind == "fits":
            return self._fits(statement.packages[0])
        if statement.kind == "axis-choice":
            return self._axis_choice(statement)
        if statement.kind == "axis":
            return self._axis(statement)
        if statement.kind == "conflicts":
            return self._conflict(statement)
        if statement.kind == "patches":
            return self._patch(statement)
        return self._requirement(statement)

    def _wanted(self, statement: Statement) -> Draft:
        clause = statement.clauses[0]
        assert clause.why is not None
        target = clause.why.targets[0]
        text = self._target(target) + self._where_from((target,), clause, clause.why.subject)
        offers = frozenset(package for package, _ in clause.literals)
        return Draft("wanted", "You asked for", text, (), statement.packages, frozenset(), offers)

    def _requirement(self, statement: Statement) -> Draft:
        first = statement.clauses[0].why
        assert first is not None
        at = first.subject
        mask = 0
        wishes: list[str] = []
        claims: list[str] = []
        offers: set[int] = set()
        for clause in statement.clauses:
            assert clause.why is not None
            mask |= clause.why.mask
            wish = self._targets(clause.why.targets) + self._where_from(clause.why.targets, clause, at)
            if wish not in wishes:
                wishes.append(wish)
            claims += clause.why.claims
            offers.update(package for package, _ in clause.literals if package != at)
        wished = wishes[0] if len(wishes) == 1 else "depending on the release, " + _listed(wishes, "or")
        return Draft(
            "requires",
            self._releases(at, mask),
            f"requires {wished}",
            tuple(dict.fromkeys(claims)),
            (at, *sorted(offers)),
            frozenset((at,)),
            frozenset(offers),
        )

    def _conflict(self, statement: Statement) -> Draft:
        masks: dict[int, int] = {}
        claims: list[str] = []
        subject = other = -1
        for clause in statement.clauses:
            assert clause.why is not None
            claims += clause.why.claims
            subject = clause.why.subject
            for package, mask in clause.literals:
                masks[package] = masks.get(package, 0) | (self.universe.packages[package].every & ~mask)
                if package != subject:
                    other = package
        predicate = f"conflicts with {self._releases(other, masks[other])}"
        names = {self.universe.packages[other].package.id}
        named = {target.name for c in statement.clauses if c.why is not None for target in c.why.targets}
        own = {self.universe.packages[subject].package.id}
        if not named & (names | own):
            predicate += f", which provides {_listed(sorted(named), 'and')}"
        return Draft(
            "conflicts",
            self._releases(subject, masks[subject]),
            predicate,
            tuple(dict.fromkeys(claims)),
            (subject, other),
            frozenset((subject, other)),
            frozenset(),
        )

    def _patch(self, statement: Statement) -> Draft:
        why = statement.clauses[0].why
        assert why is not None
        together = _listed([self._target(target) for target in why.targets], "and")
        wish = self._releases(why.subject, why.mask)
        premises = frozenset(p for p, _ in statement.clauses[0].literals if p != why.subject)
        subject = f"{together} together"
        offers = frozenset((why.subject,))
        packages = (*sorted(premises), why.subject)
        return Draft("patches", subject, f"require {wish}", why.claims, packages, premises, offers)

    def _axis(self, statement: Statement) -> Draft:
        """What a package needs of a build or loader that is to be chosen."""
        why = statement.clauses[0].why
        assert why is not None
        at, word = self.universe.axes[why.axis], self._axis_word(why.axis)
        needs = []
        for clause in statement.clauses:
            assert clause.why is not None
            values = dict(clause.literals).get(at, 0) & ~ABSENT
            fits = f"only with {word} {self._versions(at, values)}" if values else f"with no known {word}"
            needs.append(f"{self._versions(why.subject, clause.why.mask)} {fits}")
        subject = self._name(why.subject)
        if len(statement.clauses) == 1:
            subject, needs = self._releases(why.subject, why.mask), [needs[0].split(" ", 1)[1]]
            values = dict(statement.clauses[0].literals).get(at, 0) & ~ABSENT
            versions = self._versions(at, values)
            needs = [f"only with {word} {versions}" if values else f"with no known {word}"]
        predicate = f"works {_listed(needs, 'and')}" if len(needs) == 1 else f"works so: {'; '.join(needs)}"
        packages = (why.subject,)
        return Draft("axis", subject, predicate, (), packages, frozenset(packages), frozenset())

    def _axis_choice(self, statement: Statement) -> Draft:
        why = statement.clauses[0].why
        assert why is not None
        text = f"{self._axis_word(why.axis)} {self._versions(why.subject, why.mask & ~ABSENT)}"
        return Draft("wanted", "You asked for", text, (), (), frozenset(), frozenset())

    def _axis_word(self, axis: str) -> str:
        return {BUILD_AXIS: "game build", LOADER_AXIS: "loader"}[axis]

    def _fits(self, at: int) -> Draft:
        """Why releases of a package are out of reach here, by the first obstacle of each."""
        package = self.universe.packages[at]
        left = package.present & ~self.base[at]
        stopped: dict[str, int] = {}
        for obstacle, mask in self.solving.view.blocked(at):
            if left & mask:
                stopped[obstacle] = stopped.get(obstacle, 0) | left & mask
                left &= ~mask
        possible = self.base[at] & ~ABSENT
        reasons = [self._obstacle(at, obstacle, mask, bool(possible)) for obstacle, mask in stopped.items()]
        subject = package.package.name
        if possible:
            predicate = f"is only available here in {self._versions(at, possible)}: {'; '.join(reasons)}"
        else:
            predicate = "; ".join(reasons)
        claims = tuple(claim.id for claim in self.universe.claims.get(at, ()) if claim.kind in ("broken_in", "needs"))
        return Draft("fits", subject, predicate, claims, (at,), frozenset((at,)), frozenset())

    def _obstacle(self, at: int, obstacle: str, mask: int, partly: bool) -> str:
        here = self.solving.view.surroundings
        which = f"{self._versions(at, mask)} " if partly else ""
        if obstacle == "build":
            return f"{which}does not run on game build {_listed(here.builds, 'or')}" + self._runs_on(at, mask)
        if obstacle == "dlc":
            return "is a DLC that you do not own"
        if obstacle == "channel":
            channels = sorted({self.universe.packages[at].candidate(bit).channel for bit in bits(mask)})
            return f"{which}exists only as {_listed(channels, 'or')} release, which you do not accept"
        if obstacle == "yanked":
            return f"{which}was withdrawn by its author"
        if obstacle == "quarantined":
            return f"{which}is held back for safety"
        value = {"loader": here.loader, "os": here.os, "side": here.side}[obstacle]
        word = {"loader": "loader", "os": "operating system", "side": "side"}[obstacle]
        return f"{which}does not work with {word} {value}"

    def _runs_on(self, at: int, mask: int) -> str:
        """What the newest of these releases runs on."""
        newest = self.universe.packages[at].candidate(mask & -mask)
        spans = []
        for low, high in newest.builds:
            if low == high and low is not None:
                spans.append(low)
            elif low is None:
                spans.append(f"builds up to {high}")
            else:
                spans.append(f"{low} and newer" if high is None else f"{low} to {high}")
        return f" ({newest.version} runs on {_listed(spans, 'and')})" if spans else ""

    # -- words --------------------------------------------------------------------------------------

    def _name(self, at: int) -> str:
        return self.universe.packages[at].package.name

    def _releases(self, at: int, mask: int) -> str:
        """A package with its releases, if not all that fit are meant."""
        possible = self.base[at] & ~ABSENT
        whole = possible or self.universe.packages[at].present
        if not whole & ~mask:
            return self._name(at)
        return f"{self._name(at)} {self._versions(at, mask & whole or mask)}"

    def _versions(self, at: int, mask: int) -> str:
        package: PackageIndex = self.universe.packages[at]
        chosen = [package.candidate(bit).version for bit in bits(mask & package.present)]
        if len(chosen) <= LISTED:
            return _listed(chosen, "and") if chosen else "no release"
        return f"{chosen[-1]} to {chosen[0]}" if _contiguous(mask) else f"{len(chosen)} of its releases"

    def _target(self, target: Target) -> str:
        at = self.universe.index.get(target.name)
        name = target.name if at is None else self._name(at)
        words = [name]
        if target.range:
            words.append(target.range)
        if target.exactly is not None:
            words.append(target.exactly)
        if target.at_least is not None:
            words.append(f"{target.at_least} or newer")
        if target.at_most is not None:
            words.append(f"{'and' if target.at_least is not None else ''} {target.at_most} or older".strip())
        return " ".join(words)

    def _targets(self, targets: Sequence[Target]) -> str:
        if len(targets) == 1:
            return self._target(targets[0])
        return f"one of {_listed([self._target(target) for target in targets], 'or')}"

    def _where_from(self, targets: Sequence[Target], clause: Clause, subject: int) -> str:
        """Who offers it, where the name alone does not say so."""
        named = {self.universe.index.get(target.name) for target in targets}
        offers = [package for package, _ in clause.literals if clause.why is None or package != subject]
        if clause.why is not None and clause.why.kind == "wanted":
            offers = [package for package, _ in clause.literals]
        if not offers:
            return ", which nothing here offers" if named == {None} else ", of which there is no such release"
        others = [self._name(package) for package in offers if package not in named]
        return f", provided by {_listed(others, 'or')}" if others else ""

    # -- the tree -----------------------------------------------------------------------------------

    def _tree(self, drafts: list[Draft]) -> tuple[Fact, ...]:
        """Facts in reading order: the request, then whatever each package brings along."""
        facts: list[Fact] = []
        introduced: dict[int, int] = {}
        waiting = sorted(drafts, key=lambda draft: (draft.kind != "wanted", draft.text()))
        while waiting:
            follows = [d for d in waiting if d.kind == "wanted" or d.speaks_of & introduced.keys()]
            draft = min(follows, key=lambda d: _depth_order(d, introduced)) if follows else waiting[0]
            waiting = [other for other in waiting if other is not draft]
            parents = [introduced[at] for at in draft.speaks_of if at in introduced]
            for at in draft.introduces:
                introduced[at] = len(facts)
            facts.append(self._fact(draft, max(parents) if parents else None))
        return tuple(facts)

    def _fact(self, draft: Draft, parent: int | None) -> Fact:
        known = self.universe.claim_index
        sources = tuple(sorted({known[claim].source for claim in draft.claims if claim in known}))
        packages = tuple(self.universe.packages[at].package.id for at in draft.packages)
        return Fact(draft.kind, draft.text(), draft.claims, sources, packages, parent)


def _depth_order(draft: Draft, introduced: dict[int, int]) -> tuple[int, int]:
    if draft.kind == "wanted":
        return (1, 0)
    return (0, -max((introduced[at] for at in draft.speaks_of if at in introduced), default=0))


def _contiguous(mask: int) -> bool:
    lowest = mask & -mask
    return not (mask // lowest + 1) & (mask // lowest)


def _listed(words: Iterable[str], last: str) -> str:
    """`a, b and c`; long lists are cut."""
    items = list(words)
    if len(items) > 2 * LISTED:
        items = [*items[: 2 * LISTED - 1], f"{len(items) - 2 * LISTED + 1} others"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def _merged(drafts: Sequence[Draft], subject: str, predicate: str) -> Draft:
    return Draft(
        drafts[0].kind,
        subject,
        predicate,
        tuple(dict.fromkeys(claim for d in drafts for claim in d.claims)),
        tuple(dict.fromkeys(package for d in drafts for package in d.packages)),
        frozenset().union(*(d.speaks_of for d in drafts)),
        frozenset().union(*(d.introduces for d in drafts)),
    )


def _merge_by(drafts: list[Draft], key: str, kinds: tuple[str, ...]) -> list[list[Draft]]:
    groups: dict[tuple[str, str], list[Draft]] = {}
    for i, draft in enumerate(drafts):
        alone = draft.kind not in kinds
        groups.setdefault((draft.kind, f"{i}" if alone else getattr(draft, key)), []).append(draft)
    return list(groups.values())


def _merge_same_predicate(drafts: list[Draft]) -> list[Draft]:
    """`A is held back` and `B is held back` become one sentence."""
    shared = [
        msgspec.structs.replace(d, predicate=d.predicate.split(" (")[0]) if d.kind == "fits" else d for d in drafts
    ]
    groups = _merge_by(shared, "predicate", ("fits", "requires"))
    return [
        group[0] if len(group) == 1 else _merged(group, _listed([d.subject for d in group], "and"), group[0].predicate)
        for group in groups
    ]


def _merge_wanted(drafts: list[Draft]) -> list[Draft]:
    groups = _merge_by(drafts, "subject", ("wanted",))
    return [
        group[0] if len(group) == 1 else _merged(group, group[0].subject, _listed([d.predicate for d in group], "and"))
        for group in groups
    ]


def _merge_same_subject(drafts: list[Draft]) -> list[Draft]:
    groups = _merge_by(drafts, "subject", ("requires", "conflicts"))
    return [
        group[0] if len(group) == 1 else _merged(group, group[0].subject, _listed([d.predicate for d in group], "and"))
        for group in groups
    ]


def _merge_chain(drafts: list[Draft]) -> list[Draft]:
    """Join one sentence to the one that it follows up; if there is none, to its neighbour."""
    for i, child in enumerate(drafts):
        if child.kind != "requires":
            continue
        for j, parent in enumerate(drafts):
            if i != j and parent.kind == "requires" and child.speaks_of & parent.introduces:
                joined = _merged(
                    [parent, child], parent.subject, f"{parent.predicate}; {child.subject} {child.predicate}"
                )
                return [joined if d is parent else d for d in drafts if d is not child]
    first, second = drafts[-2], drafts[-1]
    text = f"{first.predicate}; {second.subject} {second.predicate}"
    return [*drafts[:-2], _merged([first, second], first.subject, text)]

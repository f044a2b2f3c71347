"""`loadstone resolve`: a plan from the platform, or why there is none; with `--catalogue`, offline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from loadstone.cli.install import guarded, print_json
from loadstone.cli.resolve_offline import Several, resolve_offline
from loadstone.cli.terminal import fail
from loadstone.cli.terminal import out as console
from loadstone.client.errors import clean
from loadstone.client.server import DEFAULT_URL, Server
from loadstone.client.wire import Asked, Fact, PlanEntry, Repair, Resolution, Wanted

Policy = Literal["newest", "minimal_change", "oldest"]
Id = Annotated[str, msgspec.Meta(max_length=200)]


class ToldFact(Fact, frozen=True, kw_only=True):
    """A fact with its place in the tree and who said so."""

    parent: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    sources: Annotated[tuple[Id, ...], msgspec.Meta(max_length=100)] = ()
    claims: Annotated[tuple[Id, ...], msgspec.Meta(max_length=10_000)] = ()


class Answer(Resolution, frozen=True, kw_only=True):
    """The platform's answer with the tree of facts."""

    facts: Annotated[tuple[ToldFact, ...], msgspec.Meta(max_length=200)] = ()


class Planner(Server):
    """A server that is only asked for plans."""

    def plan(self, asked: Asked) -> Answer:
        """Raises :class:`ClientError` for what a server may do wrong."""
        answer: Answer = self._post("/api/v1/resolve", asked, Answer)
        return answer


def resolve(
    names: Annotated[list[str] | None, Parameter(help="GAME and MODs, or MOD@VERSION.")] = None,
    /,
    *,
    build: str | None = None,
    loader: str | None = None,
    explain: bool = False,
    server: str | None = None,
    json: bool = False,
    channel: Several = ("release",),
    policy: Policy | None = None,
    catalogue: Path | None = None,
    requests: Path | None = None,
    out: Path | None = None,
    own: Several = (),
    recommends: bool = False,
    as_of: str | None = None,
    seconds: float = 2.0,
    steps: int = 200_000,
) -> int:
    """Plan an installation: what to install so that all of it works together, or why there is no such set.

    With --catalogue every line of a file of requests is resolved offline. Returns 0 for a plan, 1 for none,
    2 for input that cannot be used.

    Parameters
    ----------
    build
        The game build that the mods must work on.
    loader
        The mod loader that is used.
    explain
        Say who claims what; offline, add repairs to what cannot be resolved.
    server
        The platform's address; else LOADSTONE_URL or http://127.0.0.1:8000.
    json
        Print the answer as one JSON document.
    channel
        Channels to accept: release, beta, alpha.
    policy
        newest, oldest or minimal_change.
    catalogue
        Offline: a catalogue file (JSON lines, plain or zstd).
    requests
        Offline: a file with one request a line.
    out
        Offline: where the results go, one a line.
    own
        Offline: DLCs that the player owns.
    recommends
        Offline: add recommended mods that fit.
    as_of
        Offline: what was known at this time (RFC 3339).
    seconds
        Offline: the most time for one request.
    steps
        Offline: the most steps for one request.
    """
    if catalogue is not None:
        if requests is None or out is None or names:
            return fail("Offline, give --catalogue, --requests and --out, and no mods.", 2)
        return resolve_offline(
            catalogue, requests, out, own=own, explain=explain, channel=channel, policy=policy,
            recommends=recommends, as_of=as_of, seconds=seconds, steps=steps,
        )  # fmt: skip
    if not names or len(names) < 2:
        return fail("Name a game and at least one mod: loadstone resolve GAME MOD…; or give --catalogue.", 2)
    asked = Asked(
        game=names[0],
        wanted=tuple(_wanted(name) for name in names[1:]),
        build=build,
        loader=loader,
        policy=policy or "newest",
        channels=tuple(dict.fromkeys(channel)),
    )
    return guarded(lambda: _ask(asked, server, explain=explain, json=json), json=json)


def _wanted(name: str) -> Wanted:
    mod, _, version = name.partition("@")
    return Wanted(mod=mod, version=version or None)


def _ask(asked: Asked, address: str | None, *, explain: bool, json: bool) -> int:
    url = address or os.environ.get("LOADSTONE_URL") or DEFAULT_URL
    with Planner(url, token=os.environ.get("LOADSTONE_TOKEN") or None) as server:
        answer = server.plan(asked)
    if json:
        print_json(answer)
    else:
        show(answer, explain=explain)
    return 0 if answer.status == "solved" else 1


def show(answer: Answer, *, explain: bool) -> None:
    """The plan as a table, or what stands against it as a tree with the ways out below."""
    where = f"{answer.game} {answer.build}" if answer.build else answer.game
    if answer.status == "solved":
        console.print(plan_table(answer.plan))
        console.print(
            f"{len(answer.plan)} {'mod' if len(answer.plan) == 1 else 'mods'} for {clean(where)}.", markup=False
        )
        for question in answer.questions:
            others = ", ".join(clean(o.package, 60) for o in question.options if o.package != question.chosen)
            text = f"{clean(question.chosen, 60)} was chosen for {', '.join(question.asked_for)}; instead: {others}."
            console.print(clean(text, 400), markup=False, style="yellow")
    elif answer.status == "unsatisfiable":
        console.print(fact_tree(answer.facts, f"There is no plan for {clean(where)}, because", explain=explain))
        _show_repairs(answer.repairs)
    for note in answer.notes:
        console.print(clean(note.text), markup=False, style="yellow")


def plan_table(plan: Sequence[PlanEntry]) -> Table:
    names = {entry.package: entry.mod_name for entry in plan}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("mod", "version", "why"):
        table.add_column(title)
    for entry in plan:
        needed_by = ", ".join(clean(names.get(package, package), 40) for package in entry.needed_by[:3])
        why = "you asked for it" if entry.reason == "requested" else f"required by {needed_by}"
        table.add_row(Text(clean(entry.mod_name, 60)), Text(clean(entry.version, 40)), Text(why, style="dim"))
    return table


def fact_tree(facts: Sequence[ToldFact], title: str, *, explain: bool) -> Tree:
    """Each fact below the one that it follows up; with ``explain``, who said so."""
    tree = Tree(Text(title, style="bold"), guide_style="dim")
    branches: list[Tree] = []
    for nth, fact in enumerate(facts):
        line = Text(clean(fact.text, 2000))
        if explain and fact.claims:
            line.append(f"  {', '.join(fact.sources)}: {', '.join(fact.claims[:3])}", style="dim")
        above = branches[fact.parent] if fact.parent is not None and fact.parent < nth else tree
        branches.append(above.add(line))
    return tree


def _show_repairs(repairs: Sequence[Repair]) -> None:
    if not repairs:
        console.print("No way out was found; ask for fewer mods at once.")
        return
    console.print("What would help, the smallest change first:", style="bold")
    for nth, repair in enumerate(repairs, 1):
        console.print(f"  {nth}. {clean(repair.text, 2000)}", markup=False)

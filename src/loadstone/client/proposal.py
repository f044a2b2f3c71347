"""What a command is about to do, for the player to see before it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from loadstone.client.errors import LiesElsewhereError, NonsenseError, UnsatisfiableError, clean
from loadstone.client.state import InstalledFile, InstalledMod, State, needed
from loadstone.client.wire import PlanEntry, PlanFile, Reason, Resolution

ChangeKind = Literal["install", "update", "keep", "remove", "repair"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one package. ``size`` is what has to be downloaded, None where nobody knows."""

    kind: ChangeKind
    package: str
    name: str
    before: str | None
    after: str | None
    why: str
    size: int | None = 0


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A new set of mods and how it differs from what is installed.

    ``files`` are the files to get by package; ``restore`` brings back what the player changed in them.
    """

    state: State
    changes: tuple[Change, ...]
    files: Mapping[str, tuple[PlanFile, ...]]
    reasons: Mapping[str, Reason]
    notes: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    restore: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing of any mod changes."""
        return all(change.kind == "keep" for change in self.changes)

    @property
    def download_size(self) -> int:
        return sum(change.size or 0 for change in self.changes)


def propose(state: State, resolution: Resolution) -> Proposal:
    """How the installed set gets to the plan. Raises :class:`UnsatisfiableError` without one,
    :class:`NonsenseError`.
    """
    _check_solved(resolution)
    before = {mod.package: mod for mod in state.mods}
    names = {entry.package: entry.mod_name for entry in resolution.plan}
    if len(names) != len(resolution.plan):
        raise NonsenseError("The server's plan has a package twice; nothing was changed.")
    changes: list[Change] = []
    mods: list[InstalledMod] = []
    files: dict[str, tuple[PlanFile, ...]] = {}
    reasons: dict[str, Reason] = {}
    useful = needed([_planned(entry, None) for entry in resolution.plan])
    for entry in resolution.plan:
        if entry.package not in useful:
            continue
        mod = before.get(entry.package)
        same = mod is not None and mod.release == entry.release
        mods.append(_planned(entry, mod if same else None))
        if not same:
            files[entry.package] = entry.artifacts
            reasons[entry.package] = "update" if mod else "direct" if entry.reason == "requested" else "dependency"
        changes.append(
            Change(
                kind="keep" if same else "update" if mod else "install",
                package=entry.package,
                name=entry.mod_name,
                before=mod.version if mod else None,
                after=entry.version,
                why=_why(entry, names),
                size=0 if same else _size(entry.artifacts),
            )
        )
    changes += [_removal(mod, "nothing needs it any more") for mod in state.mods if mod.package not in useful]
    return Proposal(
        state=msgspec.structs.replace(state, game=resolution.game, mods=tuple(mods)),
        changes=tuple(changes),
        files=files,
        reasons=reasons,
        notes=tuple(clean(note.text) for note in resolution.notes),
        questions=tuple(
            f"{clean(' or '.join(question.asked_for))}: {clean(question.chosen)} was chosen;"
            f" {', '.join(clean(o.name) for o in question.options if o.package != question.chosen)} would do too."
            for question in resolution.questions
        ),
    )


def propose_removal(state: State, gone: Iterable[InstalledMod], orphans: Iterable[InstalledMod]) -> Proposal:
    """The set without some mods and without what only they needed."""
    asked, left_over = list(gone), list(orphans)
    out = {mod.package for mod in (*asked, *left_over)}
    mods = tuple(
        msgspec.structs.replace(mod, needed_by=tuple(who for who in mod.needed_by if who not in out))
        for mod in state.mods
        if mod.package not in out
    )
    changes = [_removal(mod, "you asked for it") for mod in asked]
    changes += [_removal(mod, "nothing needs it any more") for mod in left_over]
    return Proposal(state=msgspec.structs.replace(state, mods=mods), changes=tuple(changes), files={}, reasons={})


def propose_repair(state: State, broken: Iterable[InstalledMod]) -> Proposal:
    """The same set with the files of some mods fetched anew."""
    files, changes = {}, []
    for mod in broken:
        files[mod.package] = tuple(
            PlanFile(file=f.file, file_name=f.file_name, size=f.size, sha256=f.sha256, here=f.here, url=f.url)
            for f in mod.downloads
        )
        changes.append(
            Change(
                kind="repair",
                package=mod.package,
                name=mod.name,
                before=mod.version,
                after=mod.version,
                why="its files are not as they were",
                size=_size(files[mod.package]),
            )
        )
    return Proposal(
        state=state,
        changes=tuple(changes),
        files=files,
        reasons=dict.fromkeys(files, "direct"),
        restore=True,
    )


def check_at_hand(proposal: Proposal, *, brought: bool) -> None:
    """Raises :class:`LiesElsewhereError` when files lie elsewhere and the player brought none."""
    away = [
        f"{clean(change.name)} {clean(change.after or '')}: download “{clean(file.file_name)}” at the source:"
        f" {clean(file.url, 1000) if file.url else 'nobody told us its address'}"
        for change in proposal.changes
        for file in proposal.files.get(change.package, ())
        if not file.here
    ]
    if away and not brought:
        count = "One file lies" if len(away) == 1 else f"{len(away)} files lie"
        raise LiesElsewhereError(
            f"{count} elsewhere: download at the source, then repeat the command with --from and the folder of it.",
            details=away,
        )


def _check_solved(resolution: Resolution) -> None:
    if resolution.status == "solved":
        return
    details = [clean(fact.text, 1000) for fact in resolution.facts]
    details += [f"What would work: {clean(repair.text, 1000)}" for repair in resolution.repairs]
    if resolution.status == "gave_up":
        raise UnsatisfiableError("The server found no plan in the time that it has; ask for less at once.")
    raise UnsatisfiableError("These mods cannot be installed together here; nothing was changed.", details=details)


def _planned(entry: PlanEntry, same: InstalledMod | None) -> InstalledMod:
    downloads = tuple(InstalledFile(f.file, f.file_name, f.size, f.sha256, f.here, f.url) for f in entry.artifacts)
    return InstalledMod(
        package=entry.package,
        mod=entry.mod,
        slug=entry.mod_slug,
        name=entry.mod_name,
        release=entry.release,
        version=entry.version,
        requested=entry.reason == "requested",
        needed_by=entry.needed_by,
        downloads=same.downloads if same else downloads,
        files=same.files if same else (),
    )


def _why(entry: PlanEntry, names: Mapping[str, str]) -> str:
    if entry.reason == "requested":
        return "you asked for it"
    who = ", ".join(clean(names.get(package, package), 60) for package in entry.needed_by[:3])
    return f"required by {who}" if who else "goes with the others"


def _removal(mod: InstalledMod, why: str) -> Change:
    return Change(kind="remove", package=mod.package, name=mod.name, before=mod.version, after=None, why=why)


def _size(files: Iterable[PlanFile]) -> int | None:
    sizes = [file.size for file in files if file.here]
    return None if None in sizes else sum(size for size in sizes if size is not None)

"""Evaluates a FOMOD installer: which steps and options there are for this player, and what his choices
install.

Pure functions over data, so that a client, a web page and a curator's lockfile come to the same files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from loadstone.archives.extractors.registry import ExtractionError

GroupType = Literal["SelectAny", "SelectAll", "SelectExactlyOne", "SelectAtMostOne", "SelectAtLeastOne"]
OptionType = Literal["Required", "Recommended", "Optional", "CouldBeUsable", "NotUsable"]
FileState = Literal["Active", "Inactive", "Missing"]


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """`and`/`or` over `parts`; `flag` name = value; `file` name in a state; `version` of a program at
    least value.
    """

    kind: Literal["and", "or", "flag", "file", "version"]
    name: str = ""
    value: str = ""
    parts: list[Condition] = []


class FileItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file or folder of the archive and where it goes, relative to the game's data folder."""

    source: str
    destination: str
    folder: bool = False
    priority: int = 0
    always: bool = False
    if_usable: bool = False


class TypeRule(msgspec.Struct, frozen=True):
    """The type that an option takes while a condition holds."""

    when: Condition
    type: OptionType


class Option(msgspec.Struct, frozen=True, omit_defaults=True):
    """One choice."""

    name: str
    description: str = ""
    image: str = ""
    files: list[FileItem] = []
    flags: dict[str, str] = {}
    type: OptionType = "Optional"
    rules: list[TypeRule] = []


class Group(msgspec.Struct, frozen=True):
    """Choices that belong together, and how many of them may be taken."""

    name: str
    type: GroupType
    options: list[Option]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page of the installer."""

    name: str
    groups: list[Group] = []
    visible: Condition | None = None


class ConditionalFiles(msgspec.Struct, frozen=True):
    """Files that go in while a condition over the flags holds."""

    when: Condition
    files: list[FileItem]


class Installer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole ModuleConfig.xml."""

    name: str = ""
    needs: Condition | None = None
    required: list[FileItem] = []
    steps: list[Step] = []
    conditional: list[ConditionalFiles] = []


class World(msgspec.Struct, frozen=True):
    """What the player has: the state of files by name (missing where not named), and versions by program
    (`game`, `fomm`, `fose`).
    """

    files: Mapping[str, FileState] = {}
    versions: Mapping[str, str] = {}


Choices = Mapping[tuple[int, int], Iterable[int]]
"""Indices of chosen options by (step, group)."""


class Plan(msgspec.Struct, frozen=True):
    """The outcome: files in the order of installation (a later one replaces an earlier), flags, and
    complaints.
    """

    files: list[FileItem]
    flags: dict[str, str]
    problems: list[str]


def holds(condition: Condition | None, flags: Mapping[str, str], world: World) -> bool:
    """Whether a condition is true. None and an empty `and` are true."""
    if condition is None:
        return True
    if condition.kind == "and":
        return all(holds(part, flags, world) for part in condition.parts)
    if condition.kind == "or":
        return any(holds(part, flags, world) for part in condition.parts)
    if condition.kind == "flag":
        return flags.get(condition.name, "") == condition.value
    if condition.kind == "file":
        states = {name.lower(): state for name, state in world.files.items()}
        return states.get(condition.name.lower(), "Missing") == condition.value
    return _numbers(world.versions.get(condition.name, "")) >= _numbers(condition.value)


def _numbers(version: str) -> list[int]:
    numbers = [int(part) if part.isdigit() and len(part) < 10 else 0 for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def option_type(option: Option, flags: Mapping[str, str], world: World) -> OptionType:
    """The type of an option here and now: the first rule that holds, else its default."""
    for rule in option.rules:
        if holds(rule.when, flags, world):
            return rule.type
    return option.type


def preselected(group: Group, flags: Mapping[str, str], world: World) -> list[int]:
    """What is ticked when the page opens: required and recommended options; all, or one, where the group
    asks.
    """
    types = [option_type(option, flags, world) for option in group.options]
    if group.type == "SelectAll":
        return list(range(len(types)))
    chosen = [index for index, kind in enumerate(types) if kind in ("Required", "Recommended")]
    if group.type in ("SelectExactlyOne", "SelectAtMostOne"):
        chosen = sorted(chosen, key=lambda index: types[index] != "Required")[:1]
    if not chosen and group.type in ("SelectExactlyOne", "SelectAtLeastOne"):
        chosen = [index for index, kind in enumerate(types) if kind != "NotUsable"][:1]
    return sorted(chosen)


def evaluate(installer: Installer, choices: Choices | None, world: World) -> Plan:
    """What these choices install; None takes what is preselected everywhere.

    Steps see the flags of the steps before them. Choices that break a group's rule are named in `problems`
    and are otherwise followed, so that the caller decides.
    """
    flags: dict[str, str] = {}
    ranked: list[FileItem] = list(installer.required)
    problems: list[str] = []
    if not holds(installer.needs, flags, world):
        problems.append("The mod's own requirements are not met.")
    for step_index, step in enumerate(installer.steps):
        if not holds(step.visible, flags, world):
            continue
        seen = dict(flags)
        for group_index, group in enumerate(step.groups):
            given = None if choices is None else choices.get((step_index, group_index))
            chosen = preselected(group, seen, world) if given is None else sorted(set(given))
            problems += _complaints(group, chosen, seen, world)
            _install(group, chosen, seen, world, ranked, flags)
    for conditional in installer.conditional:
        if holds(conditional.when, flags, world):
            ranked += conditional.files
    ranked.sort(key=lambda item: item.priority)
    return Plan(ranked, flags, problems)


def _install(
    group: Group, chosen: list[int], seen: Mapping[str, str], world: World, files: list[FileItem], flags: dict[str, str]
) -> None:
    for index, option in enumerate(group.options):
        if index in chosen:
            files += option.files
            flags.update(option.flags)
            continue
        usable = option_type(option, seen, world) != "NotUsable"
        files += [item for item in option.files if item.always or (item.if_usable and usable)]


def _complaints(group: Group, chosen: list[int], flags: Mapping[str, str], world: World) -> list[str]:
    if any(not 0 <= index < len(group.options) for index in chosen):
        raise ExtractionError("a chosen option does not exist")
    found: list[str] = []
    count = len(chosen)
    wrong = {
        "SelectAll": count != len(group.options),
        "SelectExactlyOne": count != 1,
        "SelectAtMostOne": count > 1,
        "SelectAtLeastOne": count < 1,
        "SelectAny": False,
    }[group.type]
    if wrong and group.options:
        found.append(f"The group {group.name!r} asks for {group.type}.")
    for index, option in enumerate(group.options):
        kind = option_type(option, flags, world)
        if kind == "Required" and index not in chosen and group.type != "SelectExactlyOne":
            found.append(f"The option {option.name!r} is required.")
        if kind == "NotUsable" and index in chosen:
            found.append(f"The option {option.name!r} cannot be used.")
    return found

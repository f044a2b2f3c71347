"""FOMOD installers: the steps, groups and conditions as data. `fomod_rules` evaluates them.

Source: the FOMOD documentation and its ModConfig5.0.xsd.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import msgspec

from loadstone.archives.extractors.documents import Node, parse_xml
from loadstone.archives.extractors.fomod_rules import (
    Condition,
    ConditionalFiles,
    FileItem,
    Group,
    GroupType,
    Installer,
    Option,
    OptionType,
    Step,
    TypeRule,
)
from loadstone.archives.extractors.registry import ExtractionError, Extractor
from loadstone.archives.model import Manifest

_GROUP_TYPES = ("SelectAny", "SelectAll", "SelectExactlyOne", "SelectAtMostOne", "SelectAtLeastOne")
_OPTION_TYPES = ("Required", "Recommended", "Optional", "CouldBeUsable", "NotUsable")


def read_info(path: str, data: bytes) -> Iterable[Manifest]:
    """`fomod/info.xml`: name, version, author."""
    root = parse_xml(data)
    author, version = root.value("Author"), root.value("Version")
    manifest = Manifest(
        extractor="fomod-info",
        path=path,
        name=root.value("Name"),
        version=version,
        authors=(author,) if author else (),
        data={"website": root.value("Website")},
    )
    return [manifest]


def read_config(path: str, data: bytes) -> Iterable[Manifest]:
    """`fomod/ModuleConfig.xml`: the installer under `data["installer"]`, as `fomod_rules.Installer`
    encodes.
    """
    installer = parse_installer(data)
    options = sum(len(group.options) for step in installer.steps for group in step.groups)
    manifest = Manifest(
        extractor="fomod",
        path=path,
        name=installer.name,
        data={
            "steps": len(installer.steps),
            "options": options,
            "installer": cast("dict[str, Any]", msgspec.to_builtins(installer)),
        },
    )
    return [manifest]


def parse_installer(data: bytes) -> Installer:
    """The installer of a ModuleConfig.xml. Raises ExtractionError."""
    root = parse_xml(data)
    if root.tag.lower() != "config":
        raise ExtractionError("it is not a FOMOD configuration")
    steps = root.first("installSteps")
    patterns = root.first("conditionalFileInstalls")
    listed = patterns.first("patterns") if patterns else None
    return Installer(
        name=root.value("moduleName"),
        needs=_optional(root.first("moduleDependencies")),
        required=_files(root.first("requiredInstallFiles")),
        steps=[_step(node) for node in _ordered(steps, "installStep")],
        conditional=[
            ConditionalFiles(_condition(node.first("dependencies")), _files(node.first("files")))
            for node in (listed.all("pattern") if listed else [])
        ],
    )


def _ordered(parent: Node | None, tag: str) -> list[Node]:
    """The children in the order that the parent asks for: by name unless it says otherwise."""
    if parent is None:
        return []
    nodes = parent.all(tag)
    order = parent.attributes.get("order", "Ascending").lower()
    if order == "explicit":
        return nodes
    return sorted(nodes, key=lambda node: node.attributes.get("name", "").lower(), reverse=order == "descending")


def _step(node: Node) -> Step:
    groups = [_group(group) for group in _ordered(node.first("optionalFileGroups"), "group")]
    return Step(node.attributes.get("name", ""), groups, _optional(node.first("visible")))


def _group(node: Node) -> Group:
    kind = node.attributes.get("type", "SelectAny")
    if kind not in _GROUP_TYPES:
        raise ExtractionError("a group is of an unknown type")
    options = [_option(option) for option in _ordered(node.first("plugins"), "plugin")]
    return Group(node.attributes.get("name", ""), cast("GroupType", kind), options)


def _option(node: Node) -> Option:
    flags = node.first("conditionFlags")
    image = node.first("image")
    default, rules = _types(node.first("typeDescriptor"))
    return Option(
        name=node.attributes.get("name", ""),
        description=node.value("description"),
        image=image.attributes.get("path", "") if image else "",
        files=_files(node.first("files")),
        flags={flag.attributes.get("name", ""): flag.text.strip() for flag in (flags.children if flags else [])},
        type=default,
        rules=rules,
    )


def _types(node: Node | None) -> tuple[OptionType, list[TypeRule]]:
    if node is None:
        return "Optional", []
    plain = node.first("type")
    if plain is not None:
        return _type(plain), []
    varying = node.first("dependencyType")
    if varying is None:
        return "Optional", []
    patterns = varying.first("patterns")
    rules = [
        TypeRule(_condition(pattern.first("dependencies")), _type(pattern.first("type")))
        for pattern in (patterns.all("pattern") if patterns else [])
    ]
    return _type(varying.first("defaultType")), rules


def _type(node: Node | None) -> OptionType:
    name = node.attributes.get("name", "Optional") if node else "Optional"
    if name not in _OPTION_TYPES:
        raise ExtractionError("an option is of an unknown type")
    return cast("OptionType", name)


def _files(node: Node | None) -> list[FileItem]:
    found: list[FileItem] = []
    for item in node.children if node else []:
        source = item.attributes.get("source", "").replace("\\", "/").strip("/")
        target = item.attributes.get("destination")
        priority = item.attributes.get("priority", "0")
        found.append(
            FileItem(
                source=source,
                destination=source if target is None else target.replace("\\", "/").strip("/"),
                folder=item.tag.lower() == "folder",
                priority=int(priority) if priority.lstrip("-").isdigit() and len(priority) < 10 else 0,
                always=item.attributes.get("alwaysInstall", "").lower() == "true",
                if_usable=item.attributes.get("installIfUsable", "").lower() == "true",
            )
        )
    return found


def _optional(node: Node | None) -> Condition | None:
    return None if node is None else _condition(node)


def _condition(node: Node | None, depth: int = 0) -> Condition:
    """A tree of `dependencies`; `visible` and `moduleDependencies` are the same by other names."""
    if node is None:
        return Condition("and")
    if depth > 16:
        raise ExtractionError("its conditions are nested too deeply")
    operator: Literal["and", "or"] = "or" if node.attributes.get("operator", "And").lower() == "or" else "and"
    parts: list[Condition] = []
    for child in node.children:
        tag, attributes = child.tag.lower(), child.attributes
        if tag == "flagdependency":
            parts.append(Condition("flag", attributes.get("flag", ""), attributes.get("value", "")))
        elif tag == "filedependency":
            parts.append(Condition("file", attributes.get("file", ""), attributes.get("state", "Active")))
        elif tag in ("gamedependency", "fommdependency", "fosedependency"):
            parts.append(Condition("version", tag.removesuffix("dependency"), attributes.get("version", "")))
        elif tag == "dependencies":
            parts.append(_condition(child, depth + 1))
        else:
            raise ExtractionError("a condition is of an unknown kind")
    return Condition(operator, parts=parts)


EXTRACTORS = (
    Extractor("fomod-info", r"(?:.*/)?fomod/info\.xml", 512 * 1024, read_info),
    Extractor("fomod", r"(?:.*/)?fomod/ModuleConfig\.xml", 2 * 1024 * 1024, read_config),
)

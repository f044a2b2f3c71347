"""Bounded readers of the documents in which manifests are written: JSON, TOML and XML, all of them strict
where
leniency is dangerous and lenient where ecosystems are.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Any
from xml.parsers import expat

import msgspec

from loadstone.archives.extractors.registry import ExtractionError

MAX_TEXT = 2_000
"""Characters kept of any one value."""
MAX_ITEMS = 1_000
"""Elements kept of any one list."""
_MAX_XML_DEPTH = 64
_MAX_XML_NODES = 60_000

_STRING_OR_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def decode(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with a byte order mark. Raises ExtractionError."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        raise ExtractionError("it is not UTF-8 text") from None


def parse_json(data: bytes, *, comments: bool = False) -> Any:
    """A JSON document. With `comments`, `//`, `/* */` and trailing commas are allowed, as Newtonsoft reads
    it.
    """
    text = decode(data)
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ExtractionError("it is nested too deeply") from None
    except ValueError as error:
        if not comments:
            raise ExtractionError(f"it is not valid JSON ({error})") from None
    text = _STRING_OR_COMMENT.sub(lambda found: found.group(1) or " ", text)
    text = _STRING_OR_COMMA.sub(lambda found: found.group(1) or " ", text)
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ExtractionError("it is nested too deeply") from None
    except ValueError as error:
        raise ExtractionError(f"it is not valid JSON ({error})") from None


def parse_object(data: bytes, *, comments: bool = False) -> dict[str, Any]:
    """A JSON document that is an object."""
    value = parse_json(data, comments=comments)
    if not isinstance(value, dict):
        raise ExtractionError("it is not a JSON object")
    return value


def parse_toml(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(decode(data))
    except RecursionError:
        raise ExtractionError("it is nested too deeply") from None
    except ValueError as error:
        raise ExtractionError(f"it is not valid TOML ({error})") from None


class Node(msgspec.Struct):
    """An XML element: tag without namespace, attributes, the text directly in it, and its children."""

    tag: str
    attributes: dict[str, str] = {}
    text: str = ""
    children: list[Node] = []

    def all(self, tag: str) -> list[Node]:
        """Children of this tag, without regard to case."""
        wanted = tag.lower()
        return [child for child in self.children if child.tag.lower() == wanted]

    def first(self, tag: str) -> Node | None:
        return next(iter(self.all(tag)), None)

    def value(self, tag: str) -> str:
        """The text of the first child of this tag, empty for none."""
        child = self.first(tag)
        return child.text.strip()[:MAX_TEXT] if child else ""

    def items(self, tag: str) -> list[str]:
        """The texts of the elements inside the first child of this tag."""
        child = self.first(tag)
        found = [item.text.strip()[:MAX_TEXT] for item in child.children] if child else []
        return [item for item in found if item][:MAX_ITEMS]


class _TreeBuilder:
    """Collects elements; refuses what XML can do beyond them."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= _MAX_XML_DEPTH or self._count > _MAX_XML_NODES:
            raise ExtractionError("it has too many or too deep elements")
        node = Node(tag.rpartition(":")[2], attributes)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        node = self._open[-1]
        if len(node.text) < 64 * MAX_TEXT:
            node.text += text

    def forbidden(self, *_: object) -> None:
        raise ExtractionError("it declares a document type or an entity, which is not allowed")


def parse_xml(data: bytes) -> Node:
    """An XML document without document type, entities or anything external. Raises ExtractionError."""
    parser = expat.ParserCreate()
    builder = _TreeBuilder()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = builder.forbidden
    parser.EntityDeclHandler = builder.forbidden
    parser.ExternalEntityRefHandler = builder.forbidden  # type: ignore[assignment]
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ExtractionError(f"it is not valid XML ({expat.errors.messages.get(error.code, 'error')})") from None
    if builder.root is None:
        raise ExtractionError("it is empty")
    return builder.root


def text(value: object) -> str:
    """A string or number as bounded text; empty for anything else."""
    if isinstance(value, str):
        return value.strip()[:MAX_TEXT]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)[:MAX_TEXT]
    return ""


def listed(value: object) -> list[Any]:
    """A list, cut to a bound; a lone value as a list of one; nothing as none."""
    if value is None:
        return []
    return value[:MAX_ITEMS] if isinstance(value, list) else [value]


def texts(value: object) -> tuple[str, ...]:
    """The texts in a list or lone value, without empty ones."""
    return tuple(found for found in map(text, listed(value)) if found)


def mapping(value: object) -> dict[str, Any]:
    """An object, cut to a bound; empty for anything else."""
    if not isinstance(value, dict):
        return {}
    return dict(list(value.items())[:MAX_ITEMS])

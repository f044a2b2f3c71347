"""What a GraphQL document may cost, found before anything validates or runs it.

Validation itself is quadratic in repeated fields and exponential in nested fragments, so the document is
measured first: parsed under a token limit, its fragments counted as often as they are spread (each measured
once), its lists multiplied by how long they may be.
"""

from collections.abc import Mapping
from typing import Any, Final

import graphql
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
)
from graphql.language import InlineFragmentNode

from loadstone.kernel.errors import InvalidInputError

MOST_TOKENS: Final = 2000
MOST_FIELDS: Final = 500
MOST_DEPTH: Final = 10
MOST_COST: Final = 50_000
LIST_LENGTHS: Final[Mapping[str, int]] = {
    "games": 20, "mods": 20, "releases": 20, "chains": 5, "claims": 10, "builds": 10, "files": 2,
}  # fmt: skip
"""How many items a list field is taken to have where no argument says it."""
MOST_ITEMS: Final = 100
"""Items that one list gives at most."""


class BadDocumentError(InvalidInputError):
    code = "invalid-document"
    title = "This GraphQL document cannot be run; see /graphql/schema for what there is"


class _Size:
    """Fields, depth and cost of a part of the document."""

    __slots__ = ("cost", "depth", "fields")

    def __init__(self, fields: int = 0, depth: int = 0, cost: int = 0) -> None:
        self.fields = fields
        self.depth = depth
        self.cost = cost

    def add(self, other: "_Size") -> None:
        self.fields += other.fields
        self.depth = max(self.depth, other.depth)
        self.cost += other.cost
        if self.fields > MOST_FIELDS:
            raise BadDocumentError(f"The document asks for more than {MOST_FIELDS} fields; ask in several.")
        if self.cost > MOST_COST:
            raise BadDocumentError("The lists in lists of the document may have too many items; ask for fewer.")


def check_document(text: str, variables: Mapping[str, Any] | None, operation: str | None) -> None:
    """Refuse what is no document, does not read, or costs too much. Raises :class:`BadDocumentError`."""
    try:
        document = graphql.parse(text, max_tokens=MOST_TOKENS, no_location=True)
    except graphql.GraphQLError as error:
        raise BadDocumentError(error.message) from None
    except RecursionError:
        raise BadDocumentError("The document is nested too deeply.") from None
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    chosen = [o for o in operations if operation is None or (o.name and o.name.value == operation)]
    if len(chosen) != 1:
        raise BadDocumentError("Name one of the document's operations in operationName.")
    if any(o.operation is not OperationType.QUERY for o in operations):
        raise BadDocumentError("The graph is read-only: send a query.")
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    measure = _Measure(fragments, variables or {})
    for one in operations:
        measure.selection(one.selection_set)
    for name in fragments:
        measure.fragment(name)


class _Measure:
    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]) -> None:
        self._fragments = fragments
        self._variables = variables
        self._known: dict[str, _Size | None] = {}

    def selection(self, chosen: SelectionSetNode | None, above: int = 0) -> _Size:
        size = _Size()
        if above > MOST_DEPTH:
            raise BadDocumentError(f"The document is more than {MOST_DEPTH} levels deep.")
        for node in chosen.selections if chosen else ():
            if isinstance(node, FieldNode):
                below = self.selection(node.selection_set, above + 1)
                size.add(_Size(1 + below.fields, 1 + below.depth, 1 + self._length(node) * below.cost))
            elif isinstance(node, FragmentSpreadNode):
                size.add(self.fragment(node.name.value))
            elif isinstance(node, InlineFragmentNode):
                size.add(self.selection(node.selection_set, above + 1))
        if size.depth > MOST_DEPTH:
            raise BadDocumentError(f"The document is more than {MOST_DEPTH} levels deep.")
        return size

    def fragment(self, name: str) -> _Size:
        if name not in self._known:
            self._known[name] = None
            found = self._fragments.get(name)
            self._known[name] = self.selection(found.selection_set) if found else _Size()
        size = self._known[name]
        if size is None:
            raise BadDocumentError(f"The fragment {name} spreads itself.")
        return size

    def _length(self, field: FieldNode) -> int:
        """How many items the field may have; more than a list gives is refused by the list itself."""
        for argument in field.arguments or ():
            if argument.name.value in {"first", "ids"}:
                return max(0, min(self._asked(argument.value), MOST_ITEMS))
        return LIST_LENGTHS.get(field.name.value, 1)

    def _asked(self, value: Any) -> int:
        if isinstance(value, VariableNode):
            given = self._variables.get(value.name.value)
            return len(given) if isinstance(given, list) else given if type(given) is int else MOST_ITEMS
        if isinstance(value, ListValueNode):
            return len(value.values)
        return int(value.value) if isinstance(value, IntValueNode) and len(value.value) < 9 else MOST_ITEMS

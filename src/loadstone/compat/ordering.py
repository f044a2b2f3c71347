"""Why a newly published version sorts before its predecessor: a slip, a back-port, or a new numbering.

Publishing asks the author instead of guessing, with the likeliest cause first and what each would mean.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from loadstone.compat.ranges.errors import shown
from loadstone.compat.versions import InvalidVersion, Scheme, Version

_NUMBERS = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_LOOKED_AT = 64
_MOST_NUMBERS = 8
_LONGEST_NUMBER = 12
_LONG_TEXT = 7
_RECENT = 3


class Cause(StrEnum):
    """Why a version is out of order."""

    TYPO = "typo"
    BACK_PORT = "back_port"
    NEW_NUMBERING = "new_numbering"


class OrderQuestion(msgspec.Struct, frozen=True):
    """What to ask an author whose new version is not newer than the one before.

    `causes` are ordered, likeliest first. `suggestions` are versions that the author may have meant, if it is a
    slip; `line` is the branch that a back-port would continue; `epoch` is the one that a new numbering would open.
    """

    version: str
    predecessor: str
    causes: tuple[Cause, ...]
    sentence: str
    suggestions: tuple[str, ...] = ()
    line: str = ""
    epoch: int = 0

    @property
    def cause(self) -> Cause:
        return self.causes[0]


def ask_about_order(
    scheme: Scheme, version: str, predecessor: str, earlier: Sequence[str] = ()
) -> OrderQuestion | None:
    """What to ask when `version` follows `predecessor`; None when it is newer, as it should be.

    `earlier` are the versions published before the predecessor, oldest first; texts that are no versions of the
    scheme are passed over. Raises InvalidVersion for `version` and `predecessor`.
    """
    new, last = scheme.parse(version), scheme.parse(predecessor)
    if new.key > last.key:
        return None
    if new.key == last.key:
        sentence = f"{_short(version)} and {_short(predecessor)} stand in the same place. Did you mean a higher number?"
        higher = _with_numbers(new.raw, _successors(last.raw))[:3]
        return OrderQuestion(version, predecessor, (Cause.TYPO,), sentence, higher)
    before = _parsed(scheme, earlier)
    causes: tuple[Cause, ...]
    if _predecessor_slipped(new, last, before):
        causes = (Cause.TYPO, Cause.BACK_PORT, Cause.NEW_NUMBERING)
        sentence = (
            f"{_short(version)} sorts before {_short(predecessor)}, which looks like a slip after "
            f"{_short(before[-1].raw)}. If it is one, yank {_short(predecessor)}."
        )
        return OrderQuestion(version, predecessor, causes, sentence, (), new.line, last.epoch + 1)
    slips = _slips(scheme, new, last)
    causes = _ranked(new, last, before, has_slip=bool(slips))
    out_of_order = f"{_short(version)} sorts before {_short(predecessor)}."
    sentence = f"{out_of_order} {_sentence(causes[0], new, last, slips)}"
    return OrderQuestion(version, predecessor, causes, sentence, slips, new.line, last.epoch + 1)


def _predecessor_slipped(new: Version, last: Version, earlier: list[Version]) -> bool:
    """Whether the predecessor stands alone, a slip away from what should have followed the version before it."""
    recent = earlier[-_RECENT:]
    if not recent or new.line == last.line or new.key <= recent[-1].key:
        return False
    if any(version.line != new.line for version in recent):
        return False
    found = _NUMBERS.search(last.raw[:_LOOKED_AT])
    expected = _successors(recent[-1].raw)
    return found is not None and found[0] not in expected and any(_is_slip(found[0], e) for e in expected)


def _is_slip(written: str, meant: str) -> bool:
    """One slip of the hand apart; two where the text is long."""
    return 0 < _distance(written, meant) <= 1 + (max(len(written), len(meant)) > _LONG_TEXT)


def _parsed(scheme: Scheme, texts: Sequence[str]) -> list[Version]:
    parsed: list[Version] = []
    for text in texts:
        try:
            parsed.append(scheme.parse(text))
        except InvalidVersion:
            continue
    return parsed


def _ranked(new: Version, last: Version, earlier: list[Version], *, has_slip: bool) -> tuple[Cause, ...]:
    """The causes, likeliest first.

    A line that has releases already, and that the new version continues at its end, is a back-port almost
    surely; one that is close to the expected next version is a slip; what is left is a new numbering.
    """
    if new.line != last.line and _continues_line(new, earlier):
        order = (Cause.BACK_PORT, Cause.TYPO, Cause.NEW_NUMBERING)
    elif has_slip:
        order = (Cause.TYPO, Cause.NEW_NUMBERING, Cause.BACK_PORT)
    else:
        order = (Cause.NEW_NUMBERING, Cause.BACK_PORT, Cause.TYPO)
    return order


def _continues_line(new: Version, earlier: list[Version]) -> bool:
    line = [version.key for version in earlier if version.line == new.line and version.epoch == new.epoch]
    return bool(line) and max(line) < new.key


def _slips(scheme: Scheme, new: Version, last: Version) -> tuple[str, ...]:
    """Versions newer than `last` that one slip of the hand turns into `new`, best first."""
    found = _NUMBERS.search(new.raw[:_LOOKED_AT])
    if found is None:
        return ()
    written = found[0]
    meant = tuple(
        candidate
        for candidate in (*_as_decimals(written, last.raw), *_successors(last.raw))
        if _is_slip(written, candidate)
    )
    return tuple(text for text in _with_numbers(new.raw, meant) if _is_newer(scheme, text, last))[:3]


def _with_numbers(raw: str, numbers: tuple[str, ...]) -> tuple[str, ...]:
    """`raw` with its numbers replaced by each of `numbers`."""
    found = _NUMBERS.search(raw[:_LOOKED_AT])
    if found is None:
        return numbers
    return tuple(dict.fromkeys(raw[: found.start()] + text + raw[found.end() :] for text in numbers))


def _is_newer(scheme: Scheme, text: str, last: Version) -> bool:
    try:
        return scheme.key(text) > last.key
    except InvalidVersion:
        return False


def _successors(predecessor: str) -> tuple[str, ...]:
    """What would usually come after `predecessor`: one of its numbers higher, smallest step first."""
    numbers = _numbers(predecessor)
    steps: list[str] = []
    for position in range(len(numbers) - 1, -1, -1):
        for step in (1, 2):
            raised = [*numbers[:position], numbers[position] + step]
            steps.append(".".join(map(str, [*raised, *[0] * (len(numbers) - position - 1)])))
            steps.append(".".join(map(str, raised)))
    if numbers:
        steps.append(".".join(map(str, [*numbers, 1])))
    return tuple(dict.fromkeys(steps))


def _as_decimals(written: str, predecessor: str) -> tuple[str, ...]:
    """The version with its last number filled up, when both read as decimals do: 0.7 after 0.65 becomes 0.70."""
    last = _NUMBERS.search(predecessor[:_LOOKED_AT])
    if last is None:
        return ()
    head, _, digits = written.rpartition(".")
    last_head, _, last_digits = last[0].rpartition(".")
    if not head or head != last_head or len(digits) >= len(last_digits):
        return ()
    filled = digits.ljust(len(last_digits), "0")
    return (f"{head}.{filled}",) if filled > last_digits else ()


def _numbers(text: str) -> list[int]:
    found = _NUMBERS.search(text[:_LOOKED_AT])
    if found is None:
        return []
    parts = re.split("[.,]", found[0])[:_MOST_NUMBERS]
    return [int(part) for part in parts] if all(len(part) <= _LONGEST_NUMBER for part in parts) else []


def _distance(a: str, b: str) -> int:
    """Characters to insert, drop, change or swap with a neighbour until `a` is `b` (optimal string alignment)."""
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        row = [i]
        for j, right in enumerate(b, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


def _sentence(cause: Cause, new: Version, last: Version, slips: tuple[str, ...]) -> str:
    match cause:
        case Cause.TYPO:
            return f"Did you mean {_short(slips[0])}?"
        case Cause.BACK_PORT:
            line, newest = _short(new.line), _short(last.raw)
            return f"It continues the line {line}: publish it there, and {newest} stays the newest of all."
        case Cause.NEW_NUMBERING:
            return (
                "If you have started a new numbering, say so: it opens "
                f"epoch {last.epoch + 1}, and everything from before counts as older."
            )


def _short(text: str) -> str:
    return text if len(text) <= _LOOKED_AT and text.isprintable() else shown(text)

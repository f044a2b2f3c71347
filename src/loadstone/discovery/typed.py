"""What a person typed into the search box, understood without ever finding an error in it.

``"two words"`` must stand together, ``-word`` must not occur, the last word may be unfinished; everything
else is words that must all occur. Quotes without a partner, lone operators and other noise mean nothing.
"""

import re
from typing import Final

import msgspec

from loadstone.discovery.words import words

MOST_TEXT: Final = 500
"""Letters that are looked at."""
MOST_TERMS: Final = 16
_PART: Final = re.compile(r"(?P<minus>-?)(?:[\"“”„](?P<quoted>[^\"“”„]*)[\"“”„]?|(?P<plain>[^\s\"“”„]+))")

Phrase = tuple[str, ...]


class Typed(msgspec.Struct, frozen=True):
    """The parts of a query. ``prefix`` is the last word while it may still be unfinished."""

    words: tuple[str, ...] = ()
    prefix: str | None = None
    phrases: tuple[Phrase, ...] = ()
    excluded: tuple[Phrase, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for; what is excluded alone narrows a list of everything."""
        return not (self.words or self.prefix or self.phrases or self.excluded)

    @property
    def whole(self) -> str:
        """The plain words with one space between, to be compared with whole titles."""
        return " ".join((*self.words, self.prefix) if self.prefix else self.words)


def understand(text: str) -> Typed:
    """Understand what was typed; never raises."""
    plain: list[str] = []
    phrases: list[Phrase] = []
    excluded: list[Phrase] = []
    ends_plain = False
    text = text[:MOST_TEXT]
    for part in _PART.finditer(text):
        cut = tuple(words(part["quoted"] if part["plain"] is None else part["plain"]))
        if not cut or len(plain) + len(phrases) + len(excluded) >= MOST_TERMS:
            continue
        ends_plain = False
        if part["minus"]:
            excluded.append(cut[:MOST_TERMS])
        elif part["plain"] is None and len(cut) > 1:
            phrases.append(cut[:MOST_TERMS])
        else:
            plain.extend(cut)
            ends_plain = part["plain"] is not None and part.end() == len(text)
    plain = plain[:MOST_TERMS]
    prefix = plain.pop() if ends_plain and plain else None
    return Typed(tuple(plain), prefix, tuple(dict.fromkeys(phrases)), tuple(dict.fromkeys(excluded)))

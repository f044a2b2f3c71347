"""Words: how text is cut into what is searched for, the same way when indexing and when asking.

The cutting is done here and not in the index's tokenizers, so that both sides can never differ and no
process has anything to register.
"""

import re
import unicodedata
from typing import Final

MOST_LETTERS: Final = 60
"""Of one word; what is longer is cut."""

_WORD: Final = re.compile(r"[^\W_]+")
# Scripts without spaces: each sign is a word of its own, and a typed word finds them as a phrase.
_SPACELESS: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_INNER: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])")


def words(text: str) -> list[str]:
    """The words of a text: without case, accents, width or punctuation; signs of direction are dropped."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # lone surrogates
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in decomposed if unicodedata.category(c) not in {"Mn", "Cf"})
        text = _SPACELESS.sub(r" \g<0> ", unicodedata.normalize("NFKC", text))
    return [word[:MOST_LETTERS] for word in _WORD.findall(text.casefold())]


def inner_words(name: str) -> list[str]:
    """The words inside an identifier: ``ModuleManager2`` → module, manager, 2."""
    return words(_INNER.sub(" ", name))


def key(text: str) -> str:
    """A text as it is compared as a whole: its words with one space between."""
    return " ".join(words(text))

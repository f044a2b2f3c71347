"""LZMA (version 1) streams as zip and 7z carry them: bare, with their properties beside them."""

from __future__ import annotations

import lzma

from loadstone.archives.model import RefusedError

MAX_DICTIONARY = 96 * 1024 * 1024
_UNKNOWN_SIZE = b"\xff" * 8


def open_lzma1(properties: bytes, size: int | None) -> lzma.LZMADecompressor:
    """A decoder for a stream of `size` unpacked bytes, or one that ends by a mark (None).

    The decoder is that of `.lzma` files, fed with the header which such a file would have: unlike the raw
    one, it knows where the stream ends and gives back what lies behind. Raises RefusedError for invalid
    properties and for a dictionary of more than 96 MiB.
    """
    if len(properties) != 5 or properties[0] >= 9 * 5 * 5:
        raise RefusedError("damaged", "The archive's LZMA properties are invalid.")
    if int.from_bytes(properties[1:5], "little") > MAX_DICTIONARY:
        raise RefusedError(
            "memory-limit", "The archive needs a dictionary larger than 96 MiB; pack it with a smaller one."
        )
    engine = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    try:
        engine.decompress(properties + (_UNKNOWN_SIZE if size is None else size.to_bytes(8, "little")))
    except lzma.LZMAError:
        raise RefusedError("damaged", "The archive's LZMA properties are invalid.") from None
    return engine

"""A form with a file, read as it arrives: small fields in memory, the file straight to a temporary file.

For browsers without JavaScript; with it, the page sends the file by tus and this sees no bytes of it.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from loadstone.identity.models import Actor, CrossSiteError, fits_csrf
from loadstone.kernel.errors import InvalidInputError, TooLargeError, UnsupportedMediaTypeError

_MOST_FIELD_BYTES: Final = 256 * 1024


class Sent(msgspec.Struct):
    """What a form brought: its fields, and the file's name and place."""

    fields: dict[str, str]
    file_name: str = ""
    path: Path | None = None
    size: int = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes."""
        if self.path is None:
            return
        with self.path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, 1 << 20):
                yield chunk


@contextlib.asynccontextmanager
async def read_form_with_file(
    request: Request[Any, Any, Any], actor: Actor, folder: Path, most: int
) -> AsyncIterator[Sent]:
    """Read the form; the temporary file is gone after the block.

    The ``csrf`` field comes first in our forms: without the right one no byte of the file is kept. Raises
    :class:`CrossSiteError`, :class:`TooLargeError`, :class:`InvalidInputError`.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UnsupportedMediaTypeError("This page takes a form with a file (multipart/form-data).")
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="form-") as file:
        sent = Sent({})
        try:
            parser = PushMultipartParser(options["boundary"], max_header_count=8, max_segment_count=60)
            await _read(request, parser, actor, sent, file, most)
        except MultipartError as error:
            raise InvalidInputError(f"The form cannot be read: {error}.") from None
        file.flush()
        if sent.size:
            sent.path = Path(file.name)
        yield sent


async def _read(
    request: Request[Any, Any, Any],
    parser: PushMultipartParser,
    actor: Actor,
    sent: Sent,
    file: Any,
    most: int,
) -> None:
    segment: MultipartSegment | None = None
    field = bytearray()
    async for chunk in request.stream():
        for part in parser.parse(chunk):
            if isinstance(part, MultipartSegment):
                segment, field = part, bytearray()
                if part.filename is not None:
                    _check_token(actor, sent)
                    sent.file_name = part.filename.replace("\0", "")
            elif part is None:
                if segment is not None and segment.filename is None:
                    sent.fields[segment.name] = _text(field)
                segment = None
            elif segment is not None and segment.filename is not None:
                sent.size += len(part)
                if sent.size > most:
                    raise TooLargeError(f"A file here may have {most} bytes.")
                await asyncio.to_thread(file.write, bytes(part))
            else:
                field += part
                if len(field) > _MOST_FIELD_BYTES:
                    raise TooLargeError("A field of the form is too long.")
    parser.close()
    _check_token(actor, sent)


def _text(field: bytearray) -> str:
    try:
        text = field.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise InvalidInputError("A field of the form is not UTF-8.") from None
    if "\0" in text:
        raise InvalidInputError("The form has a NUL character in it.")
    return text


def _check_token(actor: Actor, sent: Sent) -> None:
    if not fits_csrf(actor, sent.fields.get("csrf", "")):
        raise CrossSiteError

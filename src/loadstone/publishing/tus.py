"""The words of the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload): headers in and out."""

import base64
import binascii
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Any, Final

import msgspec

from loadstone.kernel.errors import FieldError, InvalidInputError, UnsupportedMediaTypeError
from loadstone.publishing.models import TusVersionError, UploadEmptyError, UploadTooLargeError

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,checksum,expiration,termination"
CHECKSUMS: Final[Mapping[str, Callable[[], Any]]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}
CONTENT_TYPE: Final = "application/offset+octet-stream"
_MOST_METADATA: Final = 4096
_MOST_KEYS: Final = 20
_MOST_DIGITS: Final = 18


class Checksum(msgspec.Struct, frozen=True):
    """What the client says that the body's digest is."""

    algorithm: str
    digest: bytes


def check_version(headers: Mapping[str, str]) -> None:
    """Raises :class:`TusVersionError` for a client that speaks no version of ours."""
    if headers.get("tus-resumable", "").strip() != VERSION:
        raise TusVersionError


def check_content_type(headers: Mapping[str, str]) -> None:
    """Raises :class:`UnsupportedMediaTypeError` for a body that is not said to be upload bytes."""
    if not carries_bytes(headers):
        raise UnsupportedMediaTypeError(f"Send the bytes as Content-Type: {CONTENT_TYPE}.")


def carries_bytes(headers: Mapping[str, str]) -> bool:
    """Whether the body is upload bytes."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == CONTENT_TYPE


def number(headers: Mapping[str, str], name: str) -> int:
    """A header that is a non-negative integer. Raises :class:`InvalidInputError`."""
    text = headers.get(name.lower())
    if text is None:
        raise InvalidInputError(f"The header {name} is missing.", errors=[FieldError(name, "missing")])
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidInputError(
            f"The header {name} is not a non-negative integer.", errors=[FieldError(name, "not a number")]
        )
    return int(text)


def length(headers: Mapping[str, str], most: int) -> int:
    """``Upload-Length`` in bytes. Raises :class:`InvalidInputError`, :class:`UploadEmptyError` and
    :class:`UploadTooLargeError`.
    """
    if "upload-defer-length" in headers:
        raise InvalidInputError(
            "The length is needed at the start; send Upload-Length.",
            errors=[FieldError("Upload-Defer-Length", "not supported")],
        )
    found = number(headers, "Upload-Length")
    if found == 0:
        raise UploadEmptyError(errors=[FieldError("Upload-Length", "zero")])
    if found > most:
        raise UploadTooLargeError(f"An upload here may have {most} bytes; this one has {found}.")
    return found


def content_length(headers: Mapping[str, str]) -> int | None:
    """The body's length in bytes where the client said it."""
    return number(headers, "Content-Length") if "content-length" in headers else None


def metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """``Upload-Metadata``: keys with base64 values. Raises :class:`InvalidInputError`."""
    text = headers.get("upload-metadata", "").strip()
    if not text:
        return {}
    if len(text) > _MOST_METADATA:
        raise _bad_metadata(f"has more than {_MOST_METADATA} characters")
    found: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition(" ")
        if not key or not key.isascii() or not key.isprintable():
            raise _bad_metadata("has an empty or odd key")
        if key in found:
            raise _bad_metadata(f"has the key {key[:40]} twice")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise _bad_metadata(f"has a value for {key[:40]} that is not base64 of UTF-8") from None
        if "\0" in found[key]:
            raise _bad_metadata(f"has a NUL character in {key[:40]}")
    if len(found) > _MOST_KEYS:
        raise _bad_metadata(f"has more than {_MOST_KEYS} keys")
    return found


def metadata_header(values: Mapping[str, str]) -> str:
    """The inverse of :func:`metadata`."""
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}".rstrip() for k, v in values.items())


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    """``Upload-Checksum`` of the body. Raises :class:`InvalidInputError` for an algorithm we do not have."""
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, value = text.strip().partition(" ")
    if algorithm not in CHECKSUMS:
        raise InvalidInputError(
            f"The checksum algorithm is not one of {', '.join(CHECKSUMS)}.",
            errors=[FieldError("Upload-Checksum", "unknown algorithm")],
        )
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != CHECKSUMS[algorithm]().digest_size:
        raise InvalidInputError(
            f"The checksum is not the base64 of a {algorithm} digest.",
            errors=[FieldError("Upload-Checksum", "not a digest")],
        )
    return Checksum(algorithm, digest)


def http_date(at: dt.datetime) -> str:
    """A time as HTTP writes it (RFC 9110 §5.6.7), for ``Upload-Expires``."""
    return format_datetime(at.astimezone(dt.UTC).replace(microsecond=0), usegmt=True)


def _bad_metadata(what: str) -> InvalidInputError:
    return InvalidInputError(f"Upload-Metadata {what}.", errors=[FieldError("Upload-Metadata", what)])

"""Which format a file is, and whether it is that format only."""

from __future__ import annotations

import importlib
import re
import sys

import msgspec

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.rarread import own_copy, path_of, read_rar
from loadstone.archives.reading import Budget, Visitor
from loadstone.archives.sevenzip import read_7z
from loadstone.archives.sniff import (
    ARCHIVE_TYPES,
    COMPRESSED_TYPES,
    EXECUTABLE_TYPES,
    HEAD,
    content_type,
    is_tar,
)
from loadstone.archives.source import Source
from loadstone.archives.streams import StreamReader, ZstdReader
from loadstone.archives.tarread import Bytes, PlainReader, TarReader
from loadstone.archives.zipread import read_zip
from loadstone.archives.zipwalk import END, MAX_COMMENT, ZipPlan, walk

_TAR_OF = {"gzip": "tar.gz", "bzip2": "tar.bz2", "xz": "tar.xz", "zstd": "tar.zst"}
_PACKED_BY = {form: kind for kind, form in _TAR_OF.items()}
FORMATS = ("zip", "7z", "rar", "tar", *_TAR_OF.values())

# What an extension promises. Other extensions promise nothing.
_PROMISES: dict[str, tuple[str, ...]] = {
    ".tar.gz": ("tar.gz",),
    ".tgz": ("tar.gz",),
    ".tar.bz2": ("tar.bz2",),
    ".tbz2": ("tar.bz2",),
    ".tbz": ("tar.bz2",),
    ".tar.xz": ("tar.xz",),
    ".txz": ("tar.xz",),
    ".tar.zst": ("tar.zst",),
    ".tzst": ("tar.zst",),
    ".tar": ("tar",),
    ".zip": ("zip",),
    ".jar": ("zip",),
    ".mrpack": ("zip",),
    ".mcpack": ("zip",),
    ".mcaddon": ("zip",),
    ".mcworld": ("zip",),
    ".litemod": ("zip",),
    ".7z": ("7z",),
    ".rar": ("rar",),
}
_NOT_ARCHIVES = re.compile(
    r".*\.(?:exe|dll|com|scr|msi|bat|cmd|ps1|sh|so|class|lua|py|cs|js|html?|css"
    r"|png|jpe?g|gif|bmp|webp|svg|ico|tga|dds|psd|pdf|iso|mp3|ogg|wav|flac|mp4|avi|mkv"
    r"|txt|md|rtf|json|xml|toml|ya?ml|ini|cfg|csv|es[mpl]|bsa|ba2|nif|gz|bz2|xz|zst)",
    re.IGNORECASE | re.DOTALL,
)


class Needs(msgspec.Struct):
    """What reading an upload needs beyond its descriptor."""

    reopen: int | None = None
    """A descriptor whose file a library must be able to open again."""
    path: str | None = None
    """By what path it does."""


class Opened(msgspec.Struct):
    """What a reader knows about an archive beyond its files."""

    directories: int = 0
    comment: str = ""
    mixed_case: str = ""


def prepare(head: bytes, descriptor: int) -> Needs:
    """Load, before the jail closes, the code that reading a file with this first block needs."""
    kind = content_type(head, len(head))
    if kind == "zstd":
        importlib.import_module("zstandard")
    if kind == "rar":
        importlib.import_module("unrar.cffi.unrarlib")
        copy = own_copy(descriptor)
        return Needs(copy, path_of(copy))
    return Needs()


def top_format(source: Source) -> str:
    """The format of an upload. Raises RefusedError for what is no archive, is several things at once, or runs
    itself.
    """
    if source.size == 0:
        raise RefusedError("not-an-archive", "The file is empty.")
    head = source.read_at(0, min(source.size, HEAD))
    if head[:4] in (b"PK\x07\x08", b"PK00"):
        raise RefusedError("multi-volume", "The archive is one volume of several; upload a single file.")
    kind = content_type(head, source.size)
    if kind not in ARCHIVE_TYPES and kind not in COMPRESSED_TYPES:
        raise _no_archive(source, kind)
    if kind == "zip" and is_tar(head):
        raise RefusedError("polyglot", "The file is a zip and a tar at once.")
    if kind != "zip" and _has_zip_end(source):
        raise RefusedError("polyglot", f"The file is a {kind} and a zip at once.")
    if source.size >= 0x8006 and source.read_at(0x8001, 5) == b"CD001":
        raise RefusedError("polyglot", "The file is an archive and a disc image at once.")
    return _TAR_OF.get(kind, kind)


def _no_archive(source: Source, kind: str) -> RefusedError:
    inside = _has_zip_end(source) or _has_signature(source)
    if kind in EXECUTABLE_TYPES or kind == "script":
        if inside:
            return RefusedError("self-extracting", "The file is a self-extracting program; upload a plain archive.")
        return RefusedError("not-an-archive", "The file is a program, not an archive.")
    if inside:
        return RefusedError("polyglot", "The file has an archive hidden behind other data.")
    return RefusedError("not-an-archive", "The file is not a zip, 7z, rar or tar archive.")


def _has_zip_end(source: Source) -> bool:
    """Whether a zip reader, which starts at the end, would take the file for a zip."""
    start = max(0, source.size - 22 - MAX_COMMENT)
    tail = source.read_at(start, source.size - start)
    at = tail.rfind(END)
    while at >= 0:
        comment = int.from_bytes(tail[at + 20 : at + 22], "little")
        if at + 22 + comment == len(tail):
            return True
        at = tail.rfind(END, 0, at + 3)
    return False


def _has_signature(source: Source) -> bool:
    """Whether 7z or rar data follow a program stub, where their tools look for them."""
    head = source.read_at(0, min(source.size, 1 << 20))
    return b"7z\xbc\xaf\x27\x1c" in head or b"Rar!\x1a\x07" in head


def declared_format(name: str, kind: str) -> None:
    """Raises RefusedError where a file name promises another format than the bytes are."""
    lower = name.lower()
    for extension, kinds in _PROMISES.items():
        if lower.endswith(extension):
            if kind not in kinds:
                raise RefusedError("type-mismatch", f"{shown(name)} is named like a {kinds[0]} and is a {kind}.")
            return
    if _NOT_ARCHIVES.fullmatch(name):
        raise RefusedError("type-mismatch", f"{shown(name)} is a {kind} under the name of something else.")


def nested_format(kind: str, path: str) -> str:
    """The format in which a file inside an archive would be opened, or empty. Lone compressed files are
    files.
    """
    if kind in ARCHIVE_TYPES:
        return kind
    if kind in COMPRESSED_TYPES:
        lower = path.lower()
        if kind == "zstd" and "zstandard" not in sys.modules:
            return ""  # its decoder is loaded only for uploads of that kind; the file is listed
        for extension, kinds in _PROMISES.items():
            if lower.endswith(extension) and kinds[0].startswith("tar."):
                return _TAR_OF[kind]
    return ""


def open_archive(
    kind: str,
    source: Source,
    limits: Limits,
    visitor: Visitor,
    budget: Budget,
    *,
    path: str | None = None,
) -> Opened:
    """Read an archive of a known format to its last byte. Raises RefusedError.

    By `path`, a library may open the upload again (see `prepare`); an archive within an archive has none.
    """
    if kind == "zip":
        plan = walk(source, limits)
        _refuse_document(source, plan)
        read_zip(source, plan, visitor, budget)
        return Opened(plan.tree.directories, plan.comment.decode("utf-8", "replace"), plan.tree.mixed_case)
    if kind == "7z":
        tree = read_7z(source, limits, visitor, budget)
    elif kind == "rar":
        tree = read_rar(source, limits, visitor, budget, path)
    else:
        tree = TarReader(_tar_bytes(kind, source), limits, visitor, budget).read()
    return Opened(tree.directories, "", tree.mixed_case)


def _tar_bytes(kind: str, source: Source) -> Bytes:
    """The bytes of a tar, unpacked where it is packed."""
    if kind == "tar":
        return PlainReader(source)
    if kind == "tar.zst":
        return ZstdReader(source)
    return StreamReader(source, _PACKED_BY[kind])


def _refuse_document(source: Source, plan: ZipPlan) -> None:
    """PDF readers take a file whose first kilobyte contains their mark (ISO 32000 annex H), whatever
    surrounds it.
    """
    at = source.read_at(0, min(source.size, 1024 + 5)).find(b"%PDF-")
    if at >= 0 and not any(member.data == at for member in plan.members[:16]):
        raise RefusedError("polyglot", "The file is a zip and a PDF at once.")

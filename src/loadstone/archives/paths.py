"""One canonical form for every path inside an archive, and refusal of all that is dangerous somewhere.

Law: a canonical path means the same file on Linux, macOS and Windows, under any of their file systems.
Sources: Microsoft "Naming Files, Paths, and Namespaces"; UAX #15 (NFC); PKWARE APPNOTE 4.4.17.
"""

from __future__ import annotations

import re
import unicodedata

from loadstone.archives.model import Limits, RefusedError

MAX_COMPONENT_BYTES = 255
"""NAME_MAX of ext4, XFS, APFS; NTFS allows 255 UTF-16 units."""

_PLAIN = re.compile(r"[A-Za-z0-9_\-+=,;@#%&!()\[\]{}'~$^. ]*[A-Za-z0-9_\-+=,;@#%&!()\[\]{}'~$^]\Z")
_FORBIDDEN = re.compile(r'[<>:"|?*\\/]')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Direction overrides and isolates show one extension and carry another; separators and the BOM are invisible.
_DECEPTIVE = re.compile("[\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2064\u3164\ufe00-\ufe0f]"
)
_DEVICES = r"CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3]"
_RESERVED = re.compile(rf"(?:{_DEVICES})[ ]*(?:[.:].*)?\Z", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")


def canonical(name: str, limits: Limits) -> str:
    """The canonical form of a file's or directory's path (a directory without its trailing slash).

    `name` has forward slashes already. A single leading `./` (as tar and bsdtar write it) is dropped; the
    root itself (`./`) gives the empty string. Raises RefusedError with a `path-…` code for anything that
    is absolute, climbs out, is reserved or unportable, or is too long.
    """
    path = name.removesuffix("/")
    if path == ".":
        return ""
    path = path.removeprefix("./")
    _check_whole(path, limits)
    parts = [_component(part, path) for part in path.split("/")]
    if len(parts) > limits.max_path_depth:
        raise RefusedError("path-too-deep", f"{shown(path)} is more than {limits.max_path_depth} folders deep.")
    result = "/".join(parts)
    if len(result.encode()) > limits.max_path_bytes:
        raise RefusedError("path-too-long", f"{shown(path)} is longer than {limits.max_path_bytes} bytes.")
    return result


def collision_key(path: str) -> str:
    """Two paths with the same key are one file on some file system (case-blind, normalising, or ignoring
    invisible characters, as HFS+ does).
    """
    if path.isascii():
        return path.lower()
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
    return _INVISIBLE.sub("", folded)


def shown(path: str) -> str:
    """The path in quotes for a sentence: escaped and shortened, so that it cannot disturb a terminal or
    log.
    """
    short = path if len(path) <= 120 else f"{path[:80]}…{path[-30:]}"
    escaped = short.encode("unicode_escape", "surrogatepass").decode("ascii") if not short.isprintable() else short
    return f"“{escaped}”"


def _check_whole(path: str, limits: Limits) -> None:
    if not path:
        raise RefusedError("path-empty", "An entry has no name.")
    if len(path) > limits.max_path_bytes:
        raise RefusedError("path-too-long", f"{shown(path)} is longer than {limits.max_path_bytes} bytes.")
    if _CONTROL.search(path):
        raise RefusedError("path-control-character", f"{shown(path)} contains a control character.")
    if path.startswith(("//", "\\\\")):
        raise RefusedError("path-absolute", f"{shown(path)} is a network (UNC) path.")
    if path[0] in "/\\":
        raise RefusedError("path-absolute", f"{shown(path)} is an absolute path.")
    if _DRIVE.match(path):
        raise RefusedError("path-absolute", f"{shown(path)} names a drive.")
    if path[0] == "~" and path.partition("/")[0] == "~":
        raise RefusedError("path-absolute", f"{shown(path)} names a home folder.")
    if not path.isascii():
        _check_unicode(path)


def _check_unicode(path: str) -> None:
    if _DECEPTIVE.search(path):
        raise RefusedError("path-deceptive", f"{shown(path)} contains characters that change how it is displayed.")
    if any("\ud800" <= char <= "\udfff" for char in path):
        raise RefusedError("path-encoding", f"{shown(path)} is not valid text.")
    # Windows maps full-width dots and slashes to plain ones when a program uses its 8-bit calls.
    compatible = unicodedata.normalize("NFKC", path)
    if ".." in re.split(r"[/\\]", compatible):
        raise RefusedError("path-traversal", f"{shown(path)} climbs out of the archive in disguise.")


def _component(part: str, path: str) -> str:
    if not part:
        raise RefusedError("path-empty-component", f"{shown(path)} contains an empty folder name.")
    if part == "..":
        raise RefusedError("path-traversal", f"{shown(path)} climbs out of the archive.")
    if part == ".":
        raise RefusedError("path-dot-component", f"{shown(path)} contains a “.” folder.")
    if not _PLAIN.match(part):
        _check_characters(part, path)
        part = unicodedata.normalize("NFC", part)
    if _RESERVED.match(part):
        raise RefusedError("path-reserved", f"{shown(path)} uses a name that Windows reserves for a device.")
    if len(part) * 4 > MAX_COMPONENT_BYTES and len(part.encode()) > MAX_COMPONENT_BYTES:
        raise RefusedError("path-too-long", f"{shown(path)} has a name longer than {MAX_COMPONENT_BYTES} bytes.")
    return part


def _check_characters(part: str, path: str) -> None:
    if ":" in part:
        raise RefusedError("path-stream", f"{shown(path)} contains a colon (a Windows stream or drive).")
    if "\\" in part:
        raise RefusedError(
            "path-backslash", f"{shown(path)} contains a backslash, which is a separator on Windows only."
        )
    if _FORBIDDEN.search(part):
        raise RefusedError("path-unportable", f"{shown(path)} contains a character that Windows does not allow.")
    if part[-1] in ". ":
        raise RefusedError("path-trailing-dot", f"{shown(path)} has a name that ends in a dot or a space.")
    if part[-1].isspace() or part[0].isspace():
        raise RefusedError("path-trailing-dot", f"{shown(path)} has a name that begins or ends in white space.")

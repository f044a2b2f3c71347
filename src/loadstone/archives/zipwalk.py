"""The strict walk through a zip's framing. Reads the bytes itself and never asks `zipfile`.

Law: central directory, local headers, data and descriptors say the same, lie end to end from the first byte
to
the last, and leave no byte unexplained. Then all readers see the same files, whichever end they start from.
Source: PKWARE APPNOTE.TXT 6.3.10; the differences between readers are those of "My ZIP isn't your ZIP"
(USENIX Security 2025).
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.source import Source, Window
from loadstone.archives.tree import PathTree

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"
END64 = b"PK\x06\x06"
LOCATOR64 = b"PK\x06\x07"
DESCRIPTOR = b"PK\x07\x08"
_SIGNATURES = (LOCAL, CENTRAL, END, END64, LOCATOR64)

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")

MAX_COMMENT = 0xFFFF
_TAIL = _END.size + MAX_COMMENT
_MAX_DIRECTORY = 64 * 1024 * 1024

STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
METHODS = {STORED: "stored", DEFLATED: "deflate", BZIP2: "bzip2", LZMA: "lzma"}

_LATEST_VERSION = 63
_ENCRYPTED_FLAGS = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR_FLAG = 0x0008
_UTF8_FLAG = 0x0800
_ALLOWED_FLAGS = 0x0006 | _DESCRIPTOR_FLAG | _UTF8_FLAG
_SAME_FLAGS = 0xFFFF ^ 0x0006  # the level hint in bits 1 and 2 is set in one header only by some tools

_X_ZIP64, _X_PKWARE_UNIX, _X_STRONG, _X_UNICODE_PATH, _X_AES = 0x0001, 0x000D, 0x0017, 0x7075, 0x9901

_HOSTS_DOS = {0, 6, 10, 11, 14}  # FAT, HPFS, NTFS as written by various tools, VFAT
_S_IFMT, _S_IFDIR, _S_IFREG = 0o170000, 0o040000, 0o100000
_DOS_DIRECTORY, _DOS_VOLUME, _DOS_DEVICE, _WINDOWS_REPARSE = 0x10, 0x08, 0x40, 0x400


class Member(msgspec.Struct):
    """One entry whose framing has been proved. Offsets and sizes in bytes."""

    name: str
    """As decoded, with forward slashes and, for a folder, its trailing slash."""
    raw: bytes
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    directory: bool
    executable: bool
    extra: bytes
    data: int = 0
    path: str = ""
    """Canonical; empty only for the root folder."""


class ZipPlan(msgspec.Struct):
    """What is in the zip, in the order of the bytes."""

    members: list[Member]
    comment: bytes
    tree: PathTree


class _End(msgspec.Struct):
    count: int
    directory_size: int
    directory_offset: int
    comment: bytes


def walk(source: Source, limits: Limits) -> ZipPlan:
    """Prove the framing of a zip and list its members. Inflates nothing.

    Raises RefusedError with a stable code at the first thing that does not fit.
    """
    if source.size < _END.size:
        raise RefusedError("truncated", "The file is too short to be a zip.")
    end = _find_end(source)
    if end.count == 0:
        raise RefusedError("no-entries", "The archive contains no file.")
    if end.count > limits.max_entries:
        raise RefusedError("too-many-entries", f"The archive has more than {limits.max_entries} entries.")
    if end.directory_size > _MAX_DIRECTORY:
        raise RefusedError("directory-too-large", "The archive's directory is too large.")
    directory = source.read_at(end.directory_offset, end.directory_size)
    members = _read_directory(directory, end.count)
    _check_budget(members, source.size, limits)
    tree = PathTree(limits)
    for member in members:
        member.path = tree.add_directory(member.name) if member.directory else tree.add_file(member.name)
    members.sort(key=_offset)
    _walk_locals(source, members, end.directory_offset)
    return ZipPlan(members, end.comment, tree)


def _offset(member: Member) -> int:
    return member.offset


# --- the end ------------------------------------------------------------------------------------------------


def _find_end(source: Source) -> _End:
    tail_start = max(0, source.size - _TAIL)
    tail = source.read_at(tail_start, source.size - tail_start)
    at = _locate_end(tail)
    signature, disk, cd_disk, here, count, size, offset, _ = _END.unpack_from(tail, at)
    assert signature == END
    comment = tail[at + _END.size :]
    if any(mark in comment for mark in _SIGNATURES):
        raise RefusedError("several-ends", "The archive's comment contains another archive's structure.")
    position = tail_start + at
    stop = position
    has_locator = position >= _LOCATOR64.size and source.read_at(position - _LOCATOR64.size, 4) == LOCATOR64
    if has_locator:
        wide = _read_end64(source, position - _LOCATOR64.size)
        for narrow, value, none in (
            (disk, 0, 0xFFFF),
            (cd_disk, 0, 0xFFFF),
            (here, wide.count, 0xFFFF),
            (count, wide.count, 0xFFFF),
            (size, wide.directory_size, 0xFFFFFFFF),
            (offset, wide.directory_offset, 0xFFFFFFFF),
        ):
            if narrow not in (value, none):
                raise RefusedError("zip64-mismatch", "The two end records of the archive disagree.")
        count, size, offset = wide.count, wide.directory_size, wide.directory_offset
        stop = position - _LOCATOR64.size - _END64.size
    else:
        if disk or cd_disk:
            raise RefusedError("multi-volume", "The archive is one volume of several; upload a single file.")
        if here != count:
            raise RefusedError("end-mismatch", "The archive's end record contradicts itself.")
        if 0xFFFFFFFF in (size, offset):
            raise RefusedError("zip64-missing", "The archive announces a zip64 record that is not there.")
    _check_place(size, offset, stop)
    return _End(count, size, offset, comment)


def _check_place(size: int, offset: int, stop: int) -> None:
    if offset + size > stop:
        raise RefusedError("truncated", "The archive's directory lies outside of the file; it is cut or damaged.")
    if offset + size < stop:
        raise RefusedError(
            "hidden-data", "There are bytes before the archive or between its directory and its end record."
        )


def _locate_end(tail: bytes) -> int:
    """Offset in `tail` of the only end record whose comment reaches exactly to the end of the file."""
    fitting: list[int] = []
    seen = False
    at = tail.rfind(END)
    while at >= 0:
        seen = True
        if at + _END.size <= len(tail):
            comment = int.from_bytes(tail[at + 20 : at + 22], "little")
            if at + _END.size + comment == len(tail):
                fitting.append(at)
        at = tail.rfind(END, 0, at + 3)
    if len(fitting) > 1:
        raise RefusedError("several-ends", "The archive has more than one end record.")
    if not fitting:
        if seen:
            raise RefusedError("trailing-data", "There are bytes after the end of the archive, or its end is cut.")
        raise RefusedError("truncated", "The archive's end record is missing; it is cut or damaged.")
    last = tail.rfind(END)
    if last != fitting[0]:
        raise RefusedError("several-ends", "The archive's comment contains another end record.")
    return fitting[0]


def _read_end64(source: Source, locator_at: int) -> _End:
    _, disk, offset, disks = _LOCATOR64.unpack(source.read_at(locator_at, _LOCATOR64.size))
    if disk != 0 or disks > 1:
        raise RefusedError("multi-volume", "The archive is one volume of several; upload a single file.")
    if offset + _END64.size != locator_at:
        raise RefusedError("zip64-mismatch", "The archive's zip64 record is not where it is said to be.")
    fields = _END64.unpack(source.read_at(offset, _END64.size))
    signature, record_size, _, _, disk, cd_disk, here, count, size, cd_offset = fields
    if signature != END64 or record_size != _END64.size - 12:
        raise RefusedError("zip64-mismatch", "The archive's zip64 record is malformed.")
    if disk or cd_disk:
        raise RefusedError("multi-volume", "The archive is one volume of several; upload a single file.")
    if here != count:
        raise RefusedError("end-mismatch", "The archive's zip64 end record contradicts itself.")
    return _End(count, size, cd_offset, b"")


# --- the central directory ----------------------------------------------------------------------------------


def _read_directory(directory: bytes, count: int) -> list[Member]:
    members: list[Member] = []
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > len(directory) or directory[at : at + 4] != CENTRAL:
            raise RefusedError("directory-malformed", "The archive's directory has fewer entries than it announces.")
        member, at = _read_central(directory, at)
        members.append(member)
    if at != len(directory):
        raise RefusedError("directory-malformed", "The archive's directory has more in it than it announces.")
    return members


def _read_central(directory: bytes, at: int) -> tuple[Member, int]:
    (
        _,
        made,
        need,
        flags,
        method,
        _,
        _,
        crc,
        packed,
        size,
        name_len,
        extra_len,
        comment_len,
        disk,
        _,
        attributes,
        offset,
    ) = _CENTRAL.unpack_from(directory, at)
    at += _CENTRAL.size
    stop = at + name_len + extra_len + comment_len
    if stop > len(directory):
        raise RefusedError("directory-malformed", "The archive's directory is cut.")
    raw = directory[at : at + name_len]
    extra = directory[at + name_len : at + name_len + extra_len]
    fields = _read_extra(extra, raw)
    if _X_ZIP64 in fields:
        size, packed, offset, disk = _apply_zip64(fields[_X_ZIP64], size, packed, offset, disk)
    elif 0xFFFFFFFF in (size, packed, offset):
        raise RefusedError("zip64-missing", f"{_quote(raw)} announces zip64 sizes that are not there.")
    if disk:
        raise RefusedError("multi-volume", "The archive is one volume of several; upload a single file.")
    _check_flags(flags, method, fields, raw)
    _check_version(need, raw)
    host = made >> 8
    name = _decode_name(raw, flags, fields, host)
    member = Member(
        name=name,
        raw=raw,
        method=method,
        flags=flags,
        crc=crc,
        packed=packed,
        size=size,
        offset=offset,
        directory=name.endswith("/"),
        executable=bool(attributes >> 16 & 0o111) and host not in _HOSTS_DOS,
        extra=fields.get(_X_UNICODE_PATH, b""),
    )
    _check_kind(member, host, attributes, fields)
    return member, stop


def _read_extra(extra: bytes, raw: bytes) -> dict[int, bytes]:
    """The extra fields by id. Those that readers act on may occur once only."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        at += 4
        if at + size > len(extra):
            raise RefusedError("extra-malformed", f"An extra field of {_quote(raw)} is cut.")
        if kind in fields and kind in (_X_ZIP64, _X_UNICODE_PATH):
            raise RefusedError("extra-duplicate", f"{_quote(raw)} has the same extra field twice.")
        fields[kind] = extra[at : at + size]
        at += size
    if any(extra[at:]):  # zipalign pads with up to three zero bytes
        raise RefusedError("extra-malformed", f"The extra fields of {_quote(raw)} are malformed.")
    return fields


def _apply_zip64(field: bytes, size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    """Replace the saturated 32-bit values by those of the zip64 field, which must leave nothing to
    interpret.
    """
    wanted = [value == 0xFFFFFFFF for value in (size, packed, offset)]
    if len(field) != 8 * sum(wanted) + (4 if disk == 0xFFFF else 0):
        return _apply_full_zip64(field, size, packed, offset, disk)
    at = 0
    values = [size, packed, offset]
    for index, wide in enumerate(wanted):
        if wide:
            values[index] = int.from_bytes(field[at : at + 8], "little")
            at += 8
    if disk == 0xFFFF:
        disk = int.from_bytes(field[at : at + 4], "little")
    return values[0], values[1], values[2], disk


def _apply_full_zip64(field: bytes, size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    """Some writers give the full layout always. It is taken where it says the same to every reader."""
    if len(field) not in (16, 24, 28):
        raise RefusedError("zip64-mismatch", "A zip64 field has the wrong length.")
    third = int.from_bytes(field[16:24], "little") if len(field) >= 24 else offset
    full = (*struct.unpack_from("<2Q", field), third)
    wanted = [value == 0xFFFFFFFF for value in (size, packed, offset)]
    for narrow, value, wide in zip((size, packed, offset), full, wanted, strict=True):
        if not wide and narrow != value:
            raise RefusedError("zip64-mismatch", "A zip64 field disagrees with the entry it belongs to.")
    if wanted != sorted(wanted, reverse=True):
        raise RefusedError("zip64-mismatch", "A zip64 field can be read in two ways.")
    if wanted[2] and len(field) < 24:
        raise RefusedError("zip64-missing", "A zip64 field lacks the offset it should give.")
    if len(field) == 28:
        disk = int.from_bytes(field[24:28], "little")
    return full[0], full[1], full[2], disk


def _check_flags(flags: int, method: int, fields: dict[int, bytes], raw: bytes) -> None:
    if flags & _ENCRYPTED_FLAGS or _X_STRONG in fields or _X_AES in fields or method == 99:
        raise RefusedError("encrypted", f"{_quote(raw)} is encrypted; upload the archive without a password.")
    if flags & ~_ALLOWED_FLAGS:
        raise RefusedError("flag-unsupported", f"{_quote(raw)} uses zip features that not every program can read.")
    if method not in METHODS:
        raise RefusedError(
            "method-unsupported",
            f"{_quote(raw)} uses compression method {method}; use Deflate when you make the zip.",
        )


def _check_version(need: int, raw: bytes) -> None:
    """The version needed to extract: 6.3 is the last there is (APPNOTE 4.4.3); the high byte is some
    tools' host.
    """
    if need & 0xFF > _LATEST_VERSION:
        raise RefusedError("flag-unsupported", f"{_quote(raw)} needs a version of zip that does not exist.")


def _decode_name(raw: bytes, flags: int, fields: dict[int, bytes], host: int) -> str:
    """UTF-8 where it is declared or evident, else code page 437, as the APPNOTE says (appendix D).

    macOS and many libraries write UTF-8 without declaring it; text in code page 437 is next to never valid
    UTF-8.
    """
    if not raw:
        raise RefusedError("path-empty", "An entry has no name.")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _UTF8_FLAG:
            raise RefusedError("path-encoding", f"{_quote(raw)} is declared as UTF-8 and is not.") from None
        name = raw.decode("cp437")
    if _X_UNICODE_PATH in fields:
        name = _unicode_path(fields[_X_UNICODE_PATH], raw, name, flags)
    if "\\" in name and "/" not in name and host in _HOSTS_DOS:
        name = name.replace("\\", "/")  # .NET before 4.6.1 wrote these; Info-ZIP reads them by the same rule
    return name


def _unicode_path(field: bytes, raw: bytes, name: str, flags: int) -> str:
    """The name of an Info-ZIP Unicode Path field (APPNOTE 4.6.9), which may only spell the same name
    better.
    """
    mismatch = RefusedError("unicode-path-mismatch", f"{_quote(raw)} has a second, different name in an extra field.")
    if len(field) < 6 or field[0] != 1 or int.from_bytes(field[1:5], "little") != zlib.crc32(raw):
        raise mismatch
    try:
        better = field[5:].decode("utf-8")
    except UnicodeDecodeError:
        raise mismatch from None
    if better == name:
        return name
    if raw.isascii() and b"?" not in raw and b"_" not in raw and b"#U" not in raw:
        raise mismatch
    if flags & _UTF8_FLAG or _shape(better) != _shape(name):
        raise mismatch
    return better


def _shape(name: str) -> tuple[int, bool, str]:
    """What two spellings of one name share: depth, being a folder, and the extension."""
    last = name.rpartition("/")[2]
    extension = last.rpartition(".")[2].lower() if "." in last else ""
    return name.count("/"), name.endswith("/"), extension


def _check_kind(member: Member, host: int, attributes: int, fields: dict[int, bytes]) -> None:
    """Only plain files and folders. Unix modes are believed from any host, because some readers do."""
    kind = attributes >> 16 & _S_IFMT
    if kind not in (0, _S_IFREG, _S_IFDIR):
        raise RefusedError("link-or-device", f"{shown(member.name)} is a link or a device, not a file.")
    if attributes & _WINDOWS_REPARSE or len(fields.get(_X_PKWARE_UNIX, b"")) > 12:
        raise RefusedError("link-or-device", f"{shown(member.name)} is a link, not a file.")
    if attributes & (_DOS_VOLUME | _DOS_DEVICE) and host in _HOSTS_DOS:
        raise RefusedError("link-or-device", f"{shown(member.name)} is a volume label or a device, not a file.")
    says_directory = kind == _S_IFDIR or (kind == 0 and attributes & _DOS_DIRECTORY)
    if says_directory and not member.directory:
        raise RefusedError(
            "directory-mismatch", f"{shown(member.name)} is a folder to some programs and a file to others."
        )
    if member.directory and (member.size or member.packed > 2 or member.crc):
        raise RefusedError("directory-with-data", f"{shown(member.name)} is a folder that carries data.")


def _check_budget(members: list[Member], file_size: int, limits: Limits) -> None:
    """Refuse by what is declared, before anything is inflated."""
    total = packed = 0
    for member in members:
        if member.size > limits.max_entry_bytes:
            raise RefusedError("entry-too-large", f"{shown(member.name)} unpacks to more than is allowed.")
        if member.method == STORED and member.size != member.packed:
            raise RefusedError("size-mismatch", f"{shown(member.name)} is stored, yet has two different sizes.")
        total += member.size
        packed += member.packed
    if packed > file_size:
        raise RefusedError("overlap", "The entries together are larger than the file: they overlap.")
    if total > limits.max_total_bytes:
        raise RefusedError("total-too-large", "The archive unpacks to more than is allowed.")
    if total > limits.ratio_floor_bytes and total > file_size * limits.max_ratio:
        raise RefusedError("ratio", f"The archive unpacks to more than {limits.max_ratio} times its size.")


# --- the local headers --------------------------------------------------------------------------------------


def _walk_locals(source: Source, members: list[Member], directory_offset: int) -> None:
    window = Window(source, 1 << 16)
    expected = 0
    for index, member in enumerate(members):
        if member.offset != expected:
            _refuse_place(member, expected)
        following = members[index + 1].offset if index + 1 < len(members) else directory_offset
        expected = _walk_local(window, member, following)
    if expected != directory_offset:
        raise RefusedError("hidden-data", "There are bytes between the last file and the archive's directory.")


def _refuse_place(member: Member, expected: int) -> None:
    if member.offset < expected:
        raise RefusedError("overlap", f"{shown(member.name)} overlaps another entry.")
    if expected == 0:
        raise RefusedError("leading-data", "There are bytes before the archive (a self-extracting or joined file?).")
    raise RefusedError("hidden-data", f"There are bytes before {shown(member.name)} that belong to no entry.")


def _walk_local(window: Window, member: Member, following: int) -> int:
    """Compare a local header with its central entry; return where the entry ends."""
    at = member.offset
    if following - at < _LOCAL.size:
        raise RefusedError("overlap", f"{shown(member.name)} overlaps another entry.")
    header = window.read_at(at, _LOCAL.size)
    signature, need, flags, method, _, _, crc, packed, size, name_len, extra_len = _LOCAL.unpack(header)
    if signature != LOCAL:
        raise RefusedError("local-missing", f"{shown(member.name)} is listed and not there.")
    start = at + _LOCAL.size + name_len + extra_len
    if start > following:
        raise RefusedError("overlap", f"{shown(member.name)} overlaps another entry.")
    rest = window.read_at(at + _LOCAL.size, name_len + extra_len)
    if rest[:name_len] != member.raw:
        raise RefusedError("name-mismatch", f"{shown(member.name)} has another name where its data are.")
    if method != member.method or (flags ^ member.flags) & _SAME_FLAGS:
        raise RefusedError("header-mismatch", f"The two headers of {shown(member.name)} disagree.")
    _check_version(need, member.raw)
    fields = _read_extra(rest[name_len:], member.raw)
    if _X_AES in fields or _X_STRONG in fields:
        raise RefusedError("encrypted", f"{shown(member.name)} is encrypted; upload the archive without a password.")
    if fields.get(_X_UNICODE_PATH, member.extra) != member.extra:
        raise RefusedError("unicode-path-mismatch", f"{shown(member.name)} has a different name in an extra field.")
    size, packed = _local_sizes(fields.get(_X_ZIP64), size, packed, member)
    streamed = bool(flags & _DESCRIPTOR_FLAG)
    _check_sums(member, crc, packed, size, streamed=streamed)
    member.data = start
    end: int = start + member.packed
    if end > following:
        raise RefusedError("overlap", f"{shown(member.name)} overlaps another entry.")
    if streamed:
        return _walk_descriptor(window, member, end, following)
    return end


def _check_sums(member: Member, crc: int, packed: int, size: int, *, streamed: bool) -> None:
    """The local header's checksum and sizes are the true ones; any may be zero where a descriptor follows the
    data (Info-ZIP knows the size beforehand and gives it alone).
    """
    unknown = 0 if streamed else None
    if crc in (member.crc, unknown) and packed in (member.packed, unknown) and size in (member.size, unknown):
        return
    raise RefusedError("size-mismatch", f"The two headers of {shown(member.name)} give different sizes or checksums.")


def _local_sizes(field: bytes | None, size: int, packed: int, member: Member) -> tuple[int, int]:
    if field is None:
        if 0xFFFFFFFF in (size, packed):
            raise RefusedError("zip64-missing", f"{shown(member.name)} announces zip64 sizes that are not there.")
        return size, packed
    if len(field) not in (16, 24, 28):
        raise RefusedError("zip64-mismatch", f"The zip64 field of {shown(member.name)} has the wrong length.")
    wide_size, wide_packed = int.from_bytes(field[:8], "little"), int.from_bytes(field[8:16], "little")
    for narrow, wide, true in ((size, wide_size, member.size), (packed, wide_packed, member.packed)):
        if narrow not in (0xFFFFFFFF, wide, 0) or wide not in (0, true):
            raise RefusedError("zip64-mismatch", f"The zip64 field of {shown(member.name)} gives other sizes.")
        if narrow == 0 and wide != 0 and not member.flags & _DESCRIPTOR_FLAG:
            raise RefusedError("zip64-mismatch", f"The zip64 field of {shown(member.name)} gives other sizes.")
    return wide_size, wide_packed


def _walk_descriptor(window: Window, member: Member, end: int, following: int) -> int:
    """Prove the data descriptor between `end` and `following` (APPNOTE 4.3.9, with and without signature)."""
    length = following - end
    if length not in (12, 16, 20, 24):
        code = "descriptor-missing" if length < 12 else "hidden-data"
        raise RefusedError(code, f"The bytes after {shown(member.name)} are not its data descriptor.")
    descriptor = window.read_at(end, length)
    if length in (16, 24):
        if descriptor[:4] != DESCRIPTOR:
            raise RefusedError(
                "descriptor-mismatch", f"The bytes after {shown(member.name)} are not its data descriptor."
            )
        descriptor = descriptor[4:]
    sums: tuple[int, int, int] = struct.unpack("<3I" if len(descriptor) == 12 else "<IQQ", descriptor)
    if sums != (member.crc, member.packed, member.size):
        raise RefusedError(
            "descriptor-mismatch",
            f"The data descriptor of {shown(member.name)} disagrees with the directory.",
        )
    return following


def _quote(raw: bytes) -> str:
    return shown(raw.decode("utf-8", "backslashreplace"))

"""What bytes are, by looking at them. Names are claims; magic numbers are evidence."""

from __future__ import annotations

import re

HEAD = 4096
"""How many first bytes of a file `content_type` needs."""

ARCHIVE_TYPES = frozenset({"zip", "7z", "rar", "tar"})
COMPRESSED_TYPES = frozenset({"gzip", "bzip2", "xz", "zstd"})
EXECUTABLE_TYPES = frozenset({"pe", "elf", "macho", "msi", "lnk"})
SCRIPT_TYPES = frozenset({"script"})

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07\x00", "rar"),
    (b"Rar!\x1a\x07\x01\x00", "rar"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x7fELF", "elf"),
    (b"\xfe\xed\xfa\xce", "macho"),
    (b"\xfe\xed\xfa\xcf", "macho"),
    (b"\xce\xfa\xed\xfe", "macho"),
    (b"\xcf\xfa\xed\xfe", "macho"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"DDS ", "dds"),
    (b"8BPS", "psd"),
    (b"TES4", "plugin"),
    (b"TES3", "plugin"),
    (b"BSA\x00", "bsa"),
    (b"BTDX", "ba2"),
    (b"Gamebryo File Format", "nif"),
    (b"NetImmerse File Format", "nif"),
    (b"UnityFS\x00", "unity-bundle"),
    (b"GDPC", "godot-pack"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"%PDF-", "pdf"),
    (b"SQLite format 3\x00", "sqlite"),
    (b"OTTO", "font"),
    (b"\x00\x01\x00\x00\x00", "font"),
    (b"wOFF", "font"),
    (b"wOF2", "font"),
    (b"\x1bLua", "lua-bytecode"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "msi"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "lnk"),
    (b"MSCF", "cab"),
    (b"glTF", "gltf"),
    (b"#!", "script"),
)
_FIRST_BYTES = frozenset(prefix[0] for prefix, _ in _PREFIXES)
_TEXT_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SCRIPT_NAMES = (
    ".bat",
    ".cmd",
    ".ps1",
    ".vbs",
    ".vbe",
    ".js",
    ".jse",
    ".wsf",
    ".hta",
    ".sh",
    ".command",
    ".scr",
    ".reg",
)


def content_type(head: bytes, size: int) -> str:
    """The type of a file from its first bytes (at most HEAD) and its whole size in bytes."""
    if size == 0:
        return "empty"
    if head[0] in _FIRST_BYTES:
        for prefix, kind in _PREFIXES:
            if head.startswith(prefix):
                return kind
    if head[:2] == b"MZ" and _is_pe(head, size):
        return "pe"
    return _container_type(head, size) or ("text" if _is_text(head) else "data")


def _container_type(head: bytes, size: int) -> str:
    """Types that need more than a prefix; empty for none."""
    if head[:4] == b"\xca\xfe\xba\xbe" and len(head) >= 8:
        return "java-class" if int.from_bytes(head[4:8], "big") >= 45 else "macho"
    if head[:4] == b"RIFF" and len(head) >= 12:
        return {b"WAVE": "wav", b"WEBP": "webp", b"AVI ": "avi"}.get(head[8:12], "riff")
    if head[4:8] == b"ftyp":
        return "mp4"
    if head[:2] == b"BM" and len(head) >= 14 and int.from_bytes(head[2:6], "little") == size:
        return "bmp"
    if is_tar(head):
        return "tar"
    return ""


def is_script_name(path: str) -> bool:
    """Whether a double click on this path may run it as a script."""
    return path.lower().endswith(_SCRIPT_NAMES)


def is_tar(head: bytes) -> bool:
    """Whether the first block is a tar header: its checksum fits (POSIX ustar, also before ustar)."""
    if len(head) < 512 or head[0] == 0:
        return False
    field = head[148:156].strip(b"\x00 ")
    if not field or len(field) > 7 or field.strip(b"01234567"):
        return False
    block = head[:512]
    return int(field, 8) == sum(block) - sum(block[148:156]) + 8 * 0x20


def _is_pe(head: bytes, size: int) -> bool:
    if len(head) < 64:
        return False
    at = int.from_bytes(head[60:64], "little")
    if at + 4 <= len(head):
        return head[at : at + 2] in (b"PE", b"NE", b"LE", b"LX") or _is_dos(head, size)
    return at < size or _is_dos(head, size)


def _is_dos(head: bytes, size: int) -> bool:
    """A plain DOS program: relocation table and header size plausible."""
    pages = int.from_bytes(head[4:6], "little")
    header = int.from_bytes(head[8:10], "little") * 16
    return pages > 0 and 0 < header < size and (pages - 1) * 512 < size


def _is_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and len(head) % 2 == 0:
        return True
    if _TEXT_CONTROLS.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(head) - 3 and error.reason == "unexpected end of data":
            return True
        # Old games' texts are in 8-bit code pages: mostly ASCII, no control characters.
        high = sum(byte >= 0x80 for byte in head)
        return high * 4 < len(head)
    return True

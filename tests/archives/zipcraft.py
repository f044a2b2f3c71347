"""A zip writer that lies on request: every field of every header can be set by hand."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

UNIX_FILE = 0o100644 << 16
UNIX_DIRECTORY = 0o040755 << 16 | 0x10


def deflate(data: bytes, level: int = 9) -> bytes:
    engine = zlib.compressobj(level, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def unicode_path(header_name: bytes, name: bytes, *, version: int = 1, crc: int | None = None) -> bytes:
    crc = zlib.crc32(header_name) if crc is None else crc
    return struct.pack("<2HBI", 0x7075, 5 + len(name), version, crc) + name


@dataclass
class Item:
    """One entry. `local` and `central` override single fields of one header by name."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    packed: bytes | None = None
    attributes: int = UNIX_FILE
    made_by: int = 3 << 8 | 20
    extra: bytes = b""
    central_extra: bytes | None = None
    comment: bytes = b""
    descriptor: bytes | None = None
    before: bytes = b""
    after: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)
    in_directory: bool = True
    in_body: bool = True

    def payload(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflate(self.data) if self.method == 8 else self.data

    def fields(self) -> dict[str, Any]:
        return {
            "need": 20,
            "flags": self.flags,
            "method": self.method,
            "time": 0,
            "date": 0x5A21,
            "crc": zlib.crc32(self.data),
            "packed": len(self.payload()),
            "size": len(self.data),
            "name": self.name,
        }

    def local_bytes(self) -> bytes:
        f = self.fields() | {"extra": self.extra, "signature": b"PK\x03\x04"}
        if self.flags & 8:
            f |= {"crc": 0, "packed": 0, "size": 0}
        f |= self.local
        name, extra = f["name"], f["extra"]
        head = struct.pack(
            "<4s5H3I2H",
            f["signature"],
            f["need"],
            f["flags"],
            f["method"],
            f["time"],
            f["date"],
            f["crc"],
            f["packed"],
            f["size"],
            f.get("name_length", len(name)),
            f.get("extra_length", len(extra)),
        )
        tail = b""
        if self.descriptor is not None:
            tail = self.descriptor
        elif self.flags & 8:
            true = self.fields()
            tail = struct.pack("<4s3I", b"PK\x07\x08", true["crc"], true["packed"], true["size"])
        whole: bytes = self.before + head + name + extra + self.payload() + tail + self.after
        return whole

    def central_bytes(self, offset: int) -> bytes:
        extra = self.extra if self.central_extra is None else self.central_extra
        f = self.fields() | {
            "extra": extra,
            "comment": self.comment,
            "disk": 0,
            "internal": 0,
            "attributes": self.attributes,
            "offset": offset,
            "signature": b"PK\x01\x02",
            "made_by": self.made_by,
        }
        f |= self.central
        name, extra, comment = f["name"], f["extra"], f["comment"]
        head = struct.pack(
            "<4s6H3I5H2I",
            f["signature"],
            f["made_by"],
            f["need"],
            f["flags"],
            f["method"],
            f["time"],
            f["date"],
            f["crc"],
            f["packed"],
            f["size"],
            f.get("name_length", len(name)),
            f.get("extra_length", len(extra)),
            f.get("comment_length", len(comment)),
            f["disk"],
            f["internal"],
            f["attributes"],
            f["offset"],
        )
        whole: bytes = head + name + extra + comment
        return whole


def end_record(count: int, size: int, offset: int, comment: bytes = b"", /, **lies: Any) -> bytes:
    f = {"disk": 0, "cd_disk": 0, "here": count, "count": count, "size": size, "offset": offset} | lies
    return (
        struct.pack(
            "<4s4H2IH",
            f.get("signature", b"PK\x05\x06"),
            f["disk"],
            f["cd_disk"],
            f["here"],
            f["count"],
            f["size"],
            f["offset"],
            f.get("comment_length", len(comment)),
        )
        + comment
    )


def end64(count: int, size: int, offset: int, at: int, /, **lies: Any) -> bytes:
    """The zip64 end record and its locator; `at` is where the record lies."""
    f = {"here": count, "count": count, "size": size, "offset": offset, "at": at, "length": 44} | lies
    record = struct.pack(
        "<4sQ2H2I4Q",
        f.get("signature", b"PK\x06\x06"),
        f["length"],
        45,
        45,
        f.get("disk", 0),
        f.get("cd_disk", 0),
        f["here"],
        f["count"],
        f["size"],
        f["offset"],
    )
    return record + struct.pack("<4sIQI", b"PK\x06\x07", f.get("locator_disk", 0), f["at"], f.get("disks", 1))


def build(
    *items: Item,
    prefix: bytes = b"",
    between: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    directory_order: list[int] | None = None,
    shift: bool = True,
    wide: dict[str, Any] | None = None,
    end: dict[str, Any] | None = None,
) -> bytes:
    """The whole file. With `shift`, offsets count `prefix`; `wide` adds zip64 records; `end` lies in the
    end.
    """
    body = prefix if shift else b""
    offsets = []
    for item in items:
        offsets.append(len(body) + len(item.before))
        if item.in_body:
            body += item.local_bytes()
    if not shift:
        body = prefix + body
    body += between
    start = len(body) if shift else len(body) - len(prefix)
    order = directory_order if directory_order is not None else range(len(items))
    listed = [items[i].central_bytes(offsets[i]) for i in order if items[i].in_directory]
    directory = b"".join(listed)
    tail = b""
    lies = dict(end or {})
    if wide is not None:
        tail += end64(len(listed), len(directory), start, len(body) + len(directory), **wide)
    tail += end_record(len(listed), len(directory), start, comment, **lies)
    return body + directory + tail + suffix

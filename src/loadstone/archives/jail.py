"""The child: imports what it needs, puts on the jail, reads one archive, writes one answer.

Started as `python -m loadstone.archives.jail FD PARENT MODE`: the archive is the open descriptor FD, the
request
comes in on standard input and the answer goes out on standard output, both MessagePack.
"""

from __future__ import annotations

import codecs
import os
import sys
import time

import msgspec

from loadstone.archives import sandbox
from loadstone.archives.extractors.registry import default_registry
from loadstone.archives.formats import prepare
from loadstone.archives.gate import Gate
from loadstone.archives.jail_request import decode_request
from loadstone.archives.model import Inspection, Limits, Reason
from loadstone.archives.sandbox import Layer
from loadstone.archives.sniff import HEAD
from loadstone.archives.source import FileSource


def put_on(reopen: int | None, parent: int, limits: Limits, packed: int) -> list[Layer]:
    """All layers, in the only order that works. The file of `reopen` may be opened by path, nothing else."""
    layers = [
        sandbox.cut_network(),
        sandbox.drop_user(),
        sandbox.no_new_privileges(),
        sandbox.die_with_parent(parent),
    ]
    layers.append(sandbox.limit_resources(limits.memory_bytes, limits.cpu_allowance(packed)))
    layers.append(sandbox.landlock(reopen))
    layers.append(sandbox.seccomp(opens=reopen is not None))
    return layers


def _main(arguments: list[str]) -> int:
    name, parent, mode = arguments[0], int(arguments[1]), arguments[2]
    # Windows cannot pass a descriptor on; there the path comes instead.
    descriptor = int(name) if name.isdigit() else os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    if mode == "probe":
        layers = put_on(None, parent, Limits(), 0)
        _write(msgspec.msgpack.encode(layers))
        return 0
    request = decode_request(_read_request())
    source = FileSource(descriptor)
    default_registry()
    _load_codecs()
    needs = prepare(source.read_at(0, min(source.size, HEAD)), descriptor)
    memory = _open_peak()
    kept = {descriptor, memory, descriptor if needs.reopen is None else needs.reopen}
    sandbox.close_all_but(kept)
    put_on(needs.reopen, parent, request.limits, source.size)
    try:
        result = Gate(request.limits, request.profile, path=needs.path).inspect(source, request.name)
    except MemoryError:
        result = Inspection("refuse", (Reason("memory-limit", "The archive needs more memory than is allowed."),))
    result = msgspec.structs.replace(result, cpu_ms=int(time.process_time() * 1000), peak_mb=_peak(memory))
    _write(msgspec.msgpack.encode(result))
    return 0


def _load_codecs() -> None:
    """Python loads text codecs when they are first used, which is too late in the jail."""
    for codec in ("cp437", "latin-1", "utf-16-le", "utf-16-be", "utf-16", "utf-8-sig", "cp1252", "unicode_escape"):
        codecs.lookup(codec)


def _read_request() -> bytes:
    parts = []
    while part := os.read(0, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view[: 1 << 16]) :]


def _open_peak() -> int:
    """A descriptor from which the peak of memory can be read inside the jail; -1 where there is none."""
    try:
        return os.open("/proc/self/status", os.O_RDONLY)
    except OSError:
        return -1


def _peak(descriptor: int) -> float:
    if descriptor < 0:
        return 0.0
    for line in os.pread(descriptor, 4096, 0).splitlines():
        if line.startswith(b"VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


if __name__ == "__main__":
    # No clean-up of the interpreter: it costs time, and everything it could free dies with the process.
    try:
        code = _main(sys.argv[1:])
    except BaseException:
        if os.environ.get("LOADSTONE_JAIL_TRACEBACK"):
            raise
        code = 3
    os._exit(code)

"""Reads the data of a proved rar by the unrar library, which must see the same files that our walk has
seen.
"""

from __future__ import annotations

import os
import sys
import tempfile

from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import shown
from loadstone.archives.rarwalk import RarMember, walk_rar
from loadstone.archives.reading import Budget, EntrySink, Visitor, check_size
from loadstone.archives.source import Source
from loadstone.archives.tree import PathTree

_OTHERS_MAY_READ = 0o004
_NO_MEMORY, _BAD_DATA = 11, 12


def own_copy(descriptor: int) -> int:
    """A descriptor of the same bytes that a process which has dropped root's powers may open again by path.

    The library opens by path only. Where nobody but root may read the file, this copies it into a nameless
    one.
    """
    if sys.platform == "win32" or os.geteuid() != 0 or os.fstat(descriptor).st_mode & _OTHERS_MAY_READ:
        return descriptor
    copy, name = tempfile.mkstemp(prefix="loadstone-")
    os.unlink(name)  # noqa: PTH108 (a name, not a path)
    os.fchmod(copy, 0o444)
    size = os.fstat(descriptor).st_size
    sent = 0
    while sent < size:
        done = os.sendfile(copy, descriptor, sent, min(size - sent, 1 << 26))
        if not done:
            break
        sent += done
    return copy


def path_of(descriptor: int) -> str:
    """A path that opens this descriptor's file again."""
    return f"/proc/self/fd/{descriptor}" if sys.platform.startswith("linux") else f"/dev/fd/{descriptor}"


def read_rar(source: Source, limits: Limits, visitor: Visitor, budget: Budget, path: str | None) -> PathTree:
    """Read a whole rar. Without a `path` (a rar inside an archive), only its framing is read.

    Raises RefusedError, also where the library sees other files than our walk.
    """
    plan = walk_rar(source, limits)
    if path is None:
        for _ in plan.members:
            budget.count_entry()
        return plan.tree
    _unpack(path, plan.members, visitor, budget)
    return plan.tree


def _unpack(path: str, members: list[RarMember], visitor: Visitor, budget: Budget) -> None:
    from unrar.cffi.unrarlib import BadRarFile, RarArchive

    try:
        with RarArchive.open_for_processing(path) as archive:
            headers = archive.iterate_headers()
            for member in members:
                header = next(headers, None)
                if header is None:
                    raise _disagree(member)
                _compare(header, member)
                if member.directory:
                    header.skip()
                    continue
                _unpack_one(header, member, visitor, budget)
            if next(headers, None) is not None:
                raise RefusedError("header-mismatch", "The archive has more files than its headers list.")
    except BadRarFile as error:
        raise _library_error(error.code) from None


def _compare(header: object, member: RarMember) -> None:
    size = header.UnpSize + (header.UnpSizeHigh << 32)  # type: ignore[attr-defined]
    name = _joined(header.FileNameW.replace("\\", "/"))  # type: ignore[attr-defined]
    if size != member.size or (name != member.name and not member.legacy):
        raise _disagree(member)


def _joined(name: str) -> str:
    """The library gives characters beyond U+FFFF of rar 4 names as two halves."""
    return name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _disagree(member: RarMember) -> RefusedError:
    return RefusedError("header-mismatch", f"{shown(member.name)} is read in two ways by two programs.")


def _unpack_one(header: object, member: RarMember, visitor: Visitor, budget: Budget) -> None:
    """Let the library unpack one file into a sink. An error in the sink stops the library at once."""
    from unrar.cffi._unrarlib import ffi, lib

    sink = EntrySink(member.path, visitor, budget, executable=member.executable)
    failure: list[BaseException] = []

    def receive(message: int, address: int, count: int) -> int:
        if message != lib.UCM_PROCESSDATA:
            return -1  # the library asks for a password or another volume
        try:
            if sink.size + count > member.size:
                check_size(member.path, sink.size + count, member.size)
            sink.write(bytes(ffi.buffer(ffi.cast("char *", address), count)))
        except BaseException as error:  # noqa: BLE001 (it is raised again, on this side of the library)
            failure.append(error)
            return -1
        return 1

    handle = ffi.new_handle(receive)
    rar = header.handle  # type: ignore[attr-defined]
    lib.RARSetCallbackPtr(rar, lib.PyUNRARCALLBACKStub, handle)
    code = lib.RARProcessFileW(rar, lib.C_RAR_TEST, ffi.NULL, ffi.NULL)
    lib.RARSetCallbackPtr(rar, ffi.NULL, ffi.NULL)
    if failure:
        raise failure[0]
    if code:
        raise _library_error(code)
    check_size(member.path, sink.size, member.size)
    if member.crc is not None and sink.crc != member.crc:
        raise RefusedError("crc-mismatch", f"{shown(member.path)} is damaged: its checksum does not fit.")
    sink.close()


def _library_error(code: int) -> RefusedError:
    if code == _NO_MEMORY:
        return RefusedError("memory-limit", "The archive needs more memory than is allowed to be unpacked.")
    if code == _BAD_DATA:
        return RefusedError("damaged", "The archive's data are damaged: a checksum does not fit.")
    return RefusedError("damaged", f"The archive cannot be unpacked (unrar says {code}).")

"""The layers of the jail, put on by a process around itself. Linux by ctypes; elsewhere what POSIX has.

Each layer is tried alone and reports whether it holds, so that a machine without one still has the others and
`loadstone doctor` can name what is missing. Order matters: all imports are done, then descriptors, user,
network, limits, Landlock, and seccomp last, because it forbids all the others.
Sources: seccomp(2), landlock(7), prctl(2), Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
from typing import NamedTuple

if sys.platform != "win32":
    import resource  # here and not where it is used: the jail can import nothing once it is closed

NOBODY = 65534

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000


class Layer(NamedTuple):
    """One wall of the jail: its name, whether it stands, and the reason in either case."""

    name: str
    active: bool
    why: str


_LIBC: ctypes.CDLL | None = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def _prctl(option: int, value: int, pointer: ctypes.c_void_p | int = 0) -> bool:
    if _LIBC is None:
        return False
    return bool(
        _LIBC.prctl(
            option,
            ctypes.c_ulong(value),
            ctypes.c_void_p(pointer) if isinstance(pointer, int) else pointer,
            0,
            0,
        )
        == 0
    )


def _error() -> str:
    return os.strerror(ctypes.get_errno()) or "refused"


def drop_user() -> Layer:
    """From root to nobody, for good. An ordinary user stays what it is."""
    name = "unprivileged-user"
    if not hasattr(os, "setresuid"):
        return Layer(name, active=False, why="this system has no way to change the user")
    if os.geteuid() != 0:
        return Layer(name, active=True, why=f"already runs as uid {os.geteuid()}")
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        return Layer(name, active=False, why=f"cannot become uid {NOBODY}: {error.strerror}")
    return Layer(name, active=True, why=f"root became uid {NOBODY}")


def no_new_privileges() -> Layer:
    held = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return Layer("no-new-privileges", held, "set" if held else "not offered by this system")


def die_with_parent(parent: int) -> Layer:
    """Killed when the parent ends. Must follow `drop_user`, which clears it."""
    held = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 0)
    if held and os.getppid() != parent:
        os._exit(1)
    return Layer("dies-with-parent", held, "set" if held else "not offered by this system; the wall clock remains")


def cut_network() -> Layer:
    """A network namespace with nothing in it."""
    name = "network-namespace"
    if _LIBC is None:
        return Layer(name, active=False, why="only Linux has network namespaces")
    flags = _CLONE_NEWNET | _CLONE_NEWIPC
    if os.geteuid() != 0:
        flags |= _CLONE_NEWUSER
    if _LIBC.unshare(flags) == 0:
        return Layer(name, active=True, why="an empty one")
    return Layer(name, active=False, why=f"the kernel does not allow it ({_error()}); seccomp forbids sockets")


def limit_resources(memory: int, cpu: int) -> Layer:
    """Memory in bytes, CPU in seconds; no file written, no process started, few descriptors, no core."""
    name = "resource-limits"
    if sys.platform == "win32":
        return Layer(name, active=False, why="this system has no resource limits")
    missing: list[str] = []
    for limit, soft, hard in (
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_FSIZE", 0, 0),
        ("RLIMIT_NOFILE", 16, 16),
        ("RLIMIT_NPROC", 0, 0),
        ("RLIMIT_STACK", 8 << 20, 8 << 20),
        ("RLIMIT_CPU", cpu, cpu + 1),
        ("RLIMIT_AS", memory, memory),
    ):
        try:
            resource.setrlimit(getattr(resource, limit), (soft, hard))
        except (OSError, ValueError, AttributeError):
            missing.append(limit)
    if missing:
        return Layer(name, active=False, why=f"not accepted: {', '.join(missing)}")
    return Layer(name, active=True, why=f"{memory >> 20} MiB, {cpu} s CPU, no files, no processes")


# --- Landlock -----------------------------------------------------------------------------------------------

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_ACCESS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ_FILE = 1 << 2


def landlock(readable: int | None = None) -> Layer:
    """Forbid the whole file system and all TCP; `readable` is a descriptor whose file may be opened again."""
    name = "landlock"
    if _LIBC is None:
        return Layer(name, active=False, why="only Linux has Landlock")
    abi = _LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        return Layer(name, active=False, why=f"not in this kernel ({_error()})")
    files = max(mask for version, mask in _ACCESS_BY_ABI.items() if version <= abi)
    attributes = struct.pack("=QQQ", files, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)
    attributes = attributes[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = _LIBC.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if ruleset < 0:
        return Layer(name, active=False, why=_error())
    try:
        if readable is not None:
            rule = struct.pack("=Qi", _READ_FILE, readable)
            if _LIBC.syscall(_LANDLOCK_ADD, ruleset, 1, rule, 0) != 0:
                return Layer(name, active=False, why=_error())
        if _LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, 0) != 0:
            return Layer(name, active=False, why=_error())
    finally:
        os.close(ruleset)
    return Layer(name, active=True, why=f"version {abi}: no path can be opened")


# --- seccomp ------------------------------------------------------------------------------------------------

_ALLOW, _ERRNO_EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_LD_W_ABS, _JEQ, _JSET, _JGE, _RET = 0x20, 0x15, 0x45, 0x35, 0x06

# The number of each call on x86-64 and on 64-bit ARM.
_HARMLESS: dict[str, tuple[int, int]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "setitimer": (38, 103),
    "getpid": (39, 172),
    "exit": (60, 93),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "tgkill": (234, 131),
    "getrandom": (318, 278),
    "rseq": (334, 293),
}
_MAPPING: dict[str, tuple[int, int]] = {"mmap": (9, 222), "mprotect": (10, 226)}
_OPENING: dict[str, tuple[int, int]] = {"openat": (257, 56)}
_LOOKING: dict[str, tuple[int, int]] = {"readlinkat": (267, 78), "faccessat": (269, 48), "statx": (332, 291)}
_LOOKING_X86 = (2, 4, 6, 21, 89)  # open is checked as openat is; stat, lstat, access, readlink
_DEADLY: dict[str, tuple[int, int]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    "socket": (41, 198),
    "connect": (42, 203),
    "ptrace": (101, 117),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "kill": (62, 129),
}
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_PROT_EXEC = 4
_WRITING_FLAGS = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # WRONLY, RDWR, CREAT, TRUNC, APPEND


def seccomp(*, opens: bool = False) -> Layer:
    """Allow only what reading memory and one descriptor needs. With `opens`, files may be opened for reading.

    Starting a program, making a socket or touching another process kills; anything else fails with EPERM.
    """
    name = "seccomp"
    machine = _MACHINES.get(platform.machine())
    if _LIBC is None or machine is None or struct.calcsize("P") != 8:
        return Layer(name, active=False, why="only 64-bit Linux on x86 or ARM is supported")
    program = _program(machine[0], machine[1], opens=opens)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    held = _prctl(_PR_SET_SECCOMP, 2, ctypes.cast(ctypes.create_string_buffer(header, len(header)), ctypes.c_void_p))
    return Layer(name, held, "only harmless system calls" if held else _error())


def _program(architecture: int, column: int, *, opens: bool) -> bytes:
    """The filter as BPF instructions: check the architecture, then the number, then the arguments of the few
    calls that are harmless only with some.
    """
    out = _step(_LD_W_ABS, 0, 0, 4) + _step(_JEQ, 1, 0, architecture) + _step(_RET, 0, 0, _KILL)
    out += _step(_LD_W_ABS, 0, 0, 0)
    if column == 0:
        out += _step(_JGE, 0, 1, 0x40000000) + _step(_RET, 0, 0, _KILL)  # the x32 numbers are a second door
    out += b"".join(_when(numbers[column], _ALLOW) for numbers in _HARMLESS.values())
    out += b"".join(_unless_set(numbers[column], 2, _PROT_EXEC) for numbers in _MAPPING.values())
    if opens:
        out += _program_for_opening(column)
    out += b"".join(_when(numbers[column], _KILL) for numbers in _DEADLY.values() if numbers[column] >= 0)
    return out + _step(_RET, 0, 0, _ERRNO_EPERM)


def _program_for_opening(column: int) -> bytes:
    out = b"".join(_unless_set(numbers[column], 2, _WRITING_FLAGS) for numbers in _OPENING.values())
    out += b"".join(_when(numbers[column], _ALLOW) for numbers in _LOOKING.values())
    if column == 0:
        out += _unless_set(_LOOKING_X86[0], 1, _WRITING_FLAGS)
        out += b"".join(_when(number, _ALLOW) for number in _LOOKING_X86[1:])
    return out


def _step(code: int, yes: int, no: int, value: int) -> bytes:
    """One BPF instruction: `yes` and `no` say how many to skip after a test."""
    return struct.pack("=HBBI", code, yes, no, value & 0xFFFFFFFF)


def _when(number: int, verdict: int) -> bytes:
    return _step(_JEQ, 0, 1, number) + _step(_RET, 0, 0, verdict)


def _unless_set(number: int, argument: int, bits: int) -> bytes:
    """Allow call `number` unless one of `bits` is set in the low half of its argument."""
    return (
        _step(_JEQ, 0, 4, number)
        + _step(_LD_W_ABS, 0, 0, 16 + 8 * argument)
        + _step(_JSET, 0, 1, bits)
        + _step(_RET, 0, 0, _ERRNO_EPERM)
        + _step(_RET, 0, 0, _ALLOW)
    )


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor that the jail was not meant to have."""
    highest = 1024
    with contextlib.suppress(OSError, ValueError):
        highest = max(int(entry.name) for entry in os.scandir("/proc/self/fd")) + 1
    for descriptor in range(3, highest):
        if descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue

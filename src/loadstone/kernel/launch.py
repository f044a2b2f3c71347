"""Become another program: under a lesser identity, and bound to the life of the parent.

This file is run by path, ``python -I -S launch.py ORDERS PROGRAM ARGUMENT…``, never imported, so that it
costs a few milliseconds and runs in a process with one thread: doing the same between fork and exec of a
threaded server may deadlock. ``ORDERS`` is JSON: ``parent`` and ``signal`` (which signal to get when that
process dies), ``account`` ([uid, gid] to become) with ``reach`` (paths that it must be able to get at), or
``namespace`` ([uid, gid] to look like).

The order of the steps matters: Linux forgets the parent-death signal at each change of credentials, so it is
asked for last; the parent may have died before that, so it is looked at once more afterwards.
"""

import ctypes
import json
import os
import sys
from typing import Any, Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECUREBITS: Final = 28
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_CLONE_NEWUSER: Final = 0x10000000
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_DAC_OVERRIDE: Final = 1
_CAP_DAC_READ_SEARCH: Final = 2
_FAILED: Final = 126  # what shells say for "found but could not be run"


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class _Kernel:
    """The few system calls that Python does not have."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def prctl(self, option: int, first: int, second: int = 0) -> None:
        arguments = [ctypes.c_ulong(value) for value in (first, second, 0, 0)]
        _checked(self._libc.prctl(option, *arguments), f"prctl({option})")

    def unshare(self, flags: int) -> None:
        _checked(self._libc.unshare(flags), "a user namespace cannot be made")

    def permitted(self) -> int:
        """The capabilities that this process may use, as bits."""
        header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Set * 2)()
        _checked(self._libc.capget(ctypes.byref(header), ctypes.byref(sets)), "capget")
        return int(sets[0].permitted)

    def keep_only(self, bits: int) -> None:
        """Hold exactly these capabilities (all are among the first 32)."""
        header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Set * 2)()
        sets[0] = _Set(bits, bits, bits)
        _checked(self._libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")


def _enter_namespace(kernel: _Kernel, uid: int, gid: int) -> None:
    """Look like ``uid`` to the program while the files stay those of the present user."""
    own_uid, own_gid = os.geteuid(), os.getegid()
    kernel.unshare(_CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {own_uid} 1"),
        ("gid_map", f"{gid} {own_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib costs 10 ms here
            file.write(text)


def _become(kernel: _Kernel | None, uid: int, gid: int, reach: list[str]) -> None:
    """Become the account; keep the right to walk through closed folders only where there are some.

    A checkout often lies under a home of mode 0700. Instead of opening that home, the program keeps one
    capability, and only when ``access(2)``, which asks as the account alone, cannot reach a path.
    """
    if kernel is None:  # not Linux: no capabilities
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        return
    kernel.prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    permitted = kernel.permitted()
    if all(os.access(path, os.X_OK) for path in reach):
        kernel.keep_only(0)
        return
    capability = next(
        (c for c in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if permitted & 1 << c), _CAP_DAC_READ_SEARCH
    )
    # PostgreSQL asks access(2) whether it may run its own program; that call ignores capabilities unless:
    kernel.keep_only(permitted)
    kernel.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    kernel.keep_only(1 << capability)
    kernel.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _bind_to_parent(kernel: _Kernel, parent: int, signal_number: int) -> None:
    kernel.prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        raise OSError(0, "the parent is gone already")


def _carry_out(orders: dict[str, Any]) -> None:
    kernel = _Kernel() if sys.platform == "linux" else None
    if account := orders.get("account"):
        _become(kernel, account[0], account[1], orders.get("reach", []))
    if kernel is None:
        return
    if namespace := orders.get("namespace"):
        _enter_namespace(kernel, namespace[0], namespace[1])
    if orders.keys() & {"account", "namespace"}:
        kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if orders.get("parent"):
        _bind_to_parent(kernel, orders["parent"], orders["signal"])


def _main(arguments: list[str]) -> NoReturn:
    orders, program = json.loads(arguments[0]), arguments[1:]
    try:
        _carry_out(orders)
        os.execv(program[0], program)  # noqa: S606 - the purpose of this file
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be started: {error.strerror or error}\n")
        sys.stderr.flush()
        os._exit(_FAILED)


if __name__ == "__main__":
    _main(sys.argv[1:])

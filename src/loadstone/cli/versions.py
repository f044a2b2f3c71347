"""`loadstone versions`: check version vectors offline."""

import sys
from pathlib import Path

import msgspec

from loadstone.compat.vectors import MalformedVectors, check_vectors

MAX_FILE_BYTES = 64 * 1024 * 1024


def versions_check(file: Path) -> int:
    """Check the vectors in FILE and print one JSON line with passed, failed and failures.

    The exit code is 0 when all hold, 1 when one fails, and 2 when the file cannot be read.
    """
    try:
        report = check_vectors(msgspec.json.decode(_read(file)))
    except OSError as error:
        return _refuse(f"{file} cannot be read: {error.strerror or error}.")
    except (MalformedVectors, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _refuse(f"{file} is not a vectors file: {error}.")
    print(msgspec.json.encode(report).decode())
    return 1 if report.failed else 0


def _read(file: Path) -> bytes:
    if file.stat().st_size > MAX_FILE_BYTES:
        msg = f"it is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB"
        raise MalformedVectors(msg)
    return file.read_bytes()


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2

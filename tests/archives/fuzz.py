"""Fuzzing of everything that reads hostile bytes, bounded in time.

`python -m tests.archives.fuzz [--seconds 60] [--seed 1] [TARGET …]` mutates known archives and manifests. With
`--atheris TARGET` (where `atheris` is installed) the same target runs guided by coverage; further arguments go to
libFuzzer: `python -m tests.archives.fuzz --atheris zip -max_total_time=60`.

Laws: a reader ends with a verdict and no other exception; a parser with manifests or ExtractionError; a canonical
path is canonical again; what is accepted is seen alike by a reader from the other end; nothing takes long.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from loadstone.archives.extractors.registry import ExtractionError, default_registry
from loadstone.archives.gate import run_extractor
from loadstone.archives.model import Limits, RefusedError
from loadstone.archives.paths import canonical, collision_key
from tests.archives import benign, hostile, readers
from tests.archives.opening import open_bytes

MAX_CPU_SECONDS = 5.0
_LIMITS = Limits(max_total_bytes=64 << 20)
_INTERESTING = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"PK\x05\x06",
    b"PK\x03\x04",
    b"../",
    b"\\",
)

Target = Callable[[bytes], None]


def _archive(name: str) -> Target:
    folder = Path(tempfile.mkdtemp(prefix="loadstone-fuzz-"))

    def run(data: bytes) -> None:
        result = open_bytes(data, name, folder, limits=_LIMITS)
        if result.verdict == "refuse":
            assert result.reasons
            assert not result.entries
            return
        mine = {entry.path: (entry.size, entry.sha256) for entry in result.entries}
        assert all(canonical(path, _LIMITS) == path for path in mine)
        if name.endswith(".zip") and b"\x75\x70" not in data:
            assert readers.by_python(data) == mine

    return run


def fuzz_path(data: bytes) -> None:
    try:
        path = canonical(data.decode("utf-8", "replace"), _LIMITS)
    except RefusedError:
        return
    assert path == "" or canonical(path, _LIMITS) == path
    assert collision_key(path) == collision_key(collision_key(path))
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert "\\" not in path
    assert ":" not in path


def _extractor(name: str) -> Target:
    chosen = next(extractor for extractor in default_registry().extractors if extractor.name == name)

    def run(data: bytes) -> None:
        try:
            found = run_extractor(chosen, "a/b.esp", data[: chosen.bytes_needed])
        except ExtractionError:
            return
        assert all(manifest.extractor == name for manifest in found)

    return run


def _archive_seeds(prefixes: tuple[str, ...]) -> list[bytes]:
    good = [case.make() for case in benign.cases() if case.file.endswith(prefixes)]
    bad = [
        case.make() for case in hostile.all_cases() if case.file.endswith(prefixes) and not case.name.startswith("bomb")
    ]
    return [data for data in good + bad if len(data) < 20_000]


def _names() -> list[bytes]:
    from tests.archives import hostile_names as names

    every = (
        names.TRAVERSAL,
        names.ABSOLUTE,
        names.RESERVED,
        names.STREAMS,
        names.TRAILING,
        names.CONTROL,
        names.DECEPTIVE,
    )
    return [name.encode("utf-8", "replace") for family in (*every, benign.UNUSUAL_NAMES) for name in family]


def _documents() -> list[bytes]:
    from tests.archives.extractors.test_bethesda import morrowind, plugin
    from tests.archives.extractors.test_fomod import CONFIG
    from tests.archives.extractors.test_minecraft import FABRIC, FORGE
    from tests.archives.extractors.test_others import ABOUT, SMAPI

    texts = (json.dumps(FABRIC), FORGE, ABOUT, SMAPI, CONFIG, '{"identifier": "x", "depends": [{"any_of": []}]}')
    return [plugin("A.esm", "B.esm"), morrowind("A.esm"), *(text.encode() for text in texts)]


def targets() -> dict[str, tuple[Target, Callable[[], list[bytes]]]]:
    """Every target by name, with its seeds."""
    found: dict[str, tuple[Target, Callable[[], list[bytes]]]] = {
        "zip": (_archive("a.zip"), lambda: _archive_seeds((".zip", ".jar"))),
        "7z": (_archive("a.7z"), lambda: _archive_seeds((".7z",))),
        "rar": (_archive("a.rar"), lambda: _archive_seeds((".rar",))),
        "tar": (_archive("a"), lambda: _archive_seeds((".tar", ".gz", ".bz2", ".xz", ".zst"))),
        "path": (fuzz_path, _names),
    }
    for extractor in default_registry().extractors:
        found[f"extract-{extractor.name}"] = (_extractor(extractor.name), _documents)
    return found


def mutate(data: bytes, random_source: random.Random, others: list[bytes]) -> bytes:
    """One to four small changes: bits, bytes, numbers, insertions, deletions, pieces of other seeds."""
    out = bytearray(data)
    for _ in range(random_source.randint(1, 4)):
        at = random_source.randrange(len(out) + 1)
        kind = random_source.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << random_source.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = random_source.randrange(256)
        elif kind == 2:
            out[at : at + 4] = random_source.choice(_INTERESTING)
        elif kind == 3:
            out[at:at] = random_source.randbytes(random_source.randint(1, 8))
        elif kind == 4:
            del out[at : at + random_source.randint(1, 16)]
        else:
            other = random_source.choice(others)
            start = random_source.randrange(len(other) + 1)
            out[at : at + 16] = other[start : start + 32]
    return bytes(out)


def inputs(seeds: list[bytes], random_source: random.Random) -> Iterator[bytes]:
    yield from seeds
    while True:
        yield mutate(random_source.choice(seeds), random_source, seeds)


def run_target(name: str, seconds: float, seed: int) -> int:
    """Inputs tried. Raises what the target raises, with the input in hex on standard error."""
    target, make_seeds = targets()[name]
    random_source = random.Random(seed)
    seeds = make_seeds()
    random_source.shuffle(seeds)
    count, end = 0, time.monotonic() + seconds
    for data in inputs(seeds[:50], random_source):
        started = time.process_time()
        try:
            target(data)
        except BaseException:
            print(f"{name}: fails on {data.hex()}", file=sys.stderr)
            raise
        assert time.process_time() - started < MAX_CPU_SECONDS, f"{name}: too slow on {data.hex()}"
        count += 1
        if time.monotonic() > end:
            break
    return count


def _atheris(name: str, arguments: list[str]) -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], targets()[name][0])
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atheris", metavar="TARGET")
    arguments, rest = parser.parse_known_args()
    if arguments.atheris:
        _atheris(arguments.atheris, rest)
        return
    chosen = arguments.targets or list(targets())
    for name in chosen:
        count = run_target(name, arguments.seconds / len(chosen), arguments.seed)
        print(f"{name}: {count} inputs, no failure", flush=True)


if __name__ == "__main__":
    main()

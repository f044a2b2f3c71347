"""Benches of the gate. Each prints one JSON line: {"bench", "value", "limit", "ratio"}.

`python bench/archives.py [--mib 1024] [--files 20000] [--mods 40]`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from loadstone.archives import inspect_sync


def make_large(path: Path, mebibytes: int, files: int) -> None:
    """A zip of `files` deflated files that unpack to `mebibytes`, about as compressible as a mod's."""
    source = random.Random(1)
    size = mebibytes * 1024 * 1024 // files
    words = [source.randbytes(source.randrange(3, 40)) for _ in range(3000)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(files):
            data = b"".join(source.choices(words, k=size // 20))[:size]
            archive.writestr(f"textures/{number % 97}/{number}.bin", data.ljust(size, b"\0"))


def bare_loop(path: Path) -> tuple[float, float]:
    """Seconds on the clock and of CPU to inflate and hash the same entries with nothing else: the limit."""
    with zipfile.ZipFile(path) as archive:
        places = [(info.header_offset, info.compress_size) for info in archive.infolist()]
    started, used = time.perf_counter(), time.process_time()
    with path.open("rb") as file:
        for offset, packed in places:
            file.seek(offset + 26)
            lengths = file.read(4)
            skip = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            file.seek(skip, 1)
            hashlib.sha256(zlib.decompress(file.read(packed), -15)).digest()
    return time.perf_counter() - started, time.process_time() - used


def gated(path: Path) -> tuple[float, float]:
    """Seconds on the clock and of CPU through the whole gate, the start of the jail included."""
    started = time.perf_counter()
    inspection = inspect_sync(path)
    seconds = time.perf_counter() - started
    assert inspection.verdict == "accept", inspection.reasons
    return seconds, inspection.cpu_ms / 1000


def report(bench: str, value: float, limit: float, ratio: float, **more: float) -> None:
    row = {"bench": bench, "value": round(value, 3), "limit": round(limit, 3), "ratio": round(ratio, 3), **more}
    print(json.dumps(row), flush=True)


def bench_large(folder: Path, mebibytes: int, files: int) -> None:
    """MiB/s of unpacked bytes through the gate, against the bare loop, side by side."""
    path = folder / "large.zip"
    make_large(path, mebibytes, files)
    bare_loop(path)
    pairs = [(bare_loop(path), gated(path)) for _ in range(3)]
    bare = statistics.median(pair[0][0] for pair in pairs)
    gate = statistics.median(pair[1][0] for pair in pairs)
    ratio = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
    # On a machine that others use too, the clock measures them; the CPU measures us.
    cpu_ratio = statistics.median(pair[0][1] / pair[1][1] for pair in pairs)
    report(
        "archives-list-and-hash-mib-per-second",
        mebibytes / gate,
        mebibytes / bare,
        ratio,
        cpu_ratio=round(cpu_ratio, 3),
    )


def bench_small(folder: Path, mods: int) -> None:
    """Small mods a minute through the gate by two workers, against the 200 that are asked for."""
    path = folder / "small.zip"
    make_large(path, 1, 12)
    with ThreadPoolExecutor(2) as pool:
        started = time.perf_counter()
        list(pool.map(gated, [path] * mods))
        seconds = time.perf_counter() - started
    value = mods / seconds * 60
    report("archives-small-mods-per-minute", value, 200, value / 200)


def bench_bomb(folder: Path) -> None:
    """Milliseconds of CPU until a bomb of 10 MiB is refused, against the 10 s allowed."""
    block = bytes(1 << 20)
    path = folder / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros", "w", force_zip64=True) as file,
    ):
        for _ in range(4096):
            file.write(block)
    inspection = inspect_sync(path)
    assert inspection.verdict == "refuse"
    report("archives-bomb-cpu-ms", inspection.cpu_ms, 10_000, inspection.cpu_ms / 10_000, peak_mb=inspection.peak_mb)


def bench_many(folder: Path) -> None:
    """Seconds for an archive of 100,000 small entries, against the CPU allowed."""
    path = folder / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"f/{number % 1000}/{number}", b"x")
    inspection = inspect_sync(path)
    assert inspection.verdict == "accept", inspection.reasons
    report(
        "archives-100k-entries-cpu-ms",
        inspection.cpu_ms,
        10_000,
        inspection.cpu_ms / 10_000,
        peak_mb=inspection.peak_mb,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--mods", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs: list[Callable[[], None]] = [
            lambda: bench_small(folder, arguments.mods),
            lambda: bench_bomb(folder),
            lambda: bench_many(folder),
            lambda: bench_large(folder, arguments.mib, arguments.files),
        ]
        for run in runs:
            run()


if __name__ == "__main__":
    main()

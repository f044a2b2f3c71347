"""`loadstone resolve --catalogue …`: resolve requests against a catalogue file, without a server."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import zstandard
from cyclopts import Parameter
from rich.console import Console
from rich.progress import track

from loadstone.compat.catalogues.ckan import Row, parse_row, read_catalogue
from loadstone.compat.solver import (
    GaveUp,
    Locked,
    Outcome,
    Policy,
    Request,
    Solved,
    Surroundings,
    Wanted,
    solve,
    warm,
)
from loadstone.compat.universe import Universe, build_universe
from loadstone.compat.versions import scheme

Several = Annotated[Sequence[str], Parameter(consume_multiple=True, negative="")]
"""`--own A B`, `--own A --own B` and both mixed."""


class Pin(msgspec.Struct, frozen=True):
    """A mod at a version."""

    id: str
    version: str


class OfflineRequest(msgspec.Struct, frozen=True):
    """One line of the requests file. An entry of `request` is an id, `id=version`, or an object."""

    game: tuple[str, ...]
    request: tuple[str | Pin, ...]
    lock: tuple[Pin, ...] = ()


class BadInputError(Exception):
    """A file that cannot be read as what it should be; the message says where and how to mend it."""

    code = "bad-input"


def resolve_offline(
    catalogue: Path,
    requests: Path,
    out: Path,
    *,
    own: Several = (),
    explain: bool = False,
    channel: Several = ("release",),
    policy: Policy | None = None,
    recommends: bool = False,
    as_of: str | None = None,
    seconds: float = 2.0,
    steps: int = 200_000,
) -> int:
    """Resolve every line of `requests` and write one result per line, in the same order, to `out`.

    `own` names the DLCs that the player owns, `channel` the channels to accept (release, beta, alpha).
    Without `policy`, a request with a lock changes as little as it can, any other takes the newest.
    `explain` adds verified repairs to the facts of what cannot be resolved. Returns the exit code: 0 when
    every request got an answer, 2 when the input cannot be read.
    """
    errors = Console(stderr=True)
    if policy is not None and policy not in get_args(Policy):
        errors.print(f"There is no policy {policy}; choose one of {', '.join(get_args(Policy))}.")
        return 2
    try:
        asked = list(_read_requests(requests))
        universe = load_catalogue(catalogue, more_builds={game for request in asked for game in request.game})
    except (BadInputError, OSError) as error:
        errors.print(str(error), markup=False)
        return 2
    encoder = msgspec.json.Encoder()
    with out.open("wb") as sink:
        for line in track(asked, "Resolving", console=errors, transient=True):
            request = to_request(
                line, own=own, channels=channel, policy=policy, recommends=recommends, as_of=as_of, explain=explain
            )
            request = msgspec.structs.replace(request, seconds=seconds, steps=steps)
            started = time.process_time()
            outcome = solve(universe, request, time.process_time)
            spent = time.process_time() - started
            sink.write(encoder.encode(to_result(outcome, spent)) + b"\n")
    return 0


def load_catalogue(path: Path, more_builds: set[str] | None = None) -> Universe:
    """The universe of a CKAN catalogue (JSON lines, plain or zstd). Raises BadInputError, OSError."""
    rows = list(_read_rows(path))
    read = read_catalogue(rows, scheme("ckan"), more_builds=more_builds or ())
    return warm(build_universe(read.packages, read.claims, builds=read.builds, scheme=scheme("ckan")))


def to_request(
    line: OfflineRequest,
    *,
    own: Sequence[str],
    channels: Sequence[str],
    policy: Policy | None,
    recommends: bool,
    as_of: str | None,
    explain: bool,
) -> Request:
    """A line of the requests file as the solver takes it."""
    return Request(
        wanted=tuple(_wanted(entry) for entry in line.request),
        locked=tuple(Locked(pin.id, version=pin.version) for pin in line.lock),
        surroundings=Surroundings(
            builds=tuple(dict.fromkeys(line.game)),
            owned=tuple(sorted(set(own))),
            channels=tuple(dict.fromkeys(channels)),
        ),
        policy=policy or ("minimal_change" if line.lock else "newest"),
        recommends=recommends,
        as_of=as_of,
        repairs=explain,
    )


def to_result(outcome: Outcome, seconds: float) -> dict[str, Any]:
    """The outcome in the shape of a line of the results file."""
    result: dict[str, Any] = {"sat": None, "plan": [], "facts": [], "repairs": []}
    if isinstance(outcome, Solved):
        result["sat"] = True
        result["plan"] = [{"id": chosen.package, "version": chosen.version} for chosen in outcome.plan]
        result["proven"] = outcome.proven
        result["behind"] = outcome.behind
        result["changes"] = outcome.changes
        result["questions"] = [msgspec.to_builtins(question) for question in outcome.questions]
        result["notes"] = [msgspec.to_builtins(note) for note in outcome.notes]
    elif isinstance(outcome, GaveUp):
        result["gave_up"] = outcome.reason
        result["known"] = dict(outcome.known)
    else:
        result["sat"] = False
        result["facts"] = [msgspec.to_builtins(fact) for fact in outcome.facts]
        result["repairs"] = [msgspec.to_builtins(repair) for repair in outcome.repairs]
        result["explanation"] = outcome.text
    result["steps"] = outcome.steps
    result["cpu_ms"] = round(seconds * 1000, 3)
    return result


def _wanted(entry: str | Pin) -> Wanted:
    if isinstance(entry, Pin):
        return Wanted(entry.id, version=entry.version)
    name, _, version = entry.partition("=")
    return Wanted(name, version=version)


def _read_requests(path: Path) -> Iterator[OfflineRequest]:
    decoder = msgspec.json.Decoder(OfflineRequest)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise BadInputError(f"{path}, line {number}: {error}.") from error


def _read_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as raw:
        stream: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        try:
            for number, line in enumerate(io.BufferedReader(stream, 1 << 16), 1):
                if line.strip():
                    try:
                        yield parse_row(line)
                    except msgspec.MsgspecError as error:
                        raise BadInputError(f"{path}, line {number}: {error}.") from error
        except zstandard.ZstdError as error:
            raise BadInputError(f"{path} is not a whole zstd file: {error}.") from error


if __name__ == "__main__":
    sys.exit(resolve_offline(*(Path(argument) for argument in sys.argv[1:4])))

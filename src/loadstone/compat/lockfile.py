"""Lockfiles: an exact plan that anyone can check, store, compare and install again years later.

The canonical form is JSON with sorted keys, sorted entries, no insignificant space, UTF-8 and whole numbers only;
`sha256` is the hash of that form without itself. A file may be laid out otherwise (indented, reordered): it is
the same lockfile as long as the hash of its canonical form is the one it states.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from loadstone.compat.versions import UnknownScheme, scheme

FORMAT: Literal[1] = 1
"""The newest version of the format that this code reads, and the one that it writes."""

MAX_BYTES = 16 * 1024 * 1024

_NO_CONTROL = r"^(?![\s\S]*[\x00-\x1f\x7f])"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=_NO_CONTROL)]
Sha256 = Annotated[
    str,
    msgspec.Meta(pattern="^[0-9a-f]*$", min_length=64, max_length=64, description="SHA-256 in lower-case hex."),
]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1, description="Bytes.")]
Role = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_-]{0,31}(?![\s\S])",
        description="What the file is for, such as main or server.",
    ),
]
Choice = Annotated[str, msgspec.Meta(max_length=1024)]


class LockfileError(ValueError):
    """A lockfile that cannot be used."""

    code = "invalid_lockfile"
    status = 422


class InvalidLockfile(LockfileError):  # noqa: N818
    """The document does not follow the schema; the message says where."""


class NewerLockfile(LockfileError):  # noqa: N818
    """The lockfile is of a later format than this code knows."""

    code = "newer_lockfile"

    def __init__(self, found: int) -> None:
        super().__init__(
            f"This lockfile is written in format {found}; this program reads formats up to {FORMAT}. "
            "Update it and open the lockfile again. Nothing has been changed."
        )
        self.found = found


class AlteredLockfile(LockfileError):  # noqa: N818
    """The stated hash is not that of the content."""

    code = "altered_lockfile"

    def __init__(self, stated: str, computed: str) -> None:
        super().__init__(
            f"This lockfile states the hash {stated} but its content has {computed}: it was changed or damaged "
            "after it was made. Resolve again, or fetch it from where it was published."
        )
        self.stated = stated
        self.computed = computed


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every part of a lockfile is: immutable, with no field that the schema does not name."""


class LockedArtifact(_Document, frozen=True):
    """A file to install, named by its content."""

    sha256: Sha256
    size: Size
    role: Role = "main"


class LockedEntry(_Document, frozen=True):
    """One release of one chain, with everything that was chosen for it."""

    mod: Name
    chain: Name
    release: Annotated[Name, msgspec.Meta(description="Public id of the release.")]
    version: Annotated[Name, msgspec.Meta(description="The release's version, as its author wrote it.")]
    artifacts: Annotated[tuple[LockedArtifact, ...], msgspec.Meta(max_length=256)] = ()
    choices: Annotated[
        dict[Name, Choice],
        msgspec.Meta(max_length=256, description="Answers to the installer's and the solver's questions."),
    ] = {}
    claim_revision: Annotated[
        int, msgspec.Meta(ge=0, description="Number of the newest claim that the plan took into account.")
    ] = 0
    requested: Annotated[
        bool, msgspec.Meta(description="Whether the player asked for it, or it came as a dependency.")
    ] = False


class LockedLoader(_Document, frozen=True):
    """The mod loader that the plan is for."""

    name: Name
    version: Name


class Lockfile(_Document, frozen=True):
    """An exact plan. Build it with `seal`, read it with `parse`, write it with `canonical`."""

    lockfile: Annotated[Literal[1], msgspec.Meta(description="Version of this format.")]
    game: Name
    game_build: Name
    version_scheme: Annotated[Name, msgspec.Meta(description="The scheme that orders the versions of this game.")]
    entries: Annotated[tuple[LockedEntry, ...], msgspec.Meta(max_length=20_000)]
    sha256: Annotated[Sha256, msgspec.Meta(description="SHA-256 of the canonical form without this field.")]
    loader: LockedLoader | None = None
    load_order: Annotated[
        tuple[Name, ...], msgspec.Meta(max_length=20_000, description="Chains, first loaded first.")
    ] = ()


class _Head(msgspec.Struct, frozen=True):
    lockfile: int


def seal(
    *,
    game: str,
    game_build: str,
    version_scheme: str,
    entries: Iterable[LockedEntry],
    loader: LockedLoader | None = None,
    load_order: Iterable[str] = (),
) -> Lockfile:
    """The lockfile of a plan: entries and artifacts sorted, hash computed. Raises InvalidLockfile."""
    draft = Lockfile(
        lockfile=FORMAT,
        game=game,
        game_build=game_build,
        version_scheme=version_scheme,
        entries=tuple(entries),
        sha256="0" * 64,
        loader=loader,
        load_order=tuple(load_order),
    )
    checked = _checked(_converted(msgspec.to_builtins(draft)))
    return msgspec.structs.replace(checked, sha256=_hash(checked))


def canonical(lock: Lockfile) -> bytes:
    """The one byte string of `lock`: equal plans give equal bytes on every platform."""
    return msgspec.json.encode(lock, order="sorted")


def parse(data: bytes) -> Lockfile:
    """The lockfile in `data`, however it is laid out.

    Raises InvalidLockfile where it does not follow the schema, NewerLockfile for a later format, AlteredLockfile
    where the hash is not that of the content.
    """
    if len(data) > MAX_BYTES:
        raise InvalidLockfile(f"A lockfile has at most {MAX_BYTES} bytes; this one has {len(data)}.")
    try:
        document = msgspec.json.decode(data)
        head = msgspec.convert(document, _Head)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidLockfile(f"This is not a lockfile: {error}.") from error
    if head.lockfile > FORMAT:
        raise NewerLockfile(head.lockfile)
    lock = _checked(_converted(document))
    computed = _hash(lock)
    if computed != lock.sha256:
        raise AlteredLockfile(lock.sha256, computed)
    return lock


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the format, as published in docs/schemas."""
    schema: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(Lockfile)))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"lockfile-{FORMAT}.json",
        "title": f"Loadstone lockfile, format {FORMAT}",
        **schema,
    }


def _converted(document: Any) -> Lockfile:
    try:
        return msgspec.convert(document, Lockfile)
    except msgspec.ValidationError as error:
        raise InvalidLockfile(f"This lockfile does not follow its schema: {error}.") from error


def _checked(lock: Lockfile) -> Lockfile:
    """`lock` with everything in its canonical order. Raises InvalidLockfile where its parts contradict."""
    chains = {entry.chain for entry in lock.entries}
    if len(chains) != len(lock.entries):
        raise InvalidLockfile("This lockfile names a chain twice; a plan holds at most one release of each.")
    if len(set(lock.load_order)) != len(lock.load_order):
        raise InvalidLockfile("This lockfile names a chain twice in its load order.")
    unknown = set(lock.load_order) - chains
    if unknown:
        raise InvalidLockfile(f"The load order names {min(unknown)!r}, which is not among the entries.")
    try:
        scheme(lock.version_scheme)
    except UnknownScheme as error:
        raise InvalidLockfile(f"This lockfile cannot be compared: {error}") from error
    entries = (
        msgspec.structs.replace(entry, artifacts=tuple(sorted(entry.artifacts, key=_artifact_order)))
        for entry in lock.entries
    )
    return msgspec.structs.replace(lock, entries=tuple(sorted(entries, key=lambda e: (e.mod, e.chain))))


def _artifact_order(artifact: LockedArtifact) -> tuple[str, str, int]:
    return (artifact.role, artifact.sha256, artifact.size)


def _hash(lock: Lockfile) -> str:
    try:
        content = {name: value for name, value in msgspec.structs.asdict(lock).items() if name != "sha256"}
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
    except UnicodeEncodeError as error:
        raise InvalidLockfile("This lockfile holds text that is not valid Unicode.") from error

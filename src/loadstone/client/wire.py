"""What the server says, believed in nothing: every part has bounds, and the rest is refused."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from loadstone.client.state import Sha256, Size

Text = Annotated[str, Meta(max_length=400)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[str, Meta(max_length=4000)]
Reason = Literal["direct", "dependency", "update"]


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a planned release. Not ``here``: it lies at ``url``, where one is known."""

    file: Annotated[int, Meta(ge=0, le=10_000)]
    file_name: Name
    size: Size | None = None
    sha256: Sha256 | None = None
    here: bool = True
    url: Url | None = None


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One release of the plan and why it is there: ``requested``, or by ``needed_by`` (packages)."""

    package: Name
    mod: Name
    mod_slug: Name
    mod_name: Name
    release: Name
    version: Name
    reason: Literal["requested", "required", "installed"] = "required"
    needed_by: Annotated[tuple[Name, ...], Meta(max_length=20_000)] = ()
    artifacts: Annotated[tuple[PlanFile, ...], Meta(max_length=1000)] = ()


class Option(msgspec.Struct, frozen=True, kw_only=True):
    package: Name
    name: Text


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Several packages would do; ``chosen`` is in the plan."""

    asked_for: Annotated[tuple[Name, ...], Meta(max_length=1000)]
    asked_by: Text = ""
    options: Annotated[tuple[Option, ...], Meta(max_length=1000)] = ()
    chosen: Name


class Note(msgspec.Struct, frozen=True, kw_only=True):
    kind: Name
    text: Text


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence of why there is no plan."""

    text: Annotated[str, Meta(max_length=2000)]


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """One way out, in a sentence."""

    text: Annotated[str, Meta(max_length=2000)]


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to ``POST /api/v1/resolve``."""

    status: Literal["solved", "unsatisfiable", "gave_up"]
    game: Name
    build: Name | None = None
    loader: Name | None = None
    plan: Annotated[tuple[PlanEntry, ...], Meta(max_length=20_000)] = ()
    questions: Annotated[tuple[Question, ...], Meta(max_length=10_000)] = ()
    notes: Annotated[tuple[Note, ...], Meta(max_length=20_000)] = ()
    facts: Annotated[tuple[Fact, ...], Meta(max_length=200)] = ()
    repairs: Annotated[tuple[Repair, ...], Meta(max_length=200)] = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked for: a mod (slug, number or id) or a package; ``release`` or ``version`` pin it."""

    mod: str | None = None
    package: str | None = None
    range: str | None = None
    version: str | None = None
    release: str | None = None


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    package: str
    release: str
    version: str


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of ``POST /api/v1/resolve``."""

    game: str
    wanted: tuple[Wanted, ...]
    installed: tuple[Locked, ...] = ()
    build: str | None = None
    loader: str | None = None
    os: str | None = None
    side: str | None = None
    policy: Literal["newest", "minimal_change", "oldest"] = "newest"
    channels: tuple[str, ...] = ("release",)


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """A link to a file's bytes that ends soon; renewed under its ``id``, it counts as the same download."""

    id: Name
    url: Url
    file_name: Name
    size: Size
    sha256: Sha256


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A problem (RFC 9457) as far as the client shows it."""

    detail: Annotated[str, Meta(max_length=4000)] = ""
    title: Annotated[str, Meta(max_length=1000)] = ""
    code: Annotated[str, Meta(max_length=200)] = ""

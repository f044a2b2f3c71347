"""The two shapes of CKAN metadata: a row of the JSONL index, and a ``.ckan`` file (CKAN's Spec.md)."""

import datetime as dt
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Size = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$")]
Text = Annotated[str, Meta(max_length=200_000)]
Short = Annotated[str, Meta(max_length=1000)]
Kind = Literal["package", "metapackage", "dlc"]
Status = Literal["stable", "testing", "development"]
_WEB: Final = ("http://", "https://")


class Bound(msgspec.Struct, frozen=True, rename={"exactly": "eq", "at_least": "min", "at_most": "max"}):
    """One end of a relation; bounds are inclusive."""

    name: Short = ""
    exactly: Short | None = None
    at_least: Short | None = None
    at_most: Short | None = None


class Relation(Bound, frozen=True, rename={"exactly": "eq", "at_least": "min", "at_most": "max"}):
    """A relation to one name, or to any of several."""

    any_of: tuple[Bound, ...] = ()
    help: Text = ""
    suppress_recommendations: bool = False


class Replacement(msgspec.Struct, frozen=True):
    """The identifier that takes over."""

    name: Short


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one identifier."""

    id: Short
    version: Short
    kind: Kind = "package"
    release_status: Status = "stable"
    game_min: Short | None = None
    game_max: Short | None = None
    game_strict: bool = False
    depends: tuple[Relation, ...] = ()
    recommends: tuple[Relation, ...] = ()
    suggests: tuple[Relation, ...] = ()
    supports: tuple[Relation, ...] = ()
    conflicts: tuple[Relation, ...] = ()
    provides: tuple[Short, ...] = ()
    replaced_by: Replacement | None = None
    name: Text = ""
    abstract: Text = ""
    description: Text = ""
    authors: tuple[Text, ...] = ()
    license: tuple[Short, ...] = ()
    tags: tuple[Short, ...] = ()
    locales: tuple[Short, ...] = ()
    links: dict[str, str] = {}
    size: Size | None = None
    sha256: Sha256 | None = None
    url: Short | None = None
    released: dt.datetime | None = None
    indexed: dt.datetime | None = None
    install: tuple[Any, ...] = ()


class FileBound(msgspec.Struct, frozen=True):
    """A relation as a ``.ckan`` file writes it."""

    name: Short = ""
    version: Short | None = None
    min_version: Short | None = None
    max_version: Short | None = None
    any_of: tuple["FileBound", ...] = ()
    choice_help_text: Text = ""
    suppress_recommendations: bool = False

    def bound(self) -> Bound:
        return Bound(self.name, self.version, self.min_version, self.max_version)

    def relation(self) -> Relation:
        return Relation(
            self.name, self.version, self.min_version, self.max_version,
            tuple(end.bound() for end in self.any_of), self.choice_help_text, self.suppress_recommendations,
        )  # fmt: skip


FileRelations = tuple[FileBound, ...] | None


class Digests(msgspec.Struct, frozen=True):
    sha256: Sha256 | None = None


class CkanFile(msgspec.Struct, frozen=True, kw_only=True):
    """A ``.ckan`` file; fields that are not named here are not read."""

    identifier: Short
    version: Short
    kind: Kind = "package"
    release_status: Status | None = None
    ksp_version: Short | None = None
    ksp_version_min: Short | None = None
    ksp_version_max: Short | None = None
    ksp_version_strict: bool = False
    depends: FileRelations = None
    recommends: FileRelations = None
    suggests: FileRelations = None
    supports: FileRelations = None
    conflicts: FileRelations = None
    provides: tuple[Short, ...] | None = None
    replaced_by: Replacement | None = None
    name: Text = ""
    abstract: Text = ""
    description: Text | None = None
    author: Text | tuple[Text, ...] | None = None
    license: Short | tuple[Short, ...] = ()
    tags: tuple[Short, ...] | None = None
    localizations: tuple[Short, ...] | None = None
    resources: dict[str, Any] | None = None
    download: Short | tuple[Short, ...] | None = None
    download_size: Size | None = None
    download_hash: Digests | None = None
    release_date: dt.datetime | None = None
    install: tuple[Any, ...] | None = None

    def row(self) -> Row:
        """The same as a row of the index."""
        only = _known(self.ksp_version)
        addresses = [address for address in _several(self.download) if address.startswith(_WEB)]
        return Row(
            id=self.identifier, version=self.version, kind=self.kind,
            release_status=self.release_status or "stable",
            game_min=only or _known(self.ksp_version_min), game_max=only or _known(self.ksp_version_max),
            game_strict=self.ksp_version_strict,
            depends=_relations(self.depends), recommends=_relations(self.recommends),
            suggests=_relations(self.suggests), supports=_relations(self.supports),
            conflicts=_relations(self.conflicts), provides=self.provides or (), replaced_by=self.replaced_by,
            name=self.name, abstract=self.abstract, description=self.description or "",
            authors=_several(self.author), license=_several(self.license), tags=self.tags or (),
            locales=self.localizations or (),
            links={k: v for k, v in (self.resources or {}).items() if isinstance(v, str)},
            size=self.download_size, sha256=self.download_hash.sha256 if self.download_hash else None,
            url=addresses[0] if addresses else None, released=self.release_date, install=self.install or (),
        )  # fmt: skip


def _known(build: str | None) -> str | None:
    return None if build in {None, "", "any"} else build


def _several(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else given


def _relations(given: FileRelations) -> tuple[Relation, ...]:
    return tuple(bound.relation() for bound in given or ())


class _Builds(msgspec.Struct, frozen=True):
    builds: dict[str, str]


decode_row: Final = msgspec.json.Decoder(Row).decode
"""Raises msgspec.DecodeError, with the place of a wrong type."""
_decode_file: Final = msgspec.json.Decoder(CkanFile).decode
_decode_builds: Final = msgspec.json.Decoder(_Builds).decode
_BOM: Final = b"\xef\xbb\xbf"


def decode_file(data: bytes) -> Row:
    """A ``.ckan`` file as a row. Raises msgspec.DecodeError."""
    return _decode_file(data.removeprefix(_BOM)).row()


def decode_builds(data: bytes) -> tuple[str, ...]:
    """The game's builds, oldest first, of CKAN's map from build number to version (1.12.5.3190 is 1.12.5).

    Raises msgspec.DecodeError, ValueError.
    """
    numbered = sorted((int(number), version) for number, version in _decode_builds(data).builds.items())
    return tuple(dict.fromkeys(".".join(version.split(".")[:3]) for _, version in numbered))

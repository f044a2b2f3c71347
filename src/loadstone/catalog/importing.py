"""Taking over a whole catalogue from elsewhere: idempotent, in small transactions, never half a mod.

What an import knows is data (:class:`ImportedMod`); a reader such as ``import_ckan`` makes it. Each batch
is one transaction that first reads what is there, so a second run changes nothing and a run after a kill
goes on where the first one stopped. What was imported is never deleted; a relation that is no longer stated
is withdrawn by a claim of its own; a release's file never changes under its version (DESIGN, law 6).
A mod that a team has adopted since is left alone.
"""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from loadstone.catalog import import_store, store, writes
from loadstone.catalog.authoring import slugify
from loadstone.catalog.models import Channel, ClaimKind
from loadstone.kernel.db import Row, Transaction, is_transient
from loadstone.kernel.errors import ConflictError
from loadstone.kernel.ids import encode
from loadstone.kernel.platform import Platform

BATCH_RELEASES: Final = 400
"""Releases in a transaction: some 100 ms of work, so that readers of the event log are not held back."""
BATCH_MODS: Final = 100
_PAUSES: Final = (0.2, 1.0, 5.0)
"""Seconds before a batch is tried again."""
KEPT_TROUBLES: Final = 2000
"""Troubles kept word by word; the others are counted."""


class ImportedFile(msgspec.Struct, frozen=True):
    """A release's file that lies elsewhere; what the source did not say is None."""

    file_name: str
    size: int | None = None
    sha256: bytes | None = None
    url: str | None = None


class ImportedClaim(msgspec.Struct, frozen=True):
    """A fact in the form of the claims table: ``body`` has target, range, any_of, builds, note."""

    kind: ClaimKind
    body: dict[str, Any]


class ImportedRelease(msgspec.Struct, frozen=True):
    """A release; ``version_key`` is the scheme's ``sort_bytes`` of ``version``."""

    version: str
    version_key: bytes
    channel: Channel
    published_at: dt.datetime | None
    file: ImportedFile | None
    claims: tuple[ImportedClaim, ...]


class ImportedMod(msgspec.Struct, frozen=True, kw_only=True):
    """A mod under its key in the source, which is also its package's name. Releases oldest first."""

    key: str
    name: str
    summary: str
    description: str
    authors: list[str]
    tags: list[str]
    licence: str
    links: dict[str, str]
    releases: tuple[ImportedRelease, ...]
    claims: tuple[ImportedClaim, ...] = ()


class ImportedGame(msgspec.Struct, frozen=True):
    """The game that the mods are for. ``builds`` oldest first."""

    slug: str
    name: str
    summary: str
    scheme: str
    builds: tuple[str, ...]


class Trouble(msgspec.Struct, frozen=True):
    """Something that was not taken, where it stands in the input and why."""

    code: str
    where: str
    why: str


class Report(msgspec.Struct):
    """What an import did. ``left_out`` counts what the platform has no place for, by kind and reason."""

    mods_new: int = 0
    mods_changed: int = 0
    mods_same: int = 0
    releases_new: int = 0
    releases_same: int = 0
    claims_new: int = 0
    claims_withdrawn: int = 0
    complete: bool = True
    """False when the input broke off before its end."""
    seconds: float = 0.0
    troubles: list[Trouble] = []
    trouble_counts: Counter[str] = msgspec.field(default_factory=Counter)
    left_out: Counter[str] = msgspec.field(default_factory=Counter)

    def trouble(self, code: str, where: str, why: str) -> None:
        """Note what could not be taken."""
        self.trouble_counts[code] += 1
        if len(self.troubles) < KEPT_TROUBLES:
            self.troubles.append(Trouble(code, where, why))


class WrongSchemeError(ConflictError):
    code = "wrong-version-scheme"
    title = "The game orders versions by another scheme than the catalogue to import"


Progress = Callable[[int], None]
"""Called with the number of releases that were dealt with since the last call."""


async def import_catalogue(
    platform: Platform,
    source: str,
    game: ImportedGame,
    mods: Sequence[ImportedMod],
    report: Report,
    progress: Progress = lambda _: None,
) -> None:
    """Take over the mods into the game, which is made when it is not there; ``report`` is filled in.

    ``source`` names where they come from; with a mod's key it is unique in the game, so running twice at
    once is safe too. Raises :class:`WrongSchemeError`.
    """
    game_id = await _prepare_game(platform, game)
    keys = frozenset(mod.key for mod in mods)
    for batch in _batches(mods):
        done = await _take(platform, batch, source=source, game_id=game_id, game_slug=game.slug, keys=keys)
        done.add_to(report)
        progress(sum(len(mod.releases) for mod in batch))


async def _take(platform: Platform, batch: Sequence[ImportedMod], **about: Any) -> "_Done":
    """One batch in one transaction; again when the database was away or busy for a moment."""
    for pause in _PAUSES:
        try:
            async with platform.transaction() as tx:
                return await _Batch(platform, tx, **about).take(batch)
        except Exception as error:
            if not is_transient(error):
                raise
            await asyncio.sleep(pause)
    async with platform.transaction() as tx:
        return await _Batch(platform, tx, **about).take(batch)


def _batches(mods: Sequence[ImportedMod]) -> Iterator[list[ImportedMod]]:
    batch: list[ImportedMod] = []
    releases = 0
    for mod in mods:
        batch.append(mod)
        releases += len(mod.releases)
        if releases >= BATCH_RELEASES or len(batch) >= BATCH_MODS:
            yield batch
            batch, releases = [], 0
    if batch:
        yield batch


async def _prepare_game(platform: Platform, game: ImportedGame) -> int:
    async with platform.transaction() as tx:
        id_ = platform.ids.new()
        made = await writes.insert_game(
            tx, id_=id_, slug=game.slug, name=game.name, summary=game.summary, scheme=game.scheme
        )
        if made:
            await tx.emit(
                "game.added", subject=id_, game=id_, data={"slug": game.slug}, tags=["games", f"game:{game.slug}"]
            )
    row = await store.game_by_slug(platform.db, game.slug)
    if row is None:
        raise ConflictError(f"The game {game.slug} vanished while it was being imported.")
    if row["version_scheme"] != game.scheme:
        raise WrongSchemeError(
            f"The game {game.slug} orders versions by “{row['version_scheme']}”, this catalogue by “{game.scheme}”;"
            " import it into a game of its own."
        )
    await _merge_builds(platform, row["id"], game)
    game_id: int = row["id"]
    return game_id


async def _merge_builds(platform: Platform, game_id: int, game: ImportedGame) -> None:
    async with platform.transaction() as tx:
        await import_store.lock_game(tx, game_id)
        there = await import_store.build_names(tx, game_id)
        merged = sorted({*there, *game.builds}, key=_build_key)
        if set(there) == set(merged):
            return
        await import_store.set_builds(tx, game_id, merged)
        await tx.emit(
            "game.changed", subject=game_id, game=game_id, data={"fields": ["builds"]},
            tags=["games", f"game:{game.slug}", f"claims:{game_id}"],
        )  # fmt: skip


def _build_key(build: str) -> tuple[tuple[int, ...], str]:
    digits = "".join(c if c.isascii() and c.isdigit() else " " for c in build)
    return tuple(int(part[:18]) for part in digits.split()), build


class _Counts(msgspec.Struct):
    """What one transaction did, in numbers."""

    mods_new: int = 0
    mods_changed: int = 0
    mods_same: int = 0
    releases_new: int = 0
    releases_same: int = 0
    claims_new: int = 0
    claims_withdrawn: int = 0

    def counts(self) -> dict[str, int]:
        return {field: getattr(self, field) for field in self.__struct_fields__}


class _Done(msgspec.Struct):
    """What one transaction did; added to the report once it is committed."""

    counts: _Counts = msgspec.field(default_factory=_Counts)
    troubles: list[Trouble] = []

    def add_to(self, report: Report) -> None:
        for field, count in self.counts.counts().items():
            setattr(report, field, getattr(report, field) + count)
        for trouble in self.troubles:
            report.trouble(trouble.code, trouble.where, trouble.why)


class _There(msgspec.Struct):
    """A mod that an earlier import made."""

    row: Row
    releases: dict[str, Row]
    claims: dict[tuple[int | None, str, bytes], int]


class _Batch:
    """One transaction: what is there, what is wanted, and the rows between the two."""

    def __init__(
        self,
        platform: Platform,
        tx: Transaction,
        source: str,
        game_id: int,
        game_slug: str,
        keys: frozenset[str],
    ) -> None:
        self._platform = platform
        self._tx = tx
        self._source = source
        self._game_id = game_id
        self._game_slug = game_slug
        self._keys = keys
        self._now = platform.clock.now()
        self._done = _Counts()
        self._troubles: list[Trouble] = []
        self._mods: list[import_store.Record] = []
        self._chains: list[import_store.Record] = []
        self._releases: list[import_store.Record] = []
        self._files: list[import_store.Record] = []
        self._claims: list[import_store.Record] = []
        self._mod_updates: list[import_store.Record] = []
        self._file_updates: list[import_store.Record] = []
        self._places: list[tuple[int, list[tuple[int, int]]]] = []
        self._touched: dict[int, None] = {}

    async def take(self, mods: Sequence[ImportedMod]) -> _Done:
        await import_store.lock_game(self._tx, self._game_id)
        there = await self._there(mods)
        await self._add_mods([mod for mod in mods if mod.key not in there])
        for mod in mods:
            if mod.key in there:
                self._compare(mod, there[mod.key])
        await self._write()
        return _Done(self._done, self._troubles)

    async def _there(self, mods: Sequence[ImportedMod]) -> dict[str, _There]:
        rows = await import_store.mods_by_source(self._tx, self._game_id, self._source, [mod.key for mod in mods])
        found = {row["source_key"]: _There(row, {}, {}) for row in rows}
        if not found:
            return found
        by_chain = {thing.row["chain_id"]: thing for thing in found.values()}
        for row in await import_store.releases_of_chains(self._tx, list(by_chain)):
            by_chain[row["chain_id"]].releases[row["version"]] = row
        for row in await import_store.standing_claims(self._tx, list(by_chain)):
            by_chain[row["chain_id"]].claims[row["release_id"], row["kind"], _canonical(row["body"])] = row["id"]
        return found

    async def _add_mods(self, mods: Sequence[ImportedMod]) -> None:
        taken = await import_store.taken_packages(self._tx, self._game_id, [mod.key for mod in mods])
        free = [mod for mod in mods if mod.key not in taken]
        for mod in mods:
            if mod.key in taken:
                self._troubles.append(
                    Trouble("package-taken", mod.key, "another mod of the game has this package name")
                )
        if not free:
            return
        number = await import_store.take_numbers(self._tx, self._game_id, len(free))
        wanted = [_slugs(mod.key, number + offset) for offset, mod in enumerate(free)]
        taken_slugs = await import_store.taken_slugs(self._tx, self._game_id, [s for slugs in wanted for s in slugs])
        for offset, mod in enumerate(free):
            mod_id = self._platform.ids.new()
            choices = (*wanted[offset], encode("mod", mod_id).replace("_", "-"))
            slug = next(choice for choice in choices if choice not in taken_slugs)
            taken_slugs.add(slug)
            self._add_mod(mod, mod_id, number + offset, slug)

    def _add_mod(self, mod: ImportedMod, mod_id: int, number: int, slug: str) -> None:
        chain_id = self._platform.ids.new()
        dates = _dates(mod)
        first, last = (dates[0], dates[-1]) if dates else (self._now, self._now)
        self._mods.append((
            mod_id, self._game_id, number, slug, mod.name, mod.summary, mod.description, mod.authors, mod.tags,
            mod.licence, mod.links, "published", self._source, mod.key, first, last,
        ))  # fmt: skip
        self._chains.append((chain_id, mod_id, self._game_id, mod.key, "main", mod.name, "main", 1, True))
        for place, release in enumerate(mod.releases, 1):
            self._add_release(mod_id, chain_id, release, place)
        self._state(chain_id, None, mod.claims)
        self._touched[mod_id] = None
        self._done.mods_new += 1

    def _add_release(self, mod_id: int, chain_id: int, release: ImportedRelease, place: int) -> int:
        id_ = self._platform.ids.new()
        self._releases.append((
            id_, chain_id, mod_id, self._game_id, release.version, release.version_key, release.channel, place,
            "published", release.published_at or self._now,
        ))  # fmt: skip
        if release.file is not None:
            file = release.file
            self._files.append((id_, file.file_name, file.size, file.sha256, file.url))
        self._state(chain_id, id_, release.claims, release.published_at)
        self._done.releases_new += 1
        return id_

    def _state(
        self,
        chain_id: int,
        release_id: int | None,
        claims: Sequence[ImportedClaim],
        at: dt.datetime | None = None,
    ) -> None:
        """Append claims; they hold from the time of their release, so that "as of" sees them together."""
        for claim in claims:
            about = claim.body.get("target", "")
            self._claims.append((
                self._platform.ids.new(), self._game_id, chain_id, release_id, claim.kind, about, claim.body,
                "import", at or self._now, None,
            ))  # fmt: skip
            self._done.claims_new += 1

    def _compare(self, mod: ImportedMod, there: _There) -> None:
        if there.row["team_id"] is not None:
            self._troubles.append(Trouble("adopted", mod.key, "the mod has a team here, which looks after it now"))
            self._done.mods_same += 1
            self._done.releases_same += len(mod.releases)
            return
        before = (len(self._releases), len(self._claims), len(self._file_updates))
        self._compare_releases(mod, there)
        self._compare_claims(mod, there)
        grew = (len(self._releases), len(self._claims), len(self._file_updates)) != before
        if grew or self._described(mod) != self._described(there.row):
            dates = _dates(mod) or [there.row["published_at"]]
            self._mod_updates.append((there.row["id"], *self._described(mod), dates[0], dates[-1]))
            self._touched[there.row["id"]] = None
            self._done.mods_changed += 1
        else:
            self._done.mods_same += 1

    @staticmethod
    def _described(mod: ImportedMod | Row) -> tuple[Any, ...]:
        if isinstance(mod, ImportedMod):
            return (mod.name, mod.summary, mod.description, mod.authors, mod.tags, mod.licence, mod.links)
        names = ("name", "summary", "description", "authors", "tags", "licence", "links")
        return tuple(mod[name] for name in names)

    def _compare_releases(self, mod: ImportedMod, there: _There) -> None:
        chain_id, mod_id = there.row["chain_id"], there.row["id"]
        new = [release for release in mod.releases if release.version not in there.releases]
        for release in mod.releases:
            known = there.releases.get(release.version)
            if known is not None:
                self._compare_file(mod.key, release, known)
                self._done.releases_same += 1
        if not new:
            return
        order = [(row["version_key"], version, row["id"], row["place"]) for version, row in there.releases.items()]
        last = max((entry[3] for entry in order), default=0)
        for place, release in enumerate(new, last + 1):
            order.append(
                (release.version_key, release.version, self._add_release(mod_id, chain_id, release, place), place)
            )
        in_order = sorted(order)
        if in_order != sorted(order, key=lambda entry: entry[3]):
            self._places.append((chain_id, [(entry[2], place) for place, entry in enumerate(in_order, 1)]))

    def _compare_file(self, key: str, release: ImportedRelease, known: Row) -> None:
        """A file becomes better known or moves; other bytes under the same version are refused."""
        file = release.file
        if file is None or not known["has_file"]:
            return
        for given, kept in ((file.size, known["size"]), (file.sha256, known["sha256"])):
            if given is not None and kept is not None and given != kept:
                why = "the source names other bytes for this version than before; a release never changes"
                self._troubles.append(Trouble("file-changed", f"{key} {release.version}", why))
                return
        wanted = (
            file.size if known["size"] is None else known["size"],
            file.sha256 if known["sha256"] is None else known["sha256"],
            file.url or known["url"],
        )
        if wanted != (known["size"], known["sha256"], known["url"]):
            self._file_updates.append((known["id"], *wanted))

    def _compare_claims(self, mod: ImportedMod, there: _There) -> None:
        chain_id = there.row["chain_id"]
        wanted: list[tuple[int | None, Sequence[ImportedClaim]]] = [(None, mod.claims)]
        known = there.releases
        wanted.extend((known[r.version]["id"], r.claims) for r in mod.releases if r.version in known)
        spoken_of = {release_id for release_id, _ in wanted}
        gone = {key: id_ for key, id_ in there.claims.items() if key[0] in spoken_of and self._may_go(key)}
        for release_id, claims in wanted:
            new = [c for c in claims if gone.pop((release_id, c.kind, _canonical(c.body)), None) is None]
            self._state(chain_id, release_id, new)
        for (release_id, kind, _), id_ in gone.items():
            self._claims.append((
                self._platform.ids.new(), self._game_id, chain_id, release_id, kind, "", {}, "import",
                self._now, id_,
            ))  # fmt: skip
            self._done.claims_withdrawn += 1

    def _may_go(self, claim: tuple[int | None, str, bytes]) -> bool:
        """That this mod replaces another was said by the other; a part without it does not take that back."""
        return claim[1] != "replaces" or msgspec.json.decode(claim[2]).get("target") in self._keys

    async def _write(self) -> None:
        tx = self._tx
        if not self._touched:
            return
        if self._mods:
            await import_store.insert_mods(tx, self._mods)
            await import_store.insert_chains(tx, self._chains)
        await import_store.insert_releases(tx, self._releases)
        await import_store.insert_files(tx, self._files)
        await import_store.insert_claims(tx, self._claims)
        await import_store.update_mods(tx, self._mod_updates)
        await import_store.complete_files(tx, self._file_updates)
        for chain_id, places in self._places:
            await import_store.set_places(tx, chain_id, places)
        changed = [row[0] for row in self._mod_updates]
        await tx.emit(
            "mods.imported", game=self._game_id,
            data={"source": self._source, "mods": list(self._touched), **self._done.counts()},
            tags=[f"game:{self._game_slug}", f"claims:{self._game_id}", *(f"mod:{id_}" for id_ in changed)],
        )  # fmt: skip


def _slugs(key: str, number: int) -> tuple[str, str]:
    """The slug of a key, and with the mod's number behind it for when another mod has it already."""
    slug = slugify(key)
    if slug.isdigit():  # digits alone name a mod by its number
        slug = f"mod-{slug}"
    return slug, f"{slug[:50].rstrip('-')}-{number}"


def _dates(mod: ImportedMod) -> list[dt.datetime]:
    return sorted(release.published_at for release in mod.releases if release.published_at is not None)


def _canonical(body: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(body, order="deterministic")

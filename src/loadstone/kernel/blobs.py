"""Content-addressed bytes: a local folder by default, S3 and its like at scale, by obstore.

A blob's key is its SHA-256; it is written once, under a temporary name, and appears whole or not at all.
"""

import asyncio
import contextlib
import datetime as dt
import errno
import hashlib
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.store import LocalStore, ObjectStore, S3Store

from loadstone.kernel.config import Config, ConfigError
from loadstone.kernel.errors import UnavailableError

CHUNK: Final = 1 << 20
LONGEST_LINK_SECONDS: Final = 60
_PART: Final = 8 << 20
_PARTS_AT_ONCE: Final = 4
"""10 GiB are 1,280 parts of at most 10,000; four at once keep 32 MiB in memory."""


class BlobMissingError(UnavailableError):
    code = "blob-missing"
    title = "The file's bytes are not in the store; the operator has been told"


class BlobMismatchError(Exception):
    """The bytes do not have the digest that they were stored under."""


def blob_key(sha256: str) -> str:
    """Where a blob lies inside the store: ``blobs/ab/cd/abcd…`` for a digest in hex."""
    return f"blobs/{sha256[:2]}/{sha256[2:4]}/{sha256}"


class BlobStore:
    """The artifacts' bytes.

    ``folder`` is the local folder, or None when an object store holds the bytes; then players are sent
    to it by presigned links and no byte passes through us.
    """

    def __init__(self, store: ObjectStore, *, folder: Path | None = None, signer: S3Store | None = None) -> None:
        self.store = store
        self.folder = folder
        self._signer = signer

    @property
    def is_local(self) -> bool:
        return self.folder is not None

    def path(self, sha256: str) -> Path:
        """The local file of a blob; only for a local store."""
        if self.folder is None:
            raise TypeError("an object store has no local files")
        return self.folder / blob_key(sha256)

    async def exists(self, sha256: str) -> bool:
        return await self.size(sha256) is not None

    async def size(self, sha256: str) -> int | None:
        """The blob's size in bytes, or None when it is not there."""
        try:
            meta = await obstore.head_async(self.store, blob_key(sha256))
        except FileNotFoundError:
            return None
        return int(meta["size"])

    async def put_file(self, source: Path, sha256: str) -> None:
        """Store a local file whose SHA-256 is known and was checked; it is on disk, or in the object
        store, when this returns.

        A local store links to the file instead of copying it where that is possible: from then on nobody
        may write to it. Nothing happens when the blob is there in full already.
        """
        if self.folder is not None:
            if not await asyncio.to_thread(_link, source, self.path(sha256), self.folder):
                await self.put_stream(_file_chunks(source), sha256)
            return
        if await self.size(sha256) == (await asyncio.to_thread(source.stat)).st_size:
            return
        await obstore.put_async(self.store, blob_key(sha256), source, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)

    async def put_stream(self, chunks: AsyncIterable[bytes], sha256: str | None = None) -> tuple[str, int]:
        """Store a stream; returns its digest and size. Raises :class:`BlobMismatchError` and keeps nothing
        when ``sha256`` is given and differs.

        Without ``sha256`` an object store takes up to 5 GiB, because S3 renames no larger object.
        """
        stream = _Digested(chunks, sha256)
        if self.folder is not None:
            await self._write_local(self.folder, stream)
        elif sha256 is not None:
            # The stream breaks off on a wrong digest, and an upload that broke off never appears.
            await self._write_object(blob_key(sha256), stream)
        else:
            temporary = _incoming()
            try:
                await self._write_object(temporary, stream)
                await obstore.rename_async(self.store, temporary, blob_key(stream.found), overwrite=True)
            except BaseException:
                with contextlib.suppress(Exception):
                    await obstore.delete_async(self.store, temporary)
                raise
        return stream.found, stream.size

    async def _write_object(self, key: str, stream: "_Digested") -> None:
        try:
            await obstore.put_async(
                self.store, key, stream, use_multipart=True, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE
            )
        except Exception:
            if stream.mismatch is not None:  # the store wraps what the stream raised
                raise stream.mismatch from None
            raise

    async def _write_local(self, folder: Path, stream: "_Digested") -> None:
        temporary = folder / _incoming()
        await asyncio.to_thread(temporary.parent.mkdir, parents=True, exist_ok=True)
        try:
            file = await asyncio.to_thread(temporary.open, "xb", 0)
            try:
                async for chunk in stream:
                    await asyncio.to_thread(_write_all, file, chunk)
            finally:
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(_move, temporary, self.path(stream.found), folder)
        finally:
            await asyncio.to_thread(temporary.unlink, missing_ok=True)

    async def chunks(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to, not including, ``end``. Raises :class:`BlobMissingError`."""
        if end is not None and end <= start:
            return
        options: Any = {}
        if start or end is not None:
            options = {"range": (start, end) if end is not None else {"offset": start}}
        try:
            result = await obstore.get_async(self.store, blob_key(sha256), options=options)
        except FileNotFoundError:
            raise BlobMissingError(f"blob {sha256} is missing") from None
        async for chunk in result.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)

    async def delete(self, sha256: str) -> None:
        """Remove a blob; nothing happens when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self.store, blob_key(sha256))

    async def digests(self) -> AsyncIterator[tuple[str, int]]:
        """Every stored blob: digest and size; for back-ups and audits."""
        stream: Any = obstore.list(self.store, prefix="blobs")
        async for batch in stream:
            for meta in batch:
                yield meta["path"].rsplit("/", 1)[-1], int(meta["size"])

    async def sweep(self, older_than: dt.datetime) -> int:
        """Remove what killed writers left under temporary names; returns how many."""
        left: list[str] = []
        stream: Any = obstore.list(self.store, prefix="incoming")
        async for batch in stream:
            left += [meta["path"] for meta in batch if meta["last_modified"] < older_than]
        if left:
            await obstore.delete_async(self.store, left)
        return len(left)

    async def presign(self, sha256: str, *, seconds: int, file_name: str, now: dt.datetime | None = None) -> str:
        """A link straight to the object store, valid for ``seconds`` (1 to 60, DESIGN §7).

        The signature covers the download's file name, so that browsers save it under that name. With a
        machine's own role instead of configured keys the link carries no name. Raises :class:`ValueError`.
        """
        if self._signer is None:
            raise TypeError("a local store has nothing to presign")
        if not 1 <= seconds <= LONGEST_LINK_SECONDS:
            raise ValueError(f"a presigned link lives 1 to {LONGEST_LINK_SECONDS} seconds, not {seconds}")
        from loadstone.kernel.presign import presign_get

        settings = self._signer.config
        if "access_key_id" not in settings:
            return await obstore.sign_async(self._signer, "GET", blob_key(sha256), dt.timedelta(seconds=seconds))
        return presign_get(
            settings, self._signer.prefix, blob_key(sha256), seconds=seconds, file_name=file_name, now=now
        )


def open_store(config: Config) -> BlobStore:
    """The store that the configuration names. Raises :class:`ConfigError` for a URL that is none."""
    if not config.blobs_url:
        return _local(config.data / "blobs")
    parts = urlsplit(config.blobs_url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return _local(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return _s3(config, parts.netloc, parts.path.strip("/"))
    raise ConfigError(f"blobs_url: {config.blobs_url!r} is neither file:///folder nor s3://bucket/prefix")


def _local(folder: Path) -> BlobStore:
    folder.mkdir(parents=True, exist_ok=True)
    return BlobStore(LocalStore(folder, automatic_cleanup=False, mkdir=True), folder=folder.resolve())


def _s3(config: Config, bucket: str, prefix: str) -> BlobStore:
    def store(endpoint: str) -> S3Store:
        options: dict[str, Any] = {"region": config.s3_region}
        if endpoint:
            options["endpoint"] = endpoint
            options["virtual_hosted_style_request"] = False
        if config.s3_access_key:
            options["access_key_id"] = config.s3_access_key
            options["secret_access_key"] = config.s3_secret_key
        client: Any = {"allow_http": endpoint.startswith("http://"), "timeout": dt.timedelta(minutes=5)}
        return S3Store(bucket, prefix=prefix or None, client_options=client, **options)

    inner = store(config.s3_endpoint)
    outer = store(config.blobs_public_url) if config.blobs_public_url else inner
    return BlobStore(inner, signer=outer)


class _Digested:
    """A stream that is hashed as it passes and breaks off at its end when its digest is not the wanted one."""

    def __init__(self, chunks: AsyncIterable[bytes], wanted: str | None) -> None:
        self._chunks = chunks
        self._wanted = wanted
        self._digest = hashlib.sha256()
        self.size = 0
        self.mismatch: BlobMismatchError | None = None

    @property
    def found(self) -> str:
        """The digest of all that has passed."""
        return self._digest.hexdigest()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            if len(chunk) > CHUNK:
                await asyncio.to_thread(self._digest.update, chunk)
            else:
                self._digest.update(chunk)
            self.size += len(chunk)
            yield chunk
        if self._wanted is not None and self.found != self._wanted:
            self.mismatch = BlobMismatchError(f"expected SHA-256 {self._wanted}, found {self.found}")
            raise self.mismatch


def _incoming() -> str:
    return f"incoming/{secrets.token_hex(16)}"


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb", 0)
    try:
        while chunk := await asyncio.to_thread(file.read, 4 * CHUNK):
            yield chunk
    finally:
        await asyncio.to_thread(file.close)


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _move(source: Path, target: Path, top: Path) -> None:
    """Give a file of the store its final name, durably."""
    _sync(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    _sync_way(target, top)


def _link(source: Path, target: Path, top: Path) -> bool:
    """Give a file its name in the store, durably; False where the file system cannot (another device).

    A blob that is there in another size was damaged; the good one takes its place.
    """
    _sync(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        if target.stat().st_size != source.stat().st_size:
            beside = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
            os.link(source, beside)
            beside.replace(target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
            raise
        return False
    _sync_way(target, top)
    return True


def _sync_way(target: Path, top: Path) -> None:
    """Put the entries of a new file's folders on disk, up to the store's own."""
    for folder in target.parents:
        _sync(folder)
        if folder == top:
            return


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def content_disposition(file_name: str) -> str:
    """``attachment`` with an ASCII fallback and the UTF-8 name (RFC 6266)."""
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in file_name) or "download"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"

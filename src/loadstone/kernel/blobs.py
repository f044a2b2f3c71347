"""Content-addressed bytes: a local folder by default, S3 and its like at scale, by obstore.

A blob's key is its SHA-256; it is written once, under a temporary name, and appears whole or not at all.
"""

import contextlib
import datetime as dt
import hashlib
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import obstore
from obstore.store import LocalStore, ObjectStore, S3Store

from loadstone.kernel.config import Config, ConfigError
from loadstone.kernel.errors import UnavailableError

CHUNK: Final = 1 << 20


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
        """Store a local file whose SHA-256 is known; takes it over (moves) where that is possible.

        The caller has made sure of the digest. Nothing happens when the blob is there already.
        """
        if self.folder is not None:
            target = self.path(sha256)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except FileExistsError:
                return
            except OSError:  # another file system: copy under a temporary name, then rename
                await self.put_stream(_file_chunks(source), sha256)
                return
            _sync_folder(target.parent)
            return
        if await self.exists(sha256):
            return
        await obstore.put_async(self.store, blob_key(sha256), source)

    async def put_stream(self, chunks: AsyncIterable[bytes], sha256: str | None = None) -> tuple[str, int]:
        """Store a stream; returns its digest and size. Raises :class:`BlobMismatchError` and keeps nothing
        when ``sha256`` is given and differs.
        """
        digest = hashlib.sha256()
        size = 0

        async def hashed() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        temporary = f"incoming/{secrets.token_hex(16)}"
        try:
            await obstore.put_async(self.store, temporary, hashed(), chunk_size=8 * CHUNK)
            found = digest.hexdigest()
            if sha256 is not None and found != sha256:
                raise BlobMismatchError(f"expected SHA-256 {sha256}, found {found}")
            await obstore.rename_async(self.store, temporary, blob_key(found), overwrite=True)
        except BaseException:
            with contextlib.suppress(Exception):
                await obstore.delete_async(self.store, temporary)
            raise
        return found, size

    async def chunks(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` up to, not including, ``end``. Raises :class:`BlobMissingError`."""
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
        with contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self.store, blob_key(sha256))

    async def digests(self) -> AsyncIterator[tuple[str, int]]:
        """Every stored blob: digest and size; for back-ups and audits."""
        stream: Any = obstore.list(self.store, prefix="blobs")
        async for batch in stream:
            for meta in batch:
                yield meta["path"].rsplit("/", 1)[-1], int(meta["size"])

    async def presign(self, sha256: str, *, seconds: int, file_name: str, now: dt.datetime | None = None) -> str:
        """A link straight to the object store, valid for ``seconds`` (≤ 60, DESIGN §7).

        The signature covers the download's file name, so that browsers save it under that name.
        """
        if self._signer is None:
            raise TypeError("a local store has nothing to presign")
        from loadstone.kernel.presign import presign_get

        return presign_get(
            self._signer.config, self._signer.prefix, blob_key(sha256), seconds=seconds, file_name=file_name, now=now
        )


def open_store(config: Config) -> BlobStore:
    """The store that the configuration names. Raises :class:`ConfigError` for a URL that is none."""
    if not config.blobs_url:
        return _local(config.data / "blobs")
    parts = urlsplit(config.blobs_url)
    if parts.scheme == "file":
        return _local(Path(parts.path))
    if parts.scheme == "s3":
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


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    import asyncio

    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, 4 * CHUNK):
            yield chunk


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def content_disposition(file_name: str) -> str:
    """``attachment`` with an ASCII fallback and the UTF-8 name (RFC 6266)."""
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in file_name) or "download"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"

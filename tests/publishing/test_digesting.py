"""Digests of files in constant memory."""

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from murmurhash2 import murmurhash2

from loadstone.publishing import digesting
from loadstone.publishing.digesting import RunningHashes, digests_of


async def test_digests_are_those_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000  # more than two chunks
    path = tmp_path / "file"
    path.write_bytes(content)
    found = await digests_of(path)
    assert found.sha256 == hashlib.sha256(content).digest()
    assert found.sha1 == hashlib.sha1(content).digest()
    assert found.sha512 == hashlib.sha512(content).digest()
    assert found.md5 == hashlib.md5(content).digest()
    assert found.murmur2 == murmurhash2(content.translate(None, b"\t\n\r "), 1)


@settings(max_examples=200, deadline=None)
@given(
    content=st.lists(st.sampled_from([b"\t", b"\n", b"\r", b" ", b"a", b"bcd", b"\x00", b"\xff"]), max_size=60).map(
        b"".join
    ),
    chunk=st.integers(1, 9),
)
def test_the_fingerprint_does_not_depend_on_how_the_file_is_read(content: bytes, chunk: int) -> None:
    counted = content.translate(None, b"\t\n\r ")
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        found = digesting._fingerprint(Path(file.name), len(counted), chunk)
    assert found == murmurhash2(counted, 1)


def test_a_running_hash_is_had_only_at_the_offset_that_it_has_seen() -> None:
    running = RunningHashes(most=2)
    running.keep(1, 5, hashlib.sha256(b"hello"))
    assert running.take(1, 4) is None
    assert running.take(1, 5) is None  # the first question took it away: somebody else has moved on
    running.keep(1, 5, hashlib.sha256(b"hello"))
    state = running.take(1, 5)
    assert state is not None
    assert state.digest() == hashlib.sha256(b"hello").digest()


def test_running_hashes_are_bounded_and_the_oldest_goes_first() -> None:
    running = RunningHashes(most=2)
    for upload in (1, 2, 3):
        running.keep(upload, 5, hashlib.sha256(b"hello"))
    assert running.take(1, 5) is None
    assert running.take(2, 5) is not None
    assert running.take(3, 5) is not None

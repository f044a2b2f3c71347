"""A server that lies, stalls or breaks off: the folder stays as it was, and one sentence says why."""

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadstone.client import ClientError, errors
from tests.client.helpers import files, install, tree, update
from tests.client.shop import Handler, Offer, Shop
from tests.factories import zip_bytes


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their pauses."""
    from loadstone.client import fetching, server

    monkeypatch.setattr(server, "_LONGEST_WAIT", 0.01)
    monkeypatch.setattr(fetching, "_FIRST_PAUSE", 0.001)


def refused(shop: Shop, folder: Path, error: type[ClientError], match: str = ".") -> ClientError:
    """An update of an installed mod ends in this error and leaves the folder as it was."""
    before = tree(folder)
    with pytest.raises(error, match=match) as caught:
        update(shop, folder)
    assert tree(folder) == before
    assert "\n" not in caught.value.sentence
    return caught.value


@pytest.fixture
def folder(shop: Shop, tmp_path: Path) -> Path:
    """A folder with one mod, of which the shop has a newer release."""
    shop.publish("swords", "1.0", {"a.txt": "1"})
    install(shop, tmp_path / "game", "swords")
    shop.publish("swords", "2.0", {"a.txt": "2", "b.bin": random.Random(1).randbytes(100_000)})
    return tmp_path / "game"


def test_other_bytes_than_promised_are_thrown_away(shop: Shop, folder: Path) -> None:
    def lie(handler: Handler, offer: Offer) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(offer.data)))
        handler.end_headers()
        handler.wfile.write(b"x" * len(offer.data))
        return True

    shop.serve = lie
    refused(shop, folder, errors.WrongBytesError, "other bytes")
    assert not list((folder / ".loadstone").glob("downloads/*"))
    shop.serve = lambda _handler, _offer: False
    update(shop, folder)
    assert files(folder)["a.txt"] == b"2"


def test_a_stream_without_end_is_cut_off_at_the_promised_size(shop: Shop, folder: Path) -> None:
    sent = 0

    def endless(handler: Handler, _offer: Offer) -> bool:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(10_000):
                handler.wfile.write(b"x" * 65536)
                sent += 65536
        except OSError:
            handler.close_connection = True
        return True

    shop.serve = endless
    refused(shop, folder, errors.WrongBytesError, "more than it promised")
    assert sent < 100 << 20
    assert sum(path.stat().st_size for path in (folder / ".loadstone").rglob("*.part")) == 0


def test_a_link_that_leads_elsewhere_is_not_followed(shop: Shop, folder: Path) -> None:
    def elsewhere(handler: Handler, _offer: Offer) -> bool:
        handler.send_response(302)
        handler.send_header("Location", "http://evil.example/x")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    shop.serve = elsewhere
    refused(shop, folder, errors.NonsenseError, "leads elsewhere")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "http://user:secret@127.0.0.1/", "//["])
def test_a_link_that_is_none_is_not_opened(shop: Shop, folder: Path, url: str) -> None:
    shop.change_ticket = lambda ticket: ticket | {"url": url}
    refused(shop, folder, errors.NonsenseError, "link")


def test_the_token_does_not_go_where_links_point(shop: Shop, tmp_path: Path) -> None:
    from loadstone.client import Server, open_player
    from tests.client.helpers import quiet

    shop.publish("swords", "1.0", {"a.txt": "1"})
    with Server(shop.url, token="lds_secret") as server, open_player(tmp_path, create=True) as player:
        player.carry_out(player.propose_install(server, ["starfall/swords"]), server=server, on_progress=quiet)
    assert len(shop.requests) == 1
    assert "authorization" not in shop.requests[0]


def test_a_ticket_for_another_file_than_planned_is_refused(shop: Shop, folder: Path) -> None:
    shop.change_ticket = lambda ticket: ticket | {"size": ticket["size"] + 1}
    refused(shop, folder, errors.NonsenseError, "changed its mind")


def broken_entry(change: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda answer: answer | {"plan": [entry | change for entry in answer["plan"]]}


def broken_file(change: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda answer: broken_entry({"artifacts": [answer["plan"][0]["artifacts"][0] | change]})(answer)


@pytest.mark.parametrize(
    "change",
    [
        lambda _answer: b"not json at all",
        lambda _answer: b'{"status": "solved"',
        lambda _answer: b"\xff\xfe" * 100,
        lambda _answer: [],
        lambda answer: answer | {"status": "fine"},
        lambda answer: answer | {"plan": answer["plan"] * 2},
        broken_entry({"release": 7}),
        broken_entry({"release": "../../admin"}),
        broken_entry({"version": "x" * 100_000}),
        broken_file({"size": -1}),
        broken_file({"size": 1 << 60}),
        broken_file({"size": None}),
        broken_file({"sha256": "zz"}),
        broken_file({"sha256": "../../../../etc/passwd"}),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    shop: Shop, folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    shop.change_plan = change
    refused(shop, folder, errors.NonsenseError)


def test_a_plan_larger_than_the_disk_is_refused_before_anything_comes(shop: Shop, folder: Path) -> None:
    shop.change_plan = broken_file({"size": 1 << 43})
    asked = len(shop.requests)
    refused(shop, folder, errors.NoSpaceError, "make room")
    assert len(shop.requests) == asked


def test_an_answer_without_end_is_cut_off(shop: Shop, folder: Path) -> None:
    shop.change_plan = lambda answer: answer | {"padding": "x" * (40 << 20)}
    refused(shop, folder, errors.NonsenseError, "does not end")


def test_text_of_the_server_cannot_steer_the_terminal(shop: Shop, folder: Path) -> None:
    shop.change_plan = lambda answer: {
        "status": "unsatisfiable", "game": "starfall", "facts": [{"text": "\x1b[2J\x1b]0;owned\x07 boo"}],
    }  # fmt: skip
    error = refused(shop, folder, errors.UnsatisfiableError)
    assert not any(ord(char) < 32 or ord(char) == 127 for line in error.details for char in line)


HOSTILE_PATHS = [
    "../escape.txt", "/etc/escape.txt", "a/../../escape.txt", "C:/escape.txt", "CON", "a/aux.txt",
    ".loadstone/state.json", ".LOADSTONE/lock", "con.txt", "a\\..\\..\\escape.txt", "trailing.", "x:stream",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_an_archive_that_reaches_out_of_the_folder_is_refused(shop: Shop, folder: Path, path: str) -> None:
    shop.publish("swords", "3.0", zip_bytes({"fine.txt": "f", path: "escaped"}))
    refused(shop, folder, ClientError)
    assert not (folder.parent / "escape.txt").exists()


@pytest.mark.parametrize("name", ["../escape.jar", ".loadstone", "a/b.jar", "nul.jar", "x\x00.jar", "..", "x\n.jar"])
def test_a_file_name_that_reaches_out_of_the_folder_is_refused(shop: Shop, folder: Path, name: str) -> None:
    shop.publish("swords", "3.0", b"whatever", file_name=name)
    refused(shop, folder, ClientError)
    assert not (folder.parent / "escape.jar").exists()


def test_what_is_no_archive_under_an_archives_name_is_refused(shop: Shop, folder: Path) -> None:
    shop.publish("swords", "3.0", b"MZ this is a program" * 100)
    refused(shop, folder, errors.RefusedArchiveError, "not safe")


def test_a_download_that_breaks_off_goes_on_where_it_stopped(shop: Shop, folder: Path) -> None:
    breaks = 0

    def break_off(handler: Handler, offer: Offer) -> bool:
        nonlocal breaks
        start = int((handler.headers.get("range") or "bytes=0-")[6:-1])
        if breaks >= 3:
            return False
        breaks += 1
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Range", f"bytes {start}-{len(offer.data) - 1}/{len(offer.data)}")
        handler.send_header("Content-Length", str(len(offer.data) - start))
        handler.end_headers()
        handler.wfile.write(offer.data[start : start + 100])
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
        return True

    shop.serve = break_off
    tickets = shop.tickets
    update(shop, folder)
    assert files(folder)["a.txt"] == b"2"
    ranges = [headers.get("range") for headers in shop.requests[-3:]]
    assert ranges == ["bytes=100-", "bytes=200-", "bytes=300-"]
    assert shop.tickets - tickets == 1
    assert shop.renewals == 3


def test_an_expired_link_is_renewed(shop: Shop, folder: Path) -> None:
    answered = 0

    def expired(handler: Handler, _offer: Offer) -> bool:
        nonlocal answered
        answered += 1
        if answered > 2:
            return False
        handler.send_response(410)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    shop.serve = expired
    update(shop, folder)
    assert files(folder)["a.txt"] == b"2"
    assert shop.renewals == 2


def test_a_server_that_never_sends_a_byte_is_given_up(shop: Shop, folder: Path) -> None:
    def nothing(handler: Handler, _offer: Offer) -> bool:
        handler.send_response(503)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    shop.serve = nothing
    refused(shop, folder, errors.UnreachableError, "try again later")


def test_a_trickle_is_given_up(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loadstone.client import fetching

    monkeypatch.setattr(fetching, "_PATIENCE", 0.05)
    monkeypatch.setattr(fetching, "_FAILURES", 2)

    def trickle(handler: Handler, offer: Offer) -> bool:
        handler.send_response(206)
        start = int((handler.headers.get("range") or "bytes=0-")[6:-1])
        handler.send_header("Content-Range", f"bytes {start}-{len(offer.data) - 1}/{len(offer.data)}")
        handler.send_header("Content-Length", str(len(offer.data) - start))
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(offer.data[start : start + 1])
                handler.wfile.flush()
                start += 1
                time.sleep(0.02)
        except OSError:
            handler.close_connection = True
        return True

    shop.serve = trickle
    refused(shop, folder, errors.UnreachableError)


def test_a_damaged_part_on_the_disk_is_fetched_anew(shop: Shop, folder: Path) -> None:
    offer = shop.offers["swords"][-1]
    downloads = folder / ".loadstone" / "downloads"
    downloads.mkdir()
    (downloads / f"{offer.sha256}.part").write_bytes(b"damaged")
    update(shop, folder)
    assert files(folder)["a.txt"] == b"2"


def test_a_part_that_is_too_long_is_fetched_anew(shop: Shop, folder: Path) -> None:
    offer = shop.offers["swords"][-1]
    downloads = folder / ".loadstone" / "downloads"
    downloads.mkdir()
    (downloads / f"{offer.sha256}.part").write_bytes(bytes(len(offer.data) + 5))
    update(shop, folder)
    assert files(folder)["a.txt"] == b"2"


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    from loadstone.client import Server, open_player

    with (
        pytest.raises(errors.UnreachableError, match="--server"),
        Server("http://127.0.0.1:9") as server,
        open_player(tmp_path / "game", create=True) as player,
    ):
        player.propose_install(server, ["starfall/swords"])
    assert not (tmp_path / "game").exists()


@pytest.mark.parametrize("url", ["", "mods.example.org", "ftp://x", "http://", "http://[", "https://x/?a=b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    from loadstone.client import Server

    with pytest.raises(errors.NonsenseError, match="address"):
        Server(url)


def test_a_link_into_the_players_own_network_is_refused() -> None:
    from loadstone.client import Server

    public = Server("https://mods.example.org")
    for link in ("https://127.0.0.1/x", "https://192.168.0.1/x", "https://[::1]/x", "https://localhost/x"):
        with pytest.raises(errors.NonsenseError, match="own network"):
            public._checked_link(link)
    with pytest.raises(errors.NonsenseError, match="unprotected"):
        public._checked_link("http://cdn.example.org/x")
    assert public._checked_link("https://cdn.example.org/x?sig=1") == "https://cdn.example.org/x?sig=1"
    assert public._checked_link("/files/1") == "https://mods.example.org/files/1"

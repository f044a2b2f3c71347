"""The folder itself: one client at a time, what the system refuses, what was interrupted."""

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from loadstone.client import errors, journal, open_player
from loadstone.client.journal import Journal, Step, recover
from loadstone.client.state import OWN, InstalledMod, RecordedFile, State, check_path, read_state, write_json
from tests.client.helpers import files, install, remove, tree, update
from tests.client.shop import Shop


def _hold(folder: Path, ready: Any, done: Any) -> None:
    with open_player(folder):
        ready.set()
        done.wait(60)


def test_two_clients_at_once_get_one_clear_sentence(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "1"})
    install(shop, tmp_path, "swords")
    context = multiprocessing.get_context("forkserver")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(errors.FolderBusyError, match="Another loadstone is at work"):
            remove(tmp_path, "swords")
    finally:
        done.set()
        other.join()
    remove(tmp_path, "swords")
    assert tree(tmp_path) == {}


def test_a_disk_that_fills_up_leaves_the_old_state(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publish("swords", "1.0", {"a.txt": "1", "b.txt": "1"})
    install(shop, tmp_path, "swords")
    shop.publish("swords", "2.0", {"a.txt": "2", "b.txt": "2", "c.txt": "2"})
    before = tree(tmp_path)
    link, calls = os.link, 0

    def full(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(*arguments, **named)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(errors.NoSpaceError, match="full"):
        update(shop, tmp_path)
    assert tree(tmp_path) == before
    assert sorted(p.name for p in (tmp_path / OWN).iterdir()) == ["downloads", "lock", "state.json"]


def test_a_file_system_without_links_is_served_by_renames(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    shop.publish("swords", "1.0", {"a.txt": "1"})
    install(shop, tmp_path, "swords")
    shop.publish("swords", "2.0", {"a.txt": "2"})
    update(shop, tmp_path)
    assert files(tmp_path) == {"a.txt": b"2"}


def test_a_file_that_appears_at_the_last_moment_is_not_overwritten(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish("swords", "1.0", {"a.txt": "1"})
    install(shop, tmp_path, "swords")
    shop.publish("swords", "2.0", {"a.txt": "2", "b.txt": "2"})
    move_away = journal._move_away

    def slow(root: Path, steps: Any) -> None:
        move_away(root, steps)
        (root / "b.txt").write_text("the game wrote this")

    monkeypatch.setattr(journal, "_move_away", slow)
    with pytest.raises(errors.ForeignFilesError, match="b.txt"):
        update(shop, tmp_path)
    assert files(tmp_path) == {"a.txt": b"1", "b.txt": b"the game wrote this"}


def test_a_folder_that_cannot_be_written_is_named(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so the refusal is put in by hand."""
    shop.publish("swords", "1.0", {"a.txt": "1"})
    mkdir = Path.mkdir

    def refuse(self: Path, *arguments: Any, **named: Any) -> None:
        if OWN in self.parts:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        mkdir(self, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(errors.FolderNotWritableError, match="permissions"):
        install(shop, tmp_path, "swords")
    assert tree(tmp_path) == {}


def test_a_folder_that_is_a_file_is_refused(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "game").write_text("a file")
    shop.publish("swords", "1.0", {"a.txt": "1"})
    with pytest.raises(errors.NotAFolderError):
        install(shop, tmp_path / "game", "swords")
    with pytest.raises(errors.NotAFolderError):
        install(shop, tmp_path / "game" / "deeper", "swords")


def test_a_link_inside_the_folder_is_not_followed(shop: Shop, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "game"
    folder.mkdir()
    (folder / "data").symlink_to(outside)
    shop.publish("swords", "1.0", {"data/a.txt": "1"})
    with pytest.raises(errors.UnsafePathError, match="link"):
        install(shop, folder, "swords")
    assert list(outside.iterdir()) == []


def test_damaged_state_is_told_and_nothing_is_touched(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "1"})
    install(shop, tmp_path, "swords")
    state = tmp_path / OWN / "state.json"
    good = state.read_bytes()
    for bad in (b"", b"{", b"[]", good[: len(good) // 2], good.replace(b'"a.txt"', b'"../a.txt"')):
        state.write_bytes(bad)
        with pytest.raises((errors.DamagedStateError, errors.UnsafePathError)):
            remove(tmp_path, "swords")
        assert files(tmp_path) == {"a.txt": b"1"}
    state.write_bytes(good.replace(b'"schema": 1', b'"schema": 2'))
    with pytest.raises(errors.DamagedStateError, match="newer loadstone"):
        remove(tmp_path, "swords")


def test_a_journal_that_points_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / OWN).mkdir()
    (tmp_path / "precious").write_text("mine")
    for step in (Step("../x", moved="y"), Step("precious", moved="../gone"), Step("a", staged="../../precious")):
        write_json(tmp_path / OWN / "journal.json", Journal(txn="abc", steps=(step,)))
        with pytest.raises(errors.UnsafePathError):
            recover(tmp_path)
    assert files(tmp_path) == {"precious": b"mine"}


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "./a", "a/../b", ".loadstone/x", ".Loadstone/x", "nul", "a\\b"])
def test_unsafe_paths_are_refused(path: str) -> None:
    with pytest.raises(errors.UnsafePathError):
        check_path(path)


def test_what_the_player_changed_between_crash_and_recovery_is_kept(tmp_path: Path) -> None:
    own = tmp_path / OWN
    (own / "stage" / "abc").mkdir(parents=True)
    (own / "backup" / "abc").mkdir(parents=True)
    (own / "backup" / "abc" / "a.txt").write_text("old")
    (tmp_path / "a.txt").write_text("changed after the crash")
    old = State(game="starfall", mods=(_mod(RecordedFile("a.txt", 3, "0" * 64)),))
    write_json(own / "state.json", old)
    step = Step("a.txt", moved=f"{OWN}/backup/abc/a.txt", staged="0/a.txt", size=3, sha256="1" * 64)
    write_json(own / "journal.json", Journal(txn="abc", steps=(step,)))
    with open_player(tmp_path) as player:
        assert "a.txt.yours" in player.recovered
    assert files(tmp_path) == {"a.txt": b"old", "a.txt.yours": b"changed after the crash"}
    assert read_state(tmp_path) == old


def _mod(*recorded: RecordedFile) -> InstalledMod:
    return InstalledMod(
        package="swords", mod="mod_1", slug="swords", name="Swords", release="rel_1", version="1.0", requested=True,
        files=recorded,
    )  # fmt: skip


def test_listing_an_empty_folder_leaves_nothing_there(tmp_path: Path) -> None:
    with open_player(tmp_path) as player:
        assert player.state.mods == ()
    assert list(tmp_path.iterdir()) == []

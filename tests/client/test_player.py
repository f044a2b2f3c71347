"""Installing, updating, removing and verifying mods in a folder."""

from pathlib import Path

import pytest

from loadstone.client import errors, open_player
from loadstone.client.state import read_state
from tests.client.helpers import files, install, remove, tree, update
from tests.client.shop import Shop


def test_a_mod_comes_with_what_it_requires(shop: Shop, tmp_path: Path) -> None:
    shop.publish("base", "1.0", {"lib/base.dll": b"base"})
    shop.publish("swords", "1.0", {"textures/sword.dds": b"sharp", "readme.txt": "hello"}, requires=["base"])
    install(shop, tmp_path, "swords")
    assert files(tmp_path) == {"lib/base.dll": b"base", "textures/sword.dds": b"sharp", "readme.txt": b"hello"}
    mods = {mod.package: mod for mod in read_state(tmp_path).mods}
    assert mods["swords"].requested
    assert mods["base"].needed_by == ("swords",)
    assert not mods["base"].requested


def test_nothing_is_left_of_the_work(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "a"})
    install(shop, tmp_path, "swords")
    assert sorted(p.name for p in (tmp_path / ".loadstone").iterdir()) == ["lock", "state.json"]


def test_an_update_replaces_adds_and_takes_away(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"same.txt": "s", "old/gone.txt": "g", "changes.txt": "1"})
    install(shop, tmp_path, "swords")
    shop.publish("swords", "2.0", {"same.txt": "s", "new/deep/here.txt": "h", "changes.txt": "2"})
    proposal, _ = update(shop, tmp_path)
    assert [(c.kind, c.before, c.after) for c in proposal.changes] == [("update", "1.0", "2.0")]
    assert tree(tmp_path) == {
        "changes.txt": b"2", "new/": b"", "new/deep/": b"", "new/deep/here.txt": b"h", "same.txt": b"s",
    }  # fmt: skip


def test_an_update_of_one_mod_leaves_the_others(shop: Shop, tmp_path: Path) -> None:
    for name in ("swords", "shields"):
        shop.publish(name, "1.0", {f"{name}.txt": "1"})
    install(shop, tmp_path, "swords", "shields")
    for name in ("swords", "shields"):
        shop.publish(name, "2.0", {f"{name}.txt": "2"})
    update(shop, tmp_path, "swords")
    assert files(tmp_path) == {"swords.txt": b"2", "shields.txt": b"1"}
    assert [each["package"] for each in shop.asked[-1]["installed"]] == ["shields"]


def test_installing_another_mod_leaves_what_is_there(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"swords.txt": "1"})
    install(shop, tmp_path, "swords")
    shop.publish("swords", "2.0", {"swords.txt": "2"})
    shop.publish("shields", "1.0", {"shields.txt": "1"})
    install(shop, tmp_path, "shields")
    assert files(tmp_path) == {"swords.txt": b"1", "shields.txt": b"1"}
    assert shop.asked[-1]["policy"] == "minimal_change"


def test_a_named_version_is_installed_also_over_another(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "1"})
    shop.publish("swords", "2.0", {"a.txt": "2"})
    install(shop, tmp_path, "swords")
    assert files(tmp_path) == {"a.txt": b"2"}
    install(shop, tmp_path, "swords", version="1.0")
    assert files(tmp_path) == {"a.txt": b"1"}
    install(shop, tmp_path, "swords@2.0")
    assert files(tmp_path) == {"a.txt": b"2"}


def test_removing_a_mod_takes_away_what_only_it_needed(shop: Shop, tmp_path: Path) -> None:
    shop.publish("base", "1.0", {"lib/base.dll": "b"})
    shop.publish("common", "1.0", {"lib/common.dll": "c"})
    shop.publish("swords", "1.0", {"swords.txt": "s"}, requires=["base", "common"])
    shop.publish("shields", "1.0", {"shields.txt": "s"}, requires=["common"])
    install(shop, tmp_path, "swords", "shields")
    remove(tmp_path, "swords")
    assert files(tmp_path) == {"lib/common.dll": b"c", "shields.txt": b"s"}
    remove(tmp_path, "shields")
    assert tree(tmp_path) == {}


def test_what_others_need_is_not_removed_alone(shop: Shop, tmp_path: Path) -> None:
    shop.publish("base", "1.0", {"base.dll": "b"})
    shop.publish("swords", "1.0", {"swords.txt": "s"}, requires=["base"])
    install(shop, tmp_path, "swords")
    before = tree(tmp_path)
    with pytest.raises(errors.StillNeededError, match="swords"):
        remove(tmp_path, "base")
    assert tree(tmp_path) == before


def test_a_foreign_file_in_the_way_is_never_overwritten(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"data/a.txt": "ours", "data/b.txt": "ours", "c.txt": "ours"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("mine")
    (tmp_path / "C.TXT").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(errors.ForeignFilesError) as caught:
        install(shop, tmp_path, "swords")
    assert caught.value.paths == ("C.TXT", "data/a.txt")
    assert tree(tmp_path) == before


def test_a_foreign_file_where_a_folder_must_be_stops_the_install(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"data/a.txt": "ours"})
    (tmp_path / "data").write_text("mine")
    with pytest.raises(errors.ForeignFilesError, match="data"):
        install(shop, tmp_path, "swords")
    assert files(tmp_path) == {"data": b"mine"}


def test_the_players_changes_are_kept_aside_on_update_and_remove(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"settings.ini": "volume=1", "a.txt": "1"})
    install(shop, tmp_path, "swords")
    (tmp_path / "settings.ini").write_text("volume=9")
    shop.publish("swords", "2.0", {"settings.ini": "volume=2", "a.txt": "2"})
    _, outcome = update(shop, tmp_path)
    assert outcome.kept == (("settings.ini", "settings.ini.yours"),)
    assert files(tmp_path) == {"settings.ini": b"volume=2", "settings.ini.yours": b"volume=9", "a.txt": b"2"}
    (tmp_path / "settings.ini").write_text("volume=8")
    outcome = remove(tmp_path, "swords")
    assert outcome.kept == (("settings.ini", "settings.ini.yours-2"),)
    assert files(tmp_path) == {"settings.ini.yours": b"volume=9", "settings.ini.yours-2": b"volume=8"}


def test_a_file_that_the_author_left_alone_keeps_the_players_changes(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"settings.ini": "volume=1", "a.txt": "1"})
    install(shop, tmp_path, "swords")
    (tmp_path / "settings.ini").write_text("volume=9")
    shop.publish("swords", "2.0", {"settings.ini": "volume=1", "a.txt": "2"})
    update(shop, tmp_path)
    assert files(tmp_path) == {"settings.ini": b"volume=9", "a.txt": b"2"}


def test_a_file_that_the_player_deleted_is_no_obstacle(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"data/a.txt": "1", "b.txt": "1"})
    install(shop, tmp_path, "swords")
    (tmp_path / "data" / "a.txt").unlink()
    (tmp_path / "data").rmdir()
    shop.publish("swords", "2.0", {"data/a.txt": "2", "b.txt": "2"})
    update(shop, tmp_path)
    assert files(tmp_path) == {"data/a.txt": b"2", "b.txt": b"2"}
    (tmp_path / "b.txt").unlink()
    remove(tmp_path, "swords")
    assert tree(tmp_path) == {}


def test_the_players_own_files_beside_a_mods_stay(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"data/a.txt": "1"})
    install(shop, tmp_path, "swords")
    (tmp_path / "data" / "save.dat").write_text("mine")
    remove(tmp_path, "swords")
    assert files(tmp_path) == {"data/save.dat": b"mine"}


def test_two_mods_share_a_file_of_the_same_bytes(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"licence.txt": "free", "s.txt": "s"})
    shop.publish("shields", "1.0", {"licence.txt": "free", "h.txt": "h"})
    install(shop, tmp_path, "swords")
    install(shop, tmp_path, "shields")
    remove(tmp_path, "swords")
    assert files(tmp_path) == {"licence.txt": b"free", "h.txt": b"h"}
    remove(tmp_path, "shields")
    assert tree(tmp_path) == {}


def test_two_mods_with_different_bytes_at_one_path_are_refused_by_name(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"Textures/Sword.dds": "one"})
    shop.publish("blades", "1.0", {"textures/sword.DDS": "two"})
    install(shop, tmp_path, "swords")
    before = tree(tmp_path)
    with pytest.raises(errors.ModsCollideError, match="“Swords” and “Blades”"):
        install(shop, tmp_path, "blades")
    assert tree(tmp_path) == before


def test_a_file_of_one_mod_in_the_place_of_anothers_folder_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"data": "a file"})
    shop.publish("blades", "1.0", {"data/a.txt": "in a folder"})
    with pytest.raises(errors.ModsCollideError):
        install(shop, tmp_path, "swords", "blades")
    assert tree(tmp_path) == {}


def test_folders_keep_the_spelling_that_they_have(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    shop.publish("swords", "1.0", {"data/Textures/a.dds": "a"})
    shop.publish("shields", "1.0", {"DATA/textures/b.dds": "b"})
    install(shop, tmp_path, "swords")
    install(shop, tmp_path, "shields")
    assert files(tmp_path) == {"Data/Textures/a.dds": b"a", "Data/Textures/b.dds": b"b"}
    remove(tmp_path, "swords", "shields")
    assert tree(tmp_path) == {"Data/": b""}


def test_a_file_may_become_a_folder_and_back(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"data": "a file"})
    install(shop, tmp_path, "swords")
    shop.publish("swords", "2.0", {"data/deep/a.txt": "in a folder"})
    update(shop, tmp_path)
    assert files(tmp_path) == {"data/deep/a.txt": b"in a folder"}
    shop.publish("swords", "3.0", {"data": "a file again"})
    update(shop, tmp_path)
    assert tree(tmp_path) == {"data": b"a file again"}


def test_a_plain_file_that_is_no_archive_is_put_there_whole(shop: Shop, tmp_path: Path) -> None:
    offer = shop.publish("swords", "1.0", {"plugin.class": "x"}, file_name="swords.jar")
    install(shop, tmp_path, "swords")
    assert files(tmp_path) == {"swords.jar": offer.data}


def test_a_folder_holds_mods_of_one_game(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "a"})
    install(shop, tmp_path, "swords")
    with open_player(tmp_path) as player, pytest.raises(errors.OtherGameError, match="starfall"):
        player.propose_install(None, ["skylands/clouds"])  # type: ignore[arg-type]


def test_verify_names_what_is_missing_and_what_was_changed_and_repair_mends_it(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "a", "b.txt": "b", "c.txt": "c"})
    install(shop, tmp_path, "swords")
    with open_player(tmp_path) as player:
        assert player.verify() == []
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.txt").write_text("x")
    with open_player(tmp_path) as player:
        found = player.verify()
    assert [(f.path, f.problem) for f in found] == [("a.txt", "missing"), ("b.txt", "changed")]
    from loadstone.client import Server
    from tests.client.helpers import quiet

    with Server(shop.url) as server, open_player(tmp_path) as player:
        outcome = player.carry_out(player.propose_repair(found), server=server, on_progress=quiet)
        assert player.verify() == []
    assert outcome.kept == (("b.txt", "b.txt.yours"),)
    assert files(tmp_path) == {"a.txt": b"a", "b.txt": b"b", "b.txt.yours": b"x", "c.txt": b"c"}


def test_what_lies_elsewhere_is_named_with_its_address(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "a"}, here=False, url="https://example.org/swords.zip")
    with pytest.raises(errors.LiesElsewhereError) as caught:
        install(shop, tmp_path / "game", "swords")
    assert "download at the source" in caught.value.sentence
    assert "https://example.org/swords.zip" in caught.value.details[0]
    assert not (tmp_path / "game").exists()


def test_what_lies_elsewhere_is_taken_from_the_folder_where_the_player_put_it(shop: Shop, tmp_path: Path) -> None:
    offer = shop.publish("swords", "1.0", {"a.txt": "a"}, here=False)
    brought = tmp_path / "downloads"
    brought.mkdir()
    (brought / offer.file_name).write_bytes(offer.data[:-1])
    with pytest.raises(errors.WrongBytesError):
        install(shop, tmp_path / "game", "swords", brought=brought)
    (brought / offer.file_name).write_bytes(offer.data)
    install(shop, tmp_path / "game", "swords", brought=brought)
    assert files(tmp_path / "game") == {"a.txt": b"a"}


def test_the_same_install_again_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.publish("swords", "1.0", {"a.txt": "a"})
    install(shop, tmp_path, "swords")
    outcome = install(shop, tmp_path, "swords")
    assert not outcome.changed
    assert shop.tickets == 1

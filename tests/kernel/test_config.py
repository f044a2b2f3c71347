"""The configuration: typed, explained, precise about what is wrong."""

from pathlib import Path

import pytest

from loadstone.kernel.config import Config, ConfigError, load


def test_the_default_needs_nothing() -> None:
    assert load({}).config == Config()


def test_the_environment_beats_the_file_and_the_command_line_beats_both(tmp_path: Path) -> None:
    file = tmp_path / "loadstone.toml"
    file.write_text("port = 1\nworkers = 3\nhost = '0.0.0.0'\n")
    loaded = load({"LOADSTONE_PORT": "2", "LOADSTONE_HOST": "::1"}, file, {"host": "127.0.0.2", "port": None})
    assert (loaded.config.port, loaded.config.workers, loaded.config.host) == (2, 3, "127.0.0.2")
    assert loaded.origins["port"] == "environment LOADSTONE_PORT"
    assert loaded.origins["workers"] == f"file {file}"
    assert loaded.origins["host"] == "command line"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"LOADSTONE_PROT": "80"}, ["LOADSTONE_PROT", "did you mean port"]),
        ({"LOADSTONE_PORT": "many"}, ["LOADSTONE_PORT", "int"]),
        ({"LOADSTONE_PORT": "70000"}, ["LOADSTONE_PORT", "65535"]),
        ({"LOADSTONE_LOG_LEVEL": "loud"}, ["LOADSTONE_LOG_LEVEL", "loud"]),
        ({"LOADSTONE_DOWNLOAD_LINK_SECONDS": "3600"}, ["LOADSTONE_DOWNLOAD_LINK_SECONDS", "60"]),
        ({"LOADSTONE_SECRET_KEY": "short"}, ["secret_key", "32"]),
        ({"LOADSTONE_CONFIG": "/nowhere.toml"}, ["/nowhere.toml"]),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(environment: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["port = 'eighty'", "nonsense = 1", "port = ", "\udcff"])
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="bad.toml"):
        load({}, file)


def test_secrets_are_masked_and_every_key_is_explained() -> None:
    loaded = load({"LOADSTONE_SECRET_KEY": "x" * 40, "LOADSTONE_DATABASE_URL": "postgres://u:hunter2@h/d"})
    settings = {s.key: s for s in loaded.settings()}
    assert set(settings) == set(Config.__struct_fields__)
    assert all(s.meaning for s in settings.values())
    shown = " ".join(s.value for s in settings.values())
    assert "hunter2" not in shown
    assert "xxxx" not in shown
    assert "hunter2" not in repr(loaded)
    assert "xxxx" not in repr(loaded)


def test_trusted_proxies_are_a_list_in_the_environment() -> None:
    assert load({"LOADSTONE_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}).config.trusted_proxies == ("10.0.0.0/8", "::1")

"""Checking vectors files, as a library and as the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.cli.versions import versions_check
from loadstone.compat.vectors import MalformedVectors, check_vectors


def pair(a: str | None, b: str | None, cmp: int | str, scheme: str = "semver") -> dict[str, Any]:
    return {"scheme": scheme, "a": a, "b": b, "cmp": cmp, "source": "a test"}


def predicate(text: str, version: str, match: bool, scheme: str = "fabric") -> dict[str, Any]:
    return {"scheme": scheme, "predicate": text, "version": version, "match": match}


def case(version: str | None, valid: bool, scheme: str = "smapi", **other: Any) -> dict[str, Any]:
    return {"scheme": scheme, "version": version, "valid": valid, **other}


def test_all_vectors_of_the_named_schemes_pass(data_sets: Path) -> None:
    report = check_vectors(json.loads((data_sets / "version_vectors.json").read_text(encoding="utf-8")))
    assert (report.failures, report.skipped) == ((), 0)
    assert report.passed >= 189


@pytest.mark.parametrize(
    "document",
    [
        {"pairs": [pair("1.0.0", "1.0.1", -1), pair("1.0.0", "1.0.1", "!="), pair("1.0.0", "1.0.0+a", 0)]},
        {"pairs": [pair("1.0.0", None, 1), pair(None, "1.0.0", -1), pair(None, None, 0)]},
        {"predicates": [predicate("^1", "1.2.4", True), predicate("^1", "2.0.0", False)]},
        {"parse": [case("1.0", True, normalized="1.0.0"), case("1.05", False), case(None, False)]},
        {"parse": [case("1.0.0.5", False), case("1.0.0.5", True, non_standard_4_part_allowed=True)]},
        {"parse": [case("2.x", True, "fabric", wildcards_allowed=True), case("2.x", False, "fabric")]},
        {"parse": [case("2.x.1", False, "fabric", wildcards_allowed=True)]},
        {"pairs": []},
    ],
    ids=range(8),
)
def test_vectors_that_hold_pass(document: dict[str, Any]) -> None:
    report = check_vectors(document)
    assert report.failed == 0
    assert report.passed == sum(map(len, document.values()))


@pytest.mark.parametrize(
    ("document", "expected", "got"),
    [
        ({"pairs": [pair("1.0.0", "1.0.1", 1)]}, 1, -1),
        ({"pairs": [pair("1.0.0", "1.0.0", "!=")]}, "!=", 0),
        ({"predicates": [predicate("^1", "2.0.0", True)]}, True, False),
        ({"parse": [case("1.05", True)]}, True, False),
        ({"parse": [case("1.0", False)]}, False, True),
        ({"parse": [case("1.0.0.0", True, normalized="1.0", non_standard_4_part_allowed=True)]}, "1.0", "1.0.0"),
    ],
    ids=range(6),
)
def test_a_vector_that_does_not_hold_is_reported(document: dict[str, Any], expected: Any, got: Any) -> None:
    report = check_vectors(document)
    assert (report.passed, report.failed) == (0, 1)
    section = next(iter(document))
    assert (report.failures[0].section, report.failures[0].index) == (section, 0)
    assert (report.failures[0].expected, report.failures[0].got) == (expected, got)


def test_a_text_that_cannot_be_compared_fails_with_the_reason() -> None:
    report = check_vectors({"pairs": [pair("one", "1.0.0", -1)], "predicates": [predicate(">=x", "1.0", True)]})
    assert report.failed == 2
    assert "'one' is not a semver version" in report.failures[0].got


def test_vectors_of_other_schemes_are_counted_and_not_judged() -> None:
    report = check_vectors({"pairs": [pair("1.0", "1!0.5", -1, scheme="pep440"), pair("1.0.0", "2.0.0", -1)]})
    assert (report.passed, report.failed, report.skipped) == (1, 0, 1)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "pairs",
        {},
        {"pairs": 1},
        {"pairs": [1]},
        {"pairs": [{"scheme": "semver", "a": "1.0.0"}]},
        {"pairs": [pair("1.0.0", "1.0.0", 2)]},
        {"predicates": [{"scheme": "fabric", "predicate": "*", "version": "1", "match": "yes"}]},
    ],
    ids=range(9),
)
def test_a_document_of_another_shape_is_refused(document: Any) -> None:
    with pytest.raises(MalformedVectors):
        check_vectors(document)


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_prints_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"pairs": [pair("1.0.0", "2.0.0", -1)]}))
    assert versions_check(file) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1
    assert json.loads(printed.out) == {"passed": 1, "failed": 0, "failures": [], "skipped": 0}
    assert printed.err == ""


def test_the_command_fails_when_a_vector_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"pairs": [pair("1.0.0", "2.0.0", 1)]}))
    assert versions_check(file) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["passed"], printed["failed"], len(printed["failures"])) == (0, 1, 1)
    assert printed["failures"][0]["vector"]["a"] == "1.0.0"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "is not a vectors file"),
        (b"\xff", "is not a vectors file"),
        (b"[]", "is a JSON object with one of the lists"),
        (b"[" * 100_000, "is not a vectors file"),
        (b'{"pairs": [{}]}', "Object missing required field `scheme`"),
    ],
    ids=range(6),
)
def test_a_file_that_cannot_be_checked_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "vectors.json"
    if content is not None:
        file.write_bytes(content)
    assert versions_check(file) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err


def test_a_folder_is_not_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert versions_check(tmp_path) == 2
    assert "cannot be read: Is a directory." in capsys.readouterr().err

"""The API's document: an example for everything, true to its schema and to the application."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from PIL import Image

from loadstone.http import examples as shown
from loadstone.http.app import openapi_document
from loadstone.http.examples import examples
from loadstone.kernel.platform import Platform
from tests.conftest import MakePerson
from tests.factories import Person, zip_bytes
from tests.publishing.conftest import run_jobs

Operation = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in {"get", "head", "post", "put", "patch", "delete"}:
                yield method, path, operation


def contents(operation: Operation) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each JSON or text body of a request and of a good answer: where it is, its media type, what is said of it."""
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        if body.get("schema", {}).get("format") != "binary":
            yield "request", kind, body
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            for kind, body in answer.get("content", {}).items():
                yield status, kind, body


def test_every_operation_has_an_example_of_what_it_takes_and_gives(document: dict[str, Any]) -> None:
    lacking = [
        f"{operation['operationId']} {where}"
        for _, _, operation in operations(document)
        for where, _, body in contents(operation)
        if "example" not in body
    ]
    lacking += [
        f"{operation['operationId']} {{{parameter['name']}}}"
        for _, _, operation in operations(document)
        for parameter in operation["parameters"]
        if parameter["in"] == "path" and "example" not in parameter
    ]
    assert not lacking


def test_no_example_is_of_an_operation_that_is_not_there(document: dict[str, Any]) -> None:
    assert set(examples()) == {operation["operationId"] for _, _, operation in operations(document)}


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    wrong = []
    for _, _, operation in operations(document):
        for where, _, body in contents(operation):
            schema = body["schema"] | {"components": document["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema)
            wrong += [
                f"{operation['operationId']} {where}: {e.message}" for e in validator.iter_errors(body["example"])
            ]
    assert not wrong, "\n".join(wrong)


def test_an_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_refusal_is_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status.startswith(("2", "3")) or method == "head":
                continue
            assert list(answer["content"]) == ["application/problem+json"], (path, status)


def test_bodies_that_are_not_json_say_so(document: dict[str, Any]) -> None:
    takes = {
        operation["operationId"]: set(operation["requestBody"]["content"])
        for _, _, operation in operations(document)
        if "requestBody" in operation and "application/json" not in operation["requestBody"]["content"]
    }
    tus = {"application/offset+octet-stream"}
    pictures = {"image/png", "image/jpeg", "image/webp", "image/gif"}
    assert takes == {"start_upload": tus, "send_bytes": tus, "add_image": pictures}


class Tour:
    """Sends the document's examples; what the application named is put in place of the examples' names."""

    def __init__(self, document: dict[str, Any], person: Person) -> None:
        self._operations = {o["operationId"]: (m, p, o) for m, p, o in operations(document)}
        self._person = person
        self._real: dict[str, str] = {}
        self.done: set[str] = set()

    def named(self, example: str, real: str) -> None:
        self._real[example] = real

    def with_real(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self.with_real(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.with_real(v) for v in value]
        return self._real.get(value, value) if isinstance(value, str) else value

    async def send(self, name: str, **options: Any) -> Any:
        """The answer of the operation to its own example; its status must be the documented one."""
        method, path, operation = self._operations[name]
        for parameter in operation["parameters"]:
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", self.with_real(parameter["example"]))
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            options["json"] = self.with_real(body["example"])
        answer = await self._person.http.request(method.upper(), path, **options)
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert [str(answer.status_code)] == good, f"{name}: {answer.status_code} {answer.text}"
        self.done.add(name)
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else answer


async def test_the_examples_work_one_after_another(
    document: dict[str, Any], platform: Platform, person: MakePerson
) -> None:
    tour = Tour(document, await person("eve", roles=("admin",)))
    await tour.send("register")
    await tour.send("log_in")
    await tour.send("add_game")
    mod = await tour.send("make_mod")
    tour.named(shown.MOD, mod["id"])
    read = await tour.send("change_mod", headers={"If-Match": f'"{mod["id"]}-{mod["version"]}"'})
    assert read["tags"] == ["blades", "swords"]
    await tour.send("add_chain")
    claims = await tour.send("add_claim")
    tour.named(shown.CLAIM, claims[0]["id"])
    await send_file(tour)
    made = await tour.send("make_release")
    tour.named(shown.RELEASE, made["release"]["id"])
    picture = await tour.send("add_image", content=png(), headers={"Content-Type": "image/png"})
    tour.named(shown.IMAGE, picture["id"])
    await run_jobs(platform)
    ticket = await tour.send("make_ticket")
    tour.named(shown.TICKET, ticket["id"])
    for name in (
        "make_tickets", "renew_ticket", "resolve", "check_updates", "check_installed", "list_installability",
        "graphql", "sdl", "me", "profile", "list_games", "read_game", "browse", "read_mod",
        "read_mod_by_name", "list_chains", "list_releases", "read_release", "list_entries", "list_claims",
        "dependents", "my_mods", "diff_lockfiles", "list_images", "list_uploads", "read_upload", "read_stages",
        "act_on_release", "remove_image", "withdraw_claim", "moderate_mod",
    ):  # fmt: skip
        await tour.send(name)
    by_hand = {
        "search",  # answers 503 until a worker has made the index
        "make_token", "list_tokens", "revoke_token", "log_out",  # a browser's, not a token's
        "end_upload",  # the release has it
    }  # fmt: skip
    assert tour.done | by_hand == set(examples())


async def send_file(tour: Tour) -> None:
    content = zip_bytes({"swords.cfg": "sharpness = 11\n"})
    tus = {"Tus-Resumable": "1.0.0"}
    name = base64.b64encode(b"sharper-swords.zip").decode()
    started = await tour.send(
        "start_upload", headers=tus | {"Upload-Length": str(len(content)), "Upload-Metadata": f"filename {name}"}
    )
    tour.named(shown.UPLOAD, started.headers["Location"].rsplit("/", 1)[1])
    kind = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    await tour.send("send_bytes", content=content, headers=tus | kind)
    stands = await tour.send("upload_offset", headers=tus)
    assert stands.headers["Upload-Offset"] == str(len(content))


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (640, 360), "navy").save(buffer, "PNG")
    return buffer.getvalue()

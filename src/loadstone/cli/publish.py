"""``loadstone publish``: upload files by tus and follow the release until it is live or refused."""

import base64
import json as json_
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from loadstone.cli.terminal import err, fail, out

_PIECE: Final = 16 << 20
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_RETRIES: Final = 6


class PublishError(Exception):
    """One sentence for the creator."""


def publish(
    mod: str,
    *files: Path,
    version: str,
    chain: str | None = None,
    channel: Literal["release", "beta", "alpha"] | None = None,
    changelog: Path | None = None,
    requires: list[str] | None = None,
    server: str | None = None,
    wait: bool = True,
    json: bool = False,
) -> int:
    """Publish a release of your mod: upload its files and follow it until it is live.

    The token is read from LOADSTONE_TOKEN and needs the scope releases:publish. Doing the same again is
    harmless: the same version with the same files is the same release.

    Parameters
    ----------
    mod
        GAME/MOD, or the mod's id.
    files
        The files of the release.
    version
        The release's version; never used twice.
    chain
        The line of updates, by slug; the default one without it.
    channel
        From the version, unless given.
    changelog
        A Markdown file with what changed.
    requires
        A package that it requires, with a range behind it if you like: "other-mod >=1.2". May be repeated.
    server
        The platform's address; LOADSTONE_URL, or http://127.0.0.1:8000.
    wait
        Follow the release until it is published or refused.
    json
        Print the release as JSON when it is done.
    """
    token = os.environ.get("LOADSTONE_TOKEN")
    if not token:
        return fail("Set LOADSTONE_TOKEN to a token with the scope releases:publish; make one on your account's page.")
    if not files:
        return fail("Name at least one file to publish.")
    address = server or os.environ.get("LOADSTONE_URL") or "http://127.0.0.1:8000"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=address, headers=headers, timeout=60) as http:
            body: dict[str, Any] = {
                "version": version,
                "changelog": changelog.read_text("utf-8") if changelog else "",
                "claims": list(_claims(requires or [])),
            }
            body |= {name: value for name, value in (("chain", chain), ("channel", channel)) if value}
            release = _publish(http, mod, files, body, wait=wait)
    except PublishError as error:
        return fail(str(error))
    except httpx.HTTPError as error:
        return fail(f"{address} cannot be reached: {error}.")
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}.")
    if json:
        print(json_.dumps(release, indent=2))
    if release["state"] == "refused":
        return fail(f"Refused: {release['state_reason']}", 3)
    if not json:
        out.print(f"{release['package']} {release['version']} is {release['state']}.", soft_wrap=True)
    return 0


def _publish(http: httpx.Client, mod: str, files: tuple[Path, ...], body: dict[str, Any], *, wait: bool) -> Any:
    mod_id = _mod_id(http, mod)
    existing = _existing(http, mod_id, body["version"], files)
    if existing is not None:
        return _follow(http, existing) if wait else existing
    body["artifacts"] = [{"upload": _upload(http, file)} for file in files]
    made = _checked(http.post(f"/api/v1/mods/{mod_id}/releases", json=body))["release"]
    return _follow(http, made) if wait else made


def _mod_id(http: httpx.Client, name: str) -> str:
    path = f"/api/v1/games/{name.replace('/', '/mods/', 1)}" if "/" in name else f"/api/v1/mods/{name}"
    return str(_checked(http.get(path))["id"])


def _existing(http: httpx.Client, mod_id: str, version: str, files: tuple[Path, ...]) -> Any | None:
    """A release of this version that is there already, when it has these very files."""
    found = _checked(http.get(f"/api/v1/mods/{mod_id}/releases", params={"limit": 100}))["items"]
    for release in found:
        if release["version"] != version or release["state"] == "refused":
            continue
        there = [file["sha256"] for file in release["artifacts"]]
        if release["state"] != "processing" and there != [_sha256(file) for file in files]:
            raise PublishError(f"{version} is published already, with other files; take a new version.")
        return release
    return None


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _upload(http: httpx.Client, path: Path) -> str:
    """Send a file by tus; goes on where it stopped when the connection breaks. Returns the upload's id."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    size = path.stat().st_size
    name = base64.b64encode(path.name.encode()).decode()
    started = http.post(
        "/api/v1/uploads", headers=_TUS | {"Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
    )
    _checked(started)
    place = started.headers["location"]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with path.open("rb") as file, Progress(*columns, console=err, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(path.name, total=size)
        at, failures = 0, 0
        while at < size:
            file.seek(at)
            try:
                answer = http.patch(
                    place,
                    content=_pieces(file, min(_PIECE, size - at)),
                    headers=_TUS
                    | {
                        "Upload-Offset": str(at),
                        "Content-Type": "application/offset+octet-stream",
                        "Content-Length": str(min(_PIECE, size - at)),
                    },
                )
                _checked(answer)
                at, failures = int(answer.headers["upload-offset"]), 0
            except httpx.TransportError:
                failures += 1
                if failures > _RETRIES:
                    raise
                time.sleep(min(10, 2**failures / 4))
                at = int(_checked_head(http, place))
            bar.update(task, completed=at)
    return str(place.rsplit("/", 1)[-1])


def _pieces(file: Any, length: int) -> Iterator[bytes]:
    while length > 0:
        chunk = file.read(min(1 << 20, length))
        if not chunk:
            raise PublishError("The file became shorter while it was sent; try again when it is written.")
        length -= len(chunk)
        yield chunk


def _checked_head(http: httpx.Client, place: str) -> str:
    answer = http.head(place, headers=_TUS)
    if answer.status_code >= 400:
        raise PublishError(f"The upload is not there any more ({answer.status_code}); start again.")
    return str(answer.headers["upload-offset"])


def _follow(http: httpx.Client, release: Any) -> Any:
    """Wait until the pipeline is done, telling each stage."""
    told: set[tuple[str, str]] = set()
    while True:
        for stage in _checked(http.get(f"/api/v1/releases/{release['id']}/stages")):
            key = (stage["stage"], stage["state"])
            if stage["state"] != "waiting" and key not in told:
                told.add(key)
                err.print(f"  {stage['stage']:<8} {stage['state']} {stage['detail']}".rstrip(), markup=False)
        release = _checked(http.get(f"/api/v1/releases/{release['id']}"))
        if release["state"] != "processing":
            return release
        time.sleep(0.3)


def _claims(requires: list[str]) -> Iterator[dict[str, str]]:
    for text in requires:
        target, _, range_ = text.strip().partition(" ")
        yield {"kind": "requires", "target": target} | ({"range": range_.strip()} if range_.strip() else {})


def _checked(answer: httpx.Response) -> Any:
    if answer.status_code < 400:
        return answer.json() if answer.content else None
    try:
        problem = answer.json()
        raise PublishError(str(problem.get("detail") or problem.get("title")))
    except ValueError:
        raise PublishError(f"The server answered {answer.status_code}.") from None

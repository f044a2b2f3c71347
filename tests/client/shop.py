"""A server of a few mods for the client's tests: it can lie, stall and break off, which ours cannot be made to.

It speaks the wire form of the real one; ``test_with_platform.py`` proves that the real one does too.
"""

import hashlib
import json
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from tests.factories import zip_bytes

Handler = BaseHTTPRequestHandler


class Offer(msgspec.Struct):
    """A release of the shop."""

    package: str
    version: str
    file_name: str
    data: bytes
    requires: list[str]
    here: bool = True
    url: str | None = None

    @property
    def release(self) -> str:
        return f"rel_{zlib.crc32(f'{self.package} {self.version}'.encode()):013d}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class Shop:
    """Mods by package, newest last. The hooks change what is answered."""

    def __init__(self) -> None:
        self.offers: dict[str, list[Offer]] = {}
        self.asked: list[dict[str, Any]] = []
        self.tickets = 0
        self.renewals = 0
        self.requests: list[dict[str, str]] = []
        """Headers of the requests for bytes."""
        self.change_plan: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.change_ticket: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.serve: Callable[[Handler, Offer], bool] = lambda _handler, _offer: False
        """Answers a request for bytes itself where it returns True."""
        self.url = ""

    def publish(
        self,
        package: str,
        version: str,
        files: dict[str, bytes | str] | bytes,
        *,
        requires: list[str] | None = None,
        file_name: str | None = None,
        **more: Any,
    ) -> Offer:
        data = files if isinstance(files, bytes) else zip_bytes(files)
        offer = Offer(package, version, file_name or f"{package}-{version}.zip", data, requires or [], **more)
        self.offers.setdefault(package, []).append(offer)
        return offer

    def resolve(self, body: dict[str, Any]) -> dict[str, Any]:
        locked = {each["package"]: each["version"] for each in body.get("installed", [])}
        wanted = [(w.get("package") or w["mod"], w.get("version")) for w in body["wanted"]]
        plan: dict[str, tuple[Offer, set[str]]] = {}
        queue = [(name, pin, "") for name, pin in wanted]
        while queue:
            name, pin, by = queue.pop(0)
            if name in plan:
                plan[name][1].add(by)
                continue
            kept = pin or (locked.get(name) if body.get("policy") == "minimal_change" else None)
            offers = self.offers[name]
            offer = next((o for o in offers if o.version == kept), offers[-1])
            plan[name] = (offer, {by})
            queue += [(each, None, name) for each in offer.requires]
        asked = {name for name, _ in wanted}
        return {
            "status": "solved",
            "game": body["game"],
            "plan": [self._entry(o, o.package in asked, sorted(by - {""})) for o, by in plan.values()],
        }

    def _entry(self, offer: Offer, requested: bool, needed_by: list[str]) -> dict[str, Any]:
        return {
            "package": offer.package,
            "mod": f"mod_{offer.package}",
            "mod_slug": offer.package,
            "mod_name": offer.package.title(),
            "release": offer.release,
            "version": offer.version,
            "reason": "requested" if requested else "required",
            "needed_by": needed_by,
            "artifacts": [
                {
                    "file": 0,
                    "file_name": offer.file_name,
                    "size": len(offer.data),
                    "sha256": offer.sha256,
                    "here": offer.here,
                    "url": offer.url,
                }
            ],
        }

    def find(self, release: str) -> Offer:
        return next(o for offers in self.offers.values() for o in offers if o.release == release)


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop that serves until the block ends."""
    shop = Shop()
    server = _Listening(("127.0.0.1", 0), _handler(shop))
    server.daemon_threads = True
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Listening(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or dies is what these tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    class Serving(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/api/v1/resolve":
                shop.asked.append(body)
                self.answer(shop.change_plan(shop.resolve(body)))
                return
            renewed = self.path.endswith("/renew")
            offer = shop.find(self.path.split("/")[4].replace("grt_", "rel_"))
            shop.tickets += not renewed
            shop.renewals += renewed
            ticket = {
                "id": offer.release.replace("rel_", "grt_"),
                "url": f"/bytes/{offer.release}",
                "expires_at": "2030-01-01T00:00:00Z",
                "file_name": offer.file_name,
                "size": len(offer.data),
                "sha256": offer.sha256,
            }
            self.answer(shop.change_ticket(ticket), 201)

        def do_GET(self) -> None:
            shop.requests.append({k.lower(): v for k, v in self.headers.items()})
            offer = shop.find(self.path.split("/")[2])
            if shop.serve(self, offer):
                return
            start = int((self.headers.get("range") or "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(offer.data) - 1}/{len(offer.data)}")
            self.send_header("Content-Length", str(len(offer.data) - start))
            self.end_headers()
            self.wfile.write(offer.data[start:])

        def answer(self, value: Any, status: int = 200) -> None:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Serving

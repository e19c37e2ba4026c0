"""A small service in memory, over real HTTP, that keeps the contract's promises and fails as it is told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_FAULTS = 2

Reply = tuple[int, dict[str, Any], dict[str, str]]
#: Stands for a connection that is closed without an answer, after the submission was accepted.
LOST: Reply = (0, {}, {})
#: Stands for a connection that stays open without an answer.
HANGS: Reply = (-1, {}, {})


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    key: str | None
    document: Any


@dataclass
class Service:
    """Accepts submissions in memory; `replies` are given first, one a submission, unless they are None."""

    url: str = ""
    replies: list[Reply | None] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    retained: list[Any] = field(default_factory=list)
    entries: list[Any] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    managed: str | None = None
    published: str = "{}"
    names_faults: bool = True
    max_items: int = 100_000

    def answer(self, seen: Seen) -> Reply:
        """Answer a request."""
        self.seen.append(seen)
        if seen.path.startswith("/api/requests/"):
            request_id = seen.path.rpartition("/")[2].partition("?")[0]
            state = self.states.get(request_id, "applied")
            return 200, {"requestId": request_id, "state": state, "reason": "22P05" if state == "dead" else None}, {}
        if seen.path == "/api/connector/config":
            return self._configuration(seen)
        reply = self.replies.pop(0) if self.replies else None
        return reply if reply and reply is not LOST else self._submitted(seen, is_lost=reply is LOST)

    def _configuration(self, seen: Seen) -> Reply:
        if seen.method == "PUT":
            self.published = seen.document["configuration"]
        text = self.published if self.managed is None else self.managed
        etag = f'"{hash(text)}"'
        if seen.method == "GET" and seen.key == etag:
            return 304, {}, {"ETag": etag}
        return (
            200,
            {"requestId": "req_1", "configuration": text, "defaultConfiguration": self.managed is None},
            {"ETag": etag},
        )

    def _submitted(self, seen: Seen, *, is_lost: bool) -> Reply:
        if seen.key in self.accepted:
            return 202, {"status": "accepted", "requestId": self.accepted[seen.key]}, {}
        items = seen.document.get("items", seen.document.get("entries", []))
        if len(items) > self.max_items:
            return refused(413, "body_too_large")
        bad = [index for index, item in enumerate(items) if "bad" in (item.get("fields") or {})]
        if bad:
            return self._faulty(bad)
        self.rows += items if "items" in seen.document else []
        self.entries += items if "entries" in seen.document else []
        self.retained += [seen.document] if "ids" in seen.document else []
        request_id = f"req_{len(self.accepted):014d}"
        self.accepted[seen.key or request_id] = request_id
        return LOST if is_lost else (202, {"status": "accepted", "requestId": request_id}, {})

    def _faulty(self, bad: list[int]) -> Reply:
        faults: list[dict[str, Any]] = [
            {"code": "nul_character", "message": "Remove it.", "path": f"$.items[{index}].fields.bad"} for index in bad
        ]
        more: dict[str, Any] = {"faults": faults[:MAX_FAULTS]}
        if len(bad) > MAX_FAULTS:
            more["moreFaults"] = True
        return refused(409, **faults[0], **(more if self.names_faults else {}))

    @property
    def ids(self) -> list[str]:
        """Return the ids of all accepted items, in order."""
        return [row["id"] for row in self.rows]

    def bodies(self, path: str = "/api/ingest") -> list[Seen]:
        """Return the submissions of a kind."""
        return [seen for seen in self.seen if seen.path == path]


def refused(status: int, code: str, *, retry_after: int | None = None, **more: Any) -> Reply:
    """Return a refusal."""
    error = {"code": code, "message": "As the test wants.", **more}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return status, {"status": "error", "requestId": "req_zz", "error": error}, headers


class Server(ThreadingHTTPServer):
    """A server that is silent about clients that were killed."""

    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell errors, but not of lost connections."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving() -> Iterator[Service]:
    """Serve on a port of its own."""
    service = Service()
    server = Server(("127.0.0.1", 0), handler(service.answer))
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler(answer: Callable[[Seen], Reply]) -> type[BaseHTTPRequestHandler]:
    """Return a handler of HTTP requests."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # its client was killed
                self.close_connection = True
                return
            key = self.headers.get("Idempotency-Key") or self.headers.get("If-None-Match")
            with lock:
                status, document, headers = answer(
                    Seen(self.command, self.path, key, json.loads(body) if body else None)
                )
            self.close_connection = status <= 0
            if status < 0:
                self.rfile.read(1)  # until the client gives up
            elif status:
                self._send(status, b"" if status == 304 else json.dumps(document).encode(), headers)

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names of http.server

    return Handler

"""A connector as its author knows it: a credential, an HTTP client, and the answers that the contract promises."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx

MB = 1_048_576
JSON = {"Content-Type": "application/json"}
GZIP = {**JSON, "Content-Encoding": "gzip"}
_REQUEST_ID = re.compile(r"req_[a-z0-9]{14}")
#: Timeout of a request in seconds; long, since a slow core may validate several bodies of 30 MB.
_PATIENCE_SECONDS = 60.0
_TIMEOUT = httpx.Timeout(_PATIENCE_SECONDS)
#: For all clients, none of which uses TLS: httpx would load the system's certificates for each, 0.03 s of CPU.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Body = bytes | str | Iterable[bytes] | AsyncIterable[bytes]


@dataclass(frozen=True)
class Connector:
    """The id and the credential of a connector, and the address that it submits to."""

    id: int
    credential: str
    url: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header with the credential."""
        return {"Authorization": f"Bearer {self.credential}"}

    @contextmanager
    def connection(self, url: str | None = None) -> Iterator[httpx.Client]:
        """Open a client that stays connected, to the usual API process or another one."""
        with httpx.Client(
            base_url=url or self.url, headers=self.bearer, timeout=_TIMEOUT, trust_env=False, verify=NO_TLS
        ) as client:
            yield client

    def post(self, body: Body, *, path: str = "/api/ingest", headers: Mapping[str, str] = JSON) -> httpx.Response:
        """Submit on a new connection."""
        with self.connection() as client:
            return client.post(path, content=body, headers=headers)

    def post_to(self, url: str, body: Body, headers: Mapping[str, str]) -> httpx.Response:
        """Submit to another API process, on a new connection."""
        return replace(self, url=url).post(body, headers=headers)

    def head(self, length: int) -> bytes:
        """Return the headers of a submission whose body is sent in pieces, and after which the connection is closed."""
        return (
            f"POST /api/ingest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.credential}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def send(self, *items: dict[str, Any], stream: str = "agents") -> str:
        """Submit items, which must be accepted; return the request id."""
        return assert_accepted(self.post(batch(*items, stream=stream)), items=len(items))

    def connect_async(self, url: str | None = None, **options: Any) -> httpx.AsyncClient:
        """Return a client for an event loop."""
        return httpx.AsyncClient(
            base_url=url or self.url, headers=self.bearer, timeout=_TIMEOUT, trust_env=False, verify=NO_TLS, **options
        )


def item(item_id: str, **fields: Any) -> dict[str, Any]:
    """Return an item with these fields."""
    return {"id": item_id, "fields": fields}


def batch(*items: dict[str, Any], stream: str = "agents") -> bytes:
    """Return the body of a batch."""
    return json.dumps({"stream": stream, "items": items}, separators=(",", ":")).encode()


def get(url: str) -> httpx.Response:
    """Send a GET without a credential."""
    with httpx.Client(timeout=_TIMEOUT, trust_env=False, verify=NO_TLS) as client:
        return client.get(url)


def talk(url: str, *pieces: bytes, pause: float = 0.0) -> tuple[bytes, bytes]:
    """Send bytes with pauses between them; return the headers and the body of the answer when the server closes."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=_PATIENCE_SECONDS) as connection:
        for number, piece in enumerate(pieces):
            time.sleep(pause if number else 0)
            connection.sendall(piece)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def assert_accepted(answer: httpx.Response, *, items: int = 1) -> str:
    """Assert a 202 that counts all items; return the request id."""
    assert answer.status_code == 202, answer.text
    request_id = assert_well_formed(answer)
    assert answer.json() == {"status": "accepted", "requestId": request_id, "itemsReceived": items}
    return request_id


def assert_refused(answer: httpx.Response, status: int, code: str, path: str | None = None) -> dict[str, Any]:
    """Assert a refusal with this code and path; return the error of the answer."""
    assert answer.status_code == status, answer.text
    request_id = assert_well_formed(answer)
    document = answer.json()
    error: dict[str, Any] = document["error"]
    assert document == {"status": "error", "requestId": request_id, "error": error}
    assert (error["code"], error.get("path")) == (code, path), error
    first = {name: value for name, value in error.items() if name not in {"faults", "moreFaults"}}
    faults = error.get("faults", [first])
    assert (faults[0], isinstance(error.get("moreFaults"), bool)) == (first, "faults" in error)
    assert 1 <= len(faults) <= 20
    for fault in faults:
        assert {"code", "message"} <= fault.keys() <= {"code", "message", "path", "limit", "observed"}
        assert re.fullmatch(r"[^\n]+[.]", fault["message"]), fault
    return error


def assert_well_formed(answer: httpx.Response) -> str:
    """Assert what holds for every answer; return the request id."""
    assert answer.headers["Content-Type"] == "application/json"
    request_id: str = answer.json()["requestId"]
    assert answer.headers["X-Request-Id"] == request_id
    assert _REQUEST_ID.fullmatch(request_id)
    return request_id

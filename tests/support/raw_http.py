"""HTTP below a client library: any method and path as written, any declared length, pipelined requests."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.client import Connector

_PATIENCE_SECONDS = 60.0
#: Maximum number of pipelined requests; their answers fit into the buffers, so that neither side blocks.
_AT_ONCE = 200
_HEARTBEAT_ANSWER = re.compile(
    r'HTTP/1.1 (\d+) .*?^x-request-id: (\w+)\r\n.*?"requestId":"(\w+)"', re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Answer:
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class RawConnection:
    """A connection that stays open; if the server closes it, the next request opens another one."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        self._connection = HTTPConnection(address.hostname, address.port, timeout=_PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str | bytes] | None = None,
        declared: int | None = None,
    ) -> Answer:
        """Send a request; `declared` is a Content-Length other than that of the body."""
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            self._connection.putheader(name, value)
        if body or declared is not None:
            self._connection.putheader("Content-Length", str(len(body) if declared is None else declared))
        self._connection.endheaders(body)
        with self._connection.getresponse() as response:
            pairs = [(name.lower(), value) for name, value in response.getheaders()]
            assert len(dict(pairs)) == len(pairs), pairs
            answer = Answer(response.status, dict(pairs), response.read())
        if declared not in (None, len(body)):
            # The server would take what comes next for the declared body.
            self._connection.close()
        return answer


def begin(url: str, head: bytes) -> socket.socket:
    """Open a connection, and send the beginning of a request."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=_PATIENCE_SECONDS)
    connection.sendall(head)
    return connection


async def heartbeats(connector: Connector, url: str, count: int) -> list[tuple[str, str, str]]:
    """Send heartbeats on one connection, many of them before the first answer.

    Returns of each answer its status, and the request id in header and body.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = (
        f"POST /api/ingest/heartbeat HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {connector.credential}\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    received = bytearray()
    try:
        for sent in range(0, count, _AT_ONCE):
            group = min(_AT_ONCE, count - sent)
            writer.write(request * group)
            while group > 0:
                chunk = await reader.read(65_536)
                assert chunk, bytes(received[-1000:])
                received += chunk
                group -= chunk.count(b"}")
    finally:
        writer.close()
        await writer.wait_closed()
    return _HEARTBEAT_ANSWER.findall(received.decode())

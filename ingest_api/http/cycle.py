"""One request and its response on a connection, as an ASGI application sees it."""

from __future__ import annotations

import asyncio
from typing import Protocol
from urllib.parse import unquote

import httptools
from starlette.types import Message, Scope

from ingest_api.context import CLIENT_LEFT, RECEIVED_BODY
from ingest_api.errors import ApiError
from ingest_api.http.framing import RequestHead
from ingest_api.http.responses import CLOSE, CONTINUE, response
from ingest_api.http.writer import ConnectionWriter


class ConnectionState(Protocol):
    """What a cycle needs of its connection."""

    #: Whether the client can't get a response any more.
    is_lost: bool
    #: Tells whether the client reads what it is sent.
    writer: ConnectionWriter

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""

    def body_wanted(self) -> None:
        """Go on reading: the body at hand was taken."""

    def response_sent(self, cycle: Cycle) -> None:
        """Go on with the next request."""

    def client_left(self) -> bool:
        """Whether the client has closed its sending side, or left."""


def base_scope(transport: asyncio.BaseTransport, root_path: str) -> Scope:
    """Return what the scopes of all requests of a connection have in common."""
    client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "root_path": root_path,
        "client": tuple(client[:2]) if isinstance(client, (tuple, list)) else None,
        "server": tuple(server[:2]) if isinstance(server, (tuple, list)) else None,
        "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
    }


class Cycle:
    """One request and its response, which is a start and one body."""

    def __init__(
        self, head: RequestHead, connection: ConnectionState, default_headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.head = head
        self.keep_alive = head.keep_alive
        self.body = b""
        self.body_is_complete = head.body_length == 0
        #: What is wrong with the body's framing.
        self.body_error: ApiError | None = None
        #: Whether the body ended before its end.
        self.body_is_cut = False
        self.response_complete = False
        self._connection = connection
        self._default_headers = default_headers
        self._owes_continue = head.expects_continue
        self._waiter: asyncio.Future[None] | None = None
        self._start: Message | None = None

    def scope(self, base: Scope) -> Scope:
        """Return the ASGI scope of the request."""
        path, query = _split(self.head.target)
        return {
            **base,
            "http_version": self.head.version,
            "method": self.head.method,
            "path": unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": self.head.headers,
            "state": {},
            "extensions": {RECEIVED_BODY: self.received_body, CLIENT_LEFT: self._connection.client_left},
        }

    def received_body(self) -> bytes | None:
        """Return the whole body if it has arrived, None if it has to be waited for."""
        if not self.body_is_complete or self.body_error is not None or self._connection.is_lost:
            return None
        self._send_continue()
        body, self.body = self.body, b""
        return body

    async def receive(self) -> Message:
        """Wait for a part of the body. Raises ApiError if its framing is faulty."""
        self._send_continue()
        while self._has_nothing():
            self._connection.body_wanted()
            if self._has_nothing():
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        if self.body_error is not None:
            raise self.body_error
        if self._ends_early():
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": not self.body_is_complete}

    async def send(self, message: Message) -> None:
        """Send the response, once its body is known: one write."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._connection.writer.is_paused():
            await self._connection.writer.writable()
        if self._connection.is_lost or self._start is None:
            return
        if self._owes_continue:
            self.keep_alive = False  # the client may send the body or not: what comes next can't be told
        headers = (*self._default_headers, *self._start["headers"])
        if CLOSE in headers:
            self.keep_alive = False
        self.response_complete = True
        self._connection.write(response(self._start["status"], headers, message["body"], keep_alive=self.keep_alive))
        self._connection.response_sent(self)

    def wake(self) -> None:
        """Let `receive` look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _send_continue(self) -> None:
        if self._owes_continue and not self._connection.is_lost:
            self._owes_continue = False
            self._connection.write(CONTINUE)

    def _has_nothing(self) -> bool:
        return not (self.body or self.body_is_complete or self._ends_early())

    def _ends_early(self) -> bool:
        return self.body_error is not None or self.body_is_cut or self._connection.is_lost or self.response_complete


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request's target."""
    if not target.startswith(b"/"):
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError:
            return target, b""  # `*`, or CONNECT's: no route has such a path
        return url.path or b"/", url.query or b""
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query

"""Proxies in front of Postgres and Redis that can refuse connections, cut them, or drop what passes.

A test puts one between a process and an engine, so that the engine fails for this process alone.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

_CHUNK_BYTES = 65_536
#: Interval in seconds at which the listening thread checks whether the proxy was closed.
_LISTEN_SECONDS = 0.05
#: Password in the URL of a `PostgresProxy`. The server asks for none; a test checks that no process prints it.
SECRET = "not-to-be-printed"


class TcpProxy:
    """Relays TCP connections to a server's unix socket or, if it is a number, to a port of this machine.

    Use it as a context, at whose end it is closed.
    """

    def __init__(self, server: str | int, *, close_damaged: bool = False) -> None:
        self._server = server
        #: Whether `resume` closes the connections that lost bytes; if not, their peers must notice by themselves.
        self._close_damaged = close_damaged
        #: Requests that contain these bytes are dropped; b"" drops every request, None drops none.
        self.drops_requests_with: bytes | None = None
        #: Whether everything that the server sends is dropped.
        self.drops_replies = False
        self._closed = threading.Event()
        self._clients: set[socket.socket] = set()
        self._damaged: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.port = 0
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Accept connections, on the same port as before."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._closed.clear()
        self._start(self._listen, listener)

    def close(self) -> None:
        """End every connection, and refuse new ones."""
        self._closed.set()
        while self._threads:
            for client in list(self._clients):
                _shut_down(client)
            self._threads.pop().join()

    def hang(self) -> None:
        """Keep connections open and drop everything that passes, until `resume`."""
        self.drops_requests_with, self.drops_replies = b"", True

    def resume(self) -> None:
        """Relay everything again."""
        self.drops_requests_with, self.drops_replies = None, False
        if self._close_damaged:
            for client in list(self._damaged):
                _shut_down(client)

    def _start(self, work: Any, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _listen(self, listener: socket.socket) -> None:
        with listener:
            while not self._closed.is_set():
                if select.select([listener], [], [], _LISTEN_SECONDS)[0]:
                    client = listener.accept()[0]
                    self._clients.add(client)
                    self._start(self._relay, client)

    def _relay(self, client: socket.socket) -> None:
        family = socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET
        address = self._server if isinstance(self._server, str) else ("127.0.0.1", self._server)
        with client, socket.socket(family) as server, contextlib.suppress(OSError):
            server.connect(address)
            peer = {client: server, server: client}
            while not self._closed.is_set():
                for source in select.select([client, server], [], [])[0]:
                    chunk = source.recv(_CHUNK_BYTES)
                    if not chunk:
                        self._clients.discard(client)
                        self._damaged.discard(client)
                        return
                    if self._is_dropped(chunk, is_request=source is client):
                        self._damaged.add(client)
                    else:
                        peer[source].sendall(chunk)

    def _is_dropped(self, chunk: bytes, *, is_request: bool) -> bool:
        if is_request:
            return self.drops_requests_with is not None and self.drops_requests_with in chunk
        return self.drops_replies


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has just ended
        connection.shutdown(socket.SHUT_RDWR)


class PostgresProxy(TcpProxy):
    """A proxy in front of the Postgres at `database_url`."""

    def __init__(self, database_url: str, *, close_damaged: bool = False) -> None:
        parts = urlsplit(database_url)
        options = parse_qs(parts.query)
        super().__init__(f"{options['host'][0]}/.s.PGSQL.{options['port'][0]}", close_damaged=close_damaged)
        self.url = f"postgresql://{parts.username}:{SECRET}@127.0.0.1:{self.port}{parts.path}"


class RedisProxy(TcpProxy):
    """A proxy in front of the Redis at `redis_url`."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(unquote(urlsplit(redis_url).path))
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def move(self, redis_url: str) -> None:
        """Lead new connections to another Redis; those that are open stay where they are."""
        self._server = unquote(urlsplit(redis_url).path)

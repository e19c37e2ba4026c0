"""A gate in front of Postgres: shut, the database is away for whoever connects through it, and for nobody else.

It can also swallow what passes, with every connection left open: the network that nobody is told of.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

_CHUNK_BYTES = 65_536
_LOOK_SECONDS = 0.05
SECRET = "not-to-be-printed"


class Gate:
    """Passes connections on to the server at `database_url`, a unix socket."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        asked = parse_qs(parts.query)
        self._server = f"{asked['host'][0]}/.s.PGSQL.{asked['port'][0]}"
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        #: The server asks for no password, so this one is only there to be kept secret.
        self.url = f"postgresql://{parts.username}:{SECRET}@127.0.0.1:{self.port}{parts.path}"
        #: While this is set, what comes from either side is read and thrown away.
        self.swallows = threading.Event()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.open(self._listener)

    def open(self, listener: socket.socket | None = None) -> None:
        """Lets through whoever comes."""
        self._stop = threading.Event()
        self._start(self._accept, listener or self._listen(self.port), self._stop)

    def shut(self) -> None:
        """Ends every connection that came through, and refuses new ones."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port), backlog=64)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type] # a method
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, stop: threading.Event) -> None:
        with listener:
            while not stop.is_set():
                if select.select([listener], [], [], _LOOK_SECONDS)[0]:
                    self._start(self._pass, listener.accept()[0], stop)

    def _pass(self, client: socket.socket, stop: threading.Event) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._server)
            other = {client: server, server: client}
            while not stop.is_set():
                for ready in select.select([client, server], [], [], _LOOK_SECONDS)[0]:
                    chunk = ready.recv(_CHUNK_BYTES)
                    if not chunk:
                        return
                    if not self.swallows.is_set():
                        other[ready].sendall(chunk)


@contextlib.contextmanager
def gate(database_url: str) -> Iterator[Gate]:
    """A gate that is open, until the block ends."""
    made = Gate(database_url)
    try:
        yield made
    finally:
        made.shut()

"""What stands between a process and Redis: it can swallow replies, or what is asked, and it can be cut."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

_CHUNK_BYTES = 65_536
_LOOK_SECONDS = 0.02


class Wire:
    """Passes connections on to the server at `redis_url`, a unix socket."""

    def __init__(self, redis_url: str) -> None:
        self._server = unquote(urlsplit(redis_url).path)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        #: While this is set, what Redis says is read and thrown away.
        self.swallows = threading.Event()
        #: What a process says is thrown away where it contains this; b"" is in everything, None in nothing.
        self.loses: bytes | None = None
        self._cut = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Ends every connection, and refuses new ones from now on."""
        self._cut.set()
        while self._threads:
            self._threads.pop().join()

    def _accept(self) -> None:
        with self._listener:
            while not self._cut.is_set():
                if select.select([self._listener], [], [], _LOOK_SECONDS)[0]:
                    thread = threading.Thread(target=self._pass, args=(self._listener.accept()[0],), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._server)
            other = {client: server, server: client}
            while not self._cut.is_set():
                for ready in select.select([client, server], [], [], _LOOK_SECONDS)[0]:
                    chunk = ready.recv(_CHUNK_BYTES)
                    if not chunk:
                        return
                    if not self._is_lost(chunk) if ready is client else not self.swallows.is_set():
                        other[ready].sendall(chunk)

    def _is_lost(self, chunk: bytes) -> bool:
        return self.loses is not None and self.loses in chunk


@contextlib.contextmanager
def wire(redis_url: str) -> Iterator[Wire]:
    """A wire that passes everything on, until the block ends."""
    made = Wire(redis_url)
    try:
        yield made
    finally:
        made.cut()

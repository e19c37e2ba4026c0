"""Valkey as our child: on a unix socket only, and every write is on disk before it is answered.

Its death signal is SIGKILL: nothing that it confirmed can be lost, and a script that hangs can't keep it alive.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from operations.local.binaries import find_valkey_server
from operations.local.child import Child, spawn
from operations.local.engine import Engine
from operations.local.sockets import socket_folder
from shared.process.settings import SecretUrl

_SOCKET: Final = "valkey.sock"
_PING_SECONDS: Final = 1.0
_DURABLE: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    # An entry that was accepted must not make room for another.
    "maxmemory-policy": "noeviction",
    "maxmemory": "1gb",
    # The append-only file holds everything; snapshots would only cost a second copy.
    "save": "",
}


class Valkey(Engine):
    """The queue, the credentials' copy, the buckets."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> SecretUrl:
        """As redis-py takes it."""
        return SecretUrl(f"unix://{quote(str(self.sockets / _SOCKET))}")

    def prepare(self, lock: int) -> Iterator[None]:
        """Nothing to wait for; `lock` keeps every other server away."""
        del lock
        self.sockets = socket_folder(self.folder, _SOCKET)
        yield from ()

    def spawn(self, lock: int) -> Child:
        """Its settings are on its command line: no file can say otherwise."""
        options = {
            "port": "0",
            "unixsocket": str(self.sockets / _SOCKET),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            **_DURABLE,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with self.log.open() as log:
            return spawn(
                [find_valkey_server(), *words],
                death_signal=signal.SIGKILL,
                environ={"PATH": os.defpath, "LC_ALL": "C"},
                output=log,
                keep_fds=[lock],
                umask=0o077,
                guard=self._guard,
            )

    def answers(self) -> bool:
        """PING gets an error while the file is still being read."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PING_SECONDS)
            connection.connect(str(self.sockets / _SOCKET))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return False

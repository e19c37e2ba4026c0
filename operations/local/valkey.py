"""Valkey as a child process: on a unix socket only, with every write on disk before its reply.

Its death signal is SIGKILL: no confirmed write can be lost, and a script that hangs can't keep it alive.
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
from shared.process.setting_values import SecretUrl

_SOCKET: Final = "valkey.sock"
_PING_SECONDS: Final = 1.0
_DURABLE: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    # An accepted entry must never be evicted.
    "maxmemory-policy": "noeviction",
    "maxmemory": "1gb",
    # The append-only file holds everything; a snapshot would be a second copy.
    "save": "",
}


class Valkey(Engine):
    """The server of lanes, rate limits and the copy of credentials."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> SecretUrl:
        """Its address, for redis-py."""
        return SecretUrl(f"unix://{quote(str(self.sockets / _SOCKET))}")

    def prepare(self, lock: int) -> Iterator[None]:
        """Choose the socket's folder; there is nothing to wait for."""
        del lock
        self.sockets = socket_folder(self.folder, _SOCKET)
        yield from ()

    def spawn(self, lock: int) -> Child:
        """Start the server with its settings on the command line, where no file can override them."""
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
        """Return whether PING is answered; while Valkey reads its file, it replies with an error."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PING_SECONDS)
            connection.connect(str(self.sockets / _SOCKET))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return False

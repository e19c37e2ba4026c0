"""Poolers in front of Postgres: a real PgBouncer, and one that always gives the next transaction another session."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.processes import Process, free_port, wait_until
from tests.support.tcp_proxy import PostgresProxy

_POOLED = {"pool_mode": "transaction", "default_pool_size": "1"}
_LENGTH = struct.Struct(">I")
#: What a session says once it can take the next transaction.
_IDLE = b"Z\x00\x00\x00\x05I"
_PROTOCOL_3 = 196_608
_ENCRYPTION_REQUEST_BYTES = 8
_HEADER_BYTES = 5
_CHUNK_BYTES = 65_536
#: Messages that the server answers with "ready": Sync, Query.
_ASKS_FOR_READY = (b"S", b"Q")


@contextmanager
def pgbouncer(database_url: str, folder: Path, **settings: str) -> Iterator[str]:
    """Run PgBouncer in transaction mode, with one session for all clients; yield the address.

    Skip the test if this machine has none.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if not program:
        pytest.skip("pgbouncer is not installed (on Debian: apt-get install pgbouncer)")
    parts, port = urlsplit(database_url), free_port()
    folder.mkdir()
    config = folder / "pgbouncer.ini"
    # It refuses to run as root, and no other user may open the socket of a Postgres that root's tests have started.
    with PostgresProxy(database_url) as postgres:
        config.write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port} user={parts.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            + "".join(f"{name} = {value}\n" for name, value in {**_POOLED, **settings}.items())
        )
        words: list[str | Path] = [program, *(["-u", "nobody"] if os.getuid() == 0 else []), config]
        with Process(words, folder=folder, name="pgbouncer") as process:
            wait_until("PgBouncer listens", lambda: _listens(port) or not process.runs)
            assert process.runs, process.printed
            yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class SwappingPooler(PostgresProxy):
    """Gives each client two sessions, which take turns: the next transaction has another one.

    It resets nothing: what a client leaves in a session is there two transactions later.
    """

    #: Number of transactions after which the session was swapped.
    swapped = 0

    def _relay(self, client: socket.socket) -> None:
        with client, contextlib.ExitStack() as sessions, contextlib.suppress(OSError):
            start = _read_start(client)
            one, other = (sessions.enter_context(self._session(start)) for _ in range(2))
            if _LENGTH.unpack_from(start, 4)[0] != _PROTOCOL_3:
                return  # the request to cancel a query
            client.sendall(_greeting(one))
            _greeting(other)
            while not self._closed.is_set() and _relay_transaction(client, one):
                one, other, self.swapped = other, one, self.swapped + 1
        self._clients.discard(client)

    def _session(self, start: bytes) -> socket.socket:
        session = socket.socket(socket.AF_UNIX)
        session.connect(str(self._server))
        session.sendall(start)
        return session


class SwitchedPooler(SwappingPooler):
    """Swaps sessions while it is told to; relays as a plain proxy otherwise."""

    _swaps = False

    def swap_sessions(self, *, on: bool) -> None:
        """Start or stop swapping; connections begin anew."""
        self.close()
        self._swaps = on
        self.open()

    def _relay(self, client: socket.socket) -> None:
        relay = super()._relay if self._swaps else super(SwappingPooler, self)._relay
        relay(client)


class _Messages:
    """Finds the messages in a stream."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the messages that are complete with this chunk."""
        self._rest += chunk
        while len(self._rest) >= _HEADER_BYTES and len(self._rest) > _LENGTH.unpack_from(self._rest, 1)[0]:
            end = 1 + _LENGTH.unpack_from(self._rest, 1)[0]
            yield self._rest[:end]
            self._rest = self._rest[end:]


def _read_start(client: socket.socket) -> bytes:
    """Return a client's first message; refuse encryption before it."""
    while True:
        start = client.recv(_CHUNK_BYTES)
        if len(start) != _ENCRYPTION_REQUEST_BYTES:
            return start
        client.sendall(b"N")


def _greeting(session: socket.socket) -> bytes:
    """Return what the server says until the session can be used, or refuses."""
    said = b""
    while not said.endswith(_IDLE) and (chunk := session.recv(_CHUNK_BYTES)):
        said += chunk
    return said


def _relay_transaction(client: socket.socket, session: socket.socket) -> bool:
    """Relay until the session is idle again; return False if the client or the session has ended."""
    asked, answered, owed = _Messages(), _Messages(), 0
    while True:
        for source in select.select([client, session], [], [])[0]:
            chunk = source.recv(_CHUNK_BYTES)
            if not chunk:
                return False
            if source is client:
                owed += sum(message[:1] in _ASKS_FOR_READY for message in asked.of(chunk))
                session.sendall(chunk)
            else:
                said = list(answered.of(chunk))
                owed -= sum(message[:1] == _IDLE[:1] for message in said)
                client.sendall(chunk)
                if not owed and said[-1:] == [_IDLE]:
                    return True

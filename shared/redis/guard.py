"""Connections that know which server they lead to, and the one decision that a connection is to be given up.

After a failover behind an address that follows the primary, new connections reach the new primary, while old ones stay
with a server that is a replica now and would answer forever. So each new connection asks for the server's role, and the
first reply that only a replica or a primary without its replicas gives makes the process leave all its connections to
that address: each is opened again before its next use. An old primary that is cut off does not know that it was
replaced, so a connection is also opened again after two seconds, and one that then leads to another server makes the
process leave all others. This holds for every client made in `connections.py`, and so for RQ's. A script that only
reads carries `#!lua`, without `no-writes`: then a replica refuses it too, at no cost.

If sentinels watch the server, they are asked for the primary before each opening.

A connection also knows which server it leads to (`server`), to be compared with a lane's ready marker: a copy of
another server's data proves nothing about credentials (`shared/credentials/sync.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

#: Errors of a server that can't be reached or does not answer.
UNREACHABLE: Final = (RedisConnectionError, RedisTimeoutError)
#: Life of a connection in seconds, until it is opened again to follow the address.
LIFE_SECONDS: Final = 2.0
#: By these replies a server shows that another one may be the primary now: it is a replica or waits for its primary;
#: and, by their first word, that it became a replica during a blocking call, or is a primary whose replicas are gone.
_REPLICA: Final = (ReadOnlyError, MasterDownError)
_NOT_PRIMARY: Final = ("UNBLOCKED", "NOREPLICAS")
#: By these, that another node of a cluster has the key, now or in a moment. MOVED is a kind of ASK for redis-py.
_NOT_HERE: Final = (AskError, TryAgainError, ClusterDownError)
_INFO: Final = ("INFO", "server", "replication")

#: Returns host and port of the primary; raises redis.ConnectionError if none is known.
Locate = Callable[[], tuple[str, int]]


class NotHereError(ReadOnlyError):
    """Another node of the cluster has the key, or will have it in a moment; nothing was executed."""


class Epoch:
    """Counts how often this process has given up its connections to an address; older ones are opened again."""

    def __init__(self) -> None:
        self.count = 0
        #: The server that the last new connection led to.
        self.server = ""

    def opened(self, server: str) -> int:
        """Return the count for a new connection; if it leads to another server, all others are given up."""
        if server != self.server:
            self.server, self.count = server, self.count + 1
        return self.count

    def require(self) -> None:
        """Raise redis.ConnectionError if the server should not be asked now."""

    def failed(self, error: RedisError) -> None:
        """Note that the server did not answer, or that it is not the one to ask."""


@lru_cache(maxsize=8)
def epoch_of(url: str) -> Epoch:
    """Return the epoch that all clients of an address share: if one is led to a new primary, the others follow."""
    del url
    return Epoch()


class _Guard:
    """The common part of both kinds of connection."""

    #: Which server this leads to; changes if it is restarted or promoted.
    server = ""

    def __init__(self, *, epoch: Epoch, locate: Locate | None, **options: Any) -> None:
        super().__init__(**options)
        self._epoch = epoch
        self._locate = locate
        self._opened_in = epoch.count
        self._expires = 0.0

    def give_up(self) -> None:
        """Leave this connection, and all others to the same address, before their next use."""
        self._epoch.count += 1

    def greeted(self, reply: bytes) -> None:
        """Note which server this connection leads to. Raises ReadOnlyError if it is a replica."""
        try:
            self.server = _server_of(reply)
        except ReadOnlyError as error:
            self.give_up()
            self._epoch.failed(error)
            raise
        self._opened_in = self._epoch.opened(self.server)

    def _must_reopen(self) -> bool:
        now = time.monotonic()
        if self._opened_in == self._epoch.count and now < self._expires:
            return False
        self._opened_in, self._expires = self._epoch.count, now + LIFE_SECONDS
        return True

    def _translated(self, error: RedisError) -> RedisError:
        """Return the error to raise, and give the connections up if this server should not be asked again."""
        if isinstance(error, _NOT_HERE) and not isinstance(error, MasterDownError):
            self._epoch.failed(error)
            return NotHereError(f"{type(error).__name__} {error}")
        if isinstance(error, _REPLICA) or str(error).startswith(_NOT_PRIMARY):
            error = ReadOnlyError(str(error))
        if isinstance(error, ReadOnlyError | BusyLoadingError):
            self.give_up()
            self._epoch.failed(error)
        return error


class BlockingGuard(_Guard):
    """Mixed into redis-py's connections for threads."""

    def connect(self) -> None:
        """Open the connection, or open it again if it is too old or was given up."""
        self._epoch.require()
        if self._must_reopen():
            self.disconnect()  # type: ignore[attr-defined] # of redis-py's class, which comes next
        try:
            if self._locate and not self.is_connected:  # type: ignore[attr-defined]
                self.host, self.port = self._locate()
            super().connect()  # type: ignore[misc] # untyped in redis-py
        except UNREACHABLE as error:
            self._epoch.failed(error)
            raise

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply."""
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc] # untyped in redis-py
        except (ResponseError, BusyLoadingError) as error:
            raise self._translated(error) from None
        except UNREACHABLE as error:
            self._epoch.failed(error)
            raise


class NonblockingGuard(_Guard):
    """Mixed into redis-py's connections for the event loop."""

    async def connect(self) -> None:
        """Open the connection, or open it again if it is too old or was given up."""
        self._epoch.require()
        if self._must_reopen():
            await self.disconnect()  # type: ignore[attr-defined] # of redis-py's class, which comes next
        try:
            if self._locate and not self.is_connected:  # type: ignore[attr-defined]
                self.host, self.port = await asyncio.to_thread(self._locate)
            await super().connect()  # type: ignore[misc] # untyped in redis-py
        except UNREACHABLE as error:
            self._epoch.failed(error)
            raise

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one reply."""
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc] # untyped in redis-py
        except (ResponseError, BusyLoadingError) as error:
            raise self._translated(error) from None
        except UNREACHABLE as error:
            self._epoch.failed(error)
            raise


def greet(connection: Any) -> None:
    """Set up a new connection, and find out which server it leads to. Raises ReadOnlyError for a replica."""
    connection.on_connect()
    connection.greeted(ask_role(connection))


def ask_role(connection: Any) -> bytes:
    """Return what a server tells of itself; nothing if it does not let that be read."""
    connection.send_command(*_INFO)
    try:
        return bytes(connection.read_response())
    except ResponseError as error:
        return _nothing_unless_replica(error)


async def greet_async(connection: Any) -> None:
    """Do the same on the event loop."""
    await connection.on_connect()
    await connection.send_command(*_INFO)
    try:
        reply = await connection.read_response()
    except ResponseError as error:
        reply = _nothing_unless_replica(error)
    connection.greeted(reply)


def _nothing_unless_replica(error: ResponseError) -> bytes:
    """Accept that a service does not let INFO be read."""
    if isinstance(error, ReadOnlyError):
        raise error
    return b""


def _server_of(reply: bytes) -> str:
    """Return which server sent this reply to INFO. Raises ReadOnlyError if it is a replica.

    Its run id says which process it is. The id and the offset of the history that it took over when it was last
    promoted change if it was demoted meanwhile, and promoted again with another server's data.
    """
    values = dict(line.split(":", 1) for line in reply.decode("utf-8", "replace").splitlines() if ":" in line)
    if values.get("role") == "slave":
        raise ReadOnlyError("Redis is a replica, which takes no writes.")
    return ":".join(values.get(name, "") for name in ("run_id", "master_replid2", "second_repl_offset"))

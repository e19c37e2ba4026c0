"""Connections to Redis or Valkey, and the one decision that a connection is to be given up.

Nothing is retried (decision 5), and every call has a timeout.

After a failover behind an address that follows the primary, new connections reach the new primary, while old ones stay
with a server that is a replica now and would answer forever. So each new connection asks for the server's role, and the
first reply that only a replica or a primary without its replicas gives makes the process leave all its connections to
that address: each is opened again before its next use. An old primary that is cut off does not know that it was
replaced, so a connection is also opened again after two seconds, and one that then leads to another server makes the
process leave all others. This holds for every client made here, and so for RQ's. A script that only reads carries
`#!lua`, without `no-writes`: then a replica refuses it too, at no cost.

A connection also knows which server it leads to (`server`), to be compared with a lane's ready marker: a copy of
another server's data proves nothing about credentials (`shared/credentials/sync.py`).
"""

from __future__ import annotations

import contextlib
import time
from functools import lru_cache
from typing import Any, Final

import redis.asyncio
from redis import Redis
from redis import connection as blocking
from redis.asyncio import connection as nonblocking
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

#: Errors of a Redis that is unreachable, hung, full or a replica: the same call may succeed later.
UNAVAILABLE: Final = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)

_TIMEOUT_SECONDS: Final = 5.0
#: Life of a connection in seconds, until it is opened again to follow the address.
LIFE_SECONDS: Final = 2.0
_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": _TIMEOUT_SECONDS,
    "socket_connect_timeout": _TIMEOUT_SECONDS,
    "health_check_interval": 0,
}
#: By these replies a server shows that another one may be the primary now: it is a replica or waits for its primary;
#: and, by their first word, that it became a replica during a blocking call, or is a primary whose replicas are gone.
_REPLICA: Final = (ReadOnlyError, MasterDownError)
_NOT_PRIMARY: Final = ("UNBLOCKED", "NOREPLICAS")
_INFO: Final = ("INFO", "server", "replication")


class _Epoch:
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


@lru_cache(maxsize=8)
def _epoch_of(url: str) -> _Epoch:
    """Return the epoch that all clients of an address share: where one is led to a new primary, the others follow."""
    del url
    return _Epoch()


class _Guard:
    """The common part of both kinds of connection."""

    #: Which server this leads to; changes if it is restarted or promoted.
    server = ""

    def __init__(self, *, epoch: _Epoch, **options: Any) -> None:
        super().__init__(**options)
        self._epoch = epoch
        self._opened_in = epoch.count
        self._expires = 0.0

    def give_up(self) -> None:
        """Leave this connection, and all others to the same address, before their next use."""
        self._epoch.count += 1

    def greeted(self, reply: bytes) -> None:
        """Note which server this connection leads to. Raises ReadOnlyError if it is a replica."""
        try:
            self.server = _server_of(reply)
        except ReadOnlyError:
            self.give_up()
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
        not_primary = isinstance(error, _REPLICA) or str(error).startswith(_NOT_PRIMARY)
        if not_primary or isinstance(error, BusyLoadingError):
            self.give_up()
        return ReadOnlyError(str(error)) if not_primary else error


class _BlockingGuard(_Guard):
    def connect(self) -> None:
        if self._must_reopen():
            self.disconnect()  # type: ignore[attr-defined] # of redis-py's class, which comes next
        super().connect()  # type: ignore[misc] # untyped in redis-py

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc] # untyped in redis-py
        except (ResponseError, BusyLoadingError) as error:
            raise self._translated(error) from None


class _NonblockingGuard(_Guard):
    async def connect(self) -> None:
        if self._must_reopen():
            await self.disconnect()  # type: ignore[attr-defined] # of redis-py's class, which comes next
        await super().connect()  # type: ignore[misc] # untyped in redis-py

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc] # untyped in redis-py
        except (ResponseError, BusyLoadingError) as error:
            raise self._translated(error) from None


def connect_redis(url: str, *, connections: int | None = None) -> Redis:
    """Return a client for threads and workers. A call that finds all `connections` busy waits for one."""
    address = blocking.parse_url(url)  # type: ignore[no-untyped-call] # untyped in redis-py
    options = _guarded(url, address, blocking.Connection, _BlockingGuard, _greet) | {"retry": Retry(NoBackoff(), 0)}
    if connections is None:
        return Redis.from_pool(blocking.ConnectionPool(**options))
    options |= {"max_connections": connections, "timeout": _TIMEOUT_SECONDS}
    return Redis.from_pool(blocking.BlockingConnectionPool(**options))  # type: ignore[no-untyped-call] # untyped in redis-py


def connect_redis_async(url: str, *, connections: int) -> redis.asyncio.Redis:
    """Return a client for the event loop. A call that finds all its connections busy waits for one."""
    address = nonblocking.parse_url(url)
    options = _guarded(url, address, nonblocking.Connection, _NonblockingGuard, _greet_async)
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    options |= {"retry": retry, "max_connections": connections, "timeout": _TIMEOUT_SECONDS}
    return redis.asyncio.Redis.from_pool(nonblocking.BlockingConnectionPool(**options))


def reopen(client: Redis) -> None:
    """Leave all connections of a client, and all others to the same address, before their next use."""
    client.connection_pool.connection_kwargs["epoch"].count += 1


def wait_until_others_follow(client: Redis) -> None:
    """Wait until no process uses a connection that is older than now, if another server may be at its other end.

    A server that has no replicas, and was none for as long as a connection lives, has not replaced another one.
    """
    facts: dict[str, Any] = {}
    with contextlib.suppress(ResponseError):  # a service that does not let it be read
        facts = client.info("replication") | client.info("server")
    is_alone = facts.get("connected_slaves") == 0 and not str(facts.get("master_replid2", "")).strip("0")
    if not (is_alone and facts.get("uptime_in_seconds", 0) > LIFE_SECONDS):
        time.sleep(LIFE_SECONDS)


def is_wrong_type(error: Exception) -> bool:
    """Return True if a key has a type that no process of ours gives it."""
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")


def server_of(client: Redis) -> str:
    """Return which server a client leads to. Raises one of UNAVAILABLE, also for a replica."""
    connection: Any = client.connection or client.connection_pool.get_connection()
    try:
        connection.greeted(_ask(connection))
        return str(connection.server)
    finally:
        if connection is not client.connection:
            client.connection_pool.release(connection)


def _guarded(url: str, address: Any, default: type, guard: type, greet: Any) -> dict[str, Any]:
    """Return the options of a pool of guarded connections to an address; what its URL sets wins over our options."""
    kind = _kind(guard, address.get("connection_class", default))
    own = {"connection_class": kind, "epoch": _epoch_of(url), "redis_connect_func": greet}
    return {**_OPTIONS, **address, **own}


@lru_cache
def _kind(guard: type, base: type) -> type:
    return type(base.__name__, (guard, base), {})


def _greet(connection: Any) -> None:
    connection.on_connect()
    connection.greeted(_ask(connection))


def _ask(connection: Any) -> bytes:
    connection.send_command(*_INFO)
    try:
        return bytes(connection.read_response())
    except ResponseError as error:
        return _nothing_unless_replica(error)


async def _greet_async(connection: Any) -> None:
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

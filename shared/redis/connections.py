"""Clients of Redis or Valkey, for every shape of address. All connections are made here.

Nothing is retried (decision 5), every call has a timeout, and `guard.py` decides when a connection is to be given up.
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
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.retry import Retry

from shared.redis.addresses import Address, read_address
from shared.redis.guard import (
    LIFE_SECONDS,
    UNREACHABLE,
    BlockingGuard,
    Locate,
    NonblockingGuard,
    ask_role,
    epoch_of,
    greet,
    greet_async,
)
from shared.redis.sentinel import Sentinels

#: Errors of a Redis that is unreachable, hung, full or a replica: the same call may succeed later.
UNAVAILABLE: Final = (*UNREACHABLE, OutOfMemoryError, ReadOnlyError)

_TIMEOUT_SECONDS: Final = 5.0
_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": _TIMEOUT_SECONDS,
    "socket_connect_timeout": _TIMEOUT_SECONDS,
    "health_check_interval": 0,
}


def connect_redis(url: str, *, connections: int | None = None) -> Redis:
    """Return a client for threads and workers. A call that finds all `connections` busy waits for one."""
    address = read_address(url)
    options = _options(url, address, blocking, BlockingGuard)
    options |= {"redis_connect_func": greet, "retry": Retry(NoBackoff(), 0)}
    if connections is None:
        return Redis.from_pool(blocking.ConnectionPool(**options))
    options |= {"max_connections": connections, "timeout": _TIMEOUT_SECONDS}
    return Redis.from_pool(blocking.BlockingConnectionPool(**options))  # type: ignore[no-untyped-call] # untyped in redis-py


def connect_redis_async(url: str, *, connections: int) -> redis.asyncio.Redis:
    """Return a client for the event loop. A call that finds all its connections busy waits for one."""
    address = read_address(url)
    options = _options(url, address, nonblocking, NonblockingGuard)
    options |= {"redis_connect_func": greet_async, "retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    options |= {"max_connections": connections, "timeout": _TIMEOUT_SECONDS}
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
        connection.greeted(ask_role(connection))
        return str(connection.server)
    finally:
        if connection is not client.connection:
            client.connection_pool.release(connection)


def _options(url: str, address: Address, module: Any, guard: type) -> dict[str, Any]:
    """Return the options of a pool of guarded connections to an address; what its URL sets wins over our options."""
    transport = address.options.get("connection_class", blocking.Connection)
    kind = _kind(guard, getattr(module, transport.__name__))
    own = {"connection_class": kind, "epoch": epoch_of(url), "locate": _locate(url) if address.service else None}
    return {**_OPTIONS, **address.options, **own}


@lru_cache
def _kind(guard: type, base: type) -> type:
    return type(base.__name__, (guard, base), {})


@lru_cache(maxsize=8)
def _locate(url: str) -> Locate:
    """Return what asks the sentinels of an address, which all its clients share."""
    return Sentinels(read_address(url)).primary

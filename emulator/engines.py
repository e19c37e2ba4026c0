"""A Redis in memory that runs the real scripts, and clients to it."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, Final

import redis.asyncio
from fakeredis import FakeAsyncRedisConnection, FakeRedisConnection, FakeServer
from redis import Redis
from redis.connection import ConnectionPool

from shared.redis import scripts

_VERSION: Final = (7, 4)
#: The flags of a script, which fakeredis can't read.
_FLAGS: Final = re.compile(rb"^#!lua.*")


class _Guard:
    """What the clients of `shared/redis/connections.py` have in addition: the server never changes."""

    server = "emulator"

    def __init__(self, *, epoch: SimpleNamespace, **options: Any) -> None:
        super().__init__(**options)
        del epoch

    def greeted(self, reply: bytes) -> None:
        """Accept the server."""


class _Connection(_Guard, FakeRedisConnection):  # type: ignore[misc] # fakeredis overrides with other types
    pass


class _AsyncConnection(_Guard, FakeAsyncRedisConnection):  # type: ignore[misc] # fakeredis overrides with other types
    pass


def start_redis() -> FakeServer:
    """Return a server that knows the scripts, by the digests under which the API calls them."""
    server = FakeServer(version=_VERSION)
    for name in scripts.NAMES:
        server.script_cache[scripts.digest(name).encode()] = _FLAGS.sub(b"", scripts.source(name).encode())
    return server


def connect(server: FakeServer) -> Redis:
    """Return a client for threads."""
    return Redis.from_pool(ConnectionPool(connection_class=_Connection, **_options(server)))


def connect_async(server: FakeServer) -> redis.asyncio.Redis:
    """Return a client for the event loop, with one connection."""
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=_AsyncConnection, max_connections=1, timeout=5.0, **_options(server)
    )
    return redis.asyncio.Redis.from_pool(pool)


def _options(server: FakeServer) -> dict[str, Any]:
    # With protocol 3, fakeredis gives scripts replies in the form that Redis gives clients alone.
    return {"server": server, "version": _VERSION, "protocol": 2, "epoch": SimpleNamespace(count=0)}

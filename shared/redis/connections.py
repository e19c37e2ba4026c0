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
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from shared.redis.addresses import Address, read_address
from shared.redis.cluster import AsyncCluster, Cluster, Nodes
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
from shared.redis.topology import Host, NodeEpoch, Topology

#: Errors of a Redis that is unreachable, hung, full or a replica: the same call may succeed later.
UNAVAILABLE: Final = (*UNREACHABLE, OutOfMemoryError, ReadOnlyError)

_TIMEOUT_SECONDS: Final = 5.0
#: Timeout of a node of a cluster that is asked for the map, in seconds; then the next one is asked.
_MAP_SECONDS: Final = 1.0
_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": _TIMEOUT_SECONDS,
    "socket_connect_timeout": _TIMEOUT_SECONDS,
    "health_check_interval": 0,
}


def connect_redis(url: str, *, connections: int | None = None) -> Redis:
    """Return a client for threads and workers. A call that finds all `connections` to a server busy waits for one."""
    address = read_address(url)
    if address.is_cluster:
        return Cluster(Nodes(_topology(url), lambda host: _blocking(_node_options(url, address, host), connections)))
    return _blocking(_options(url, address), connections)


def connect_redis_async(url: str, *, connections: int) -> redis.asyncio.Redis:
    """Return a client for the event loop. A call that finds all its connections to a server busy waits for one."""
    address = read_address(url)
    if address.is_cluster:
        return AsyncCluster(
            Nodes(_topology(url), lambda host: _nonblocking(_node_options(url, address, host), connections))
        )
    return _nonblocking(_options(url, address), connections)


def require_readable(url: str) -> None:
    """Raise ValueError, TypeError or RedisError if redis-py can't read an address."""
    address = read_address(url)
    host, port = address.hosts[0] if address.hosts else ("", 0)
    options = address.options | ({"host": host, "port": port} if address.hosts else {})
    blocking.ConnectionPool(**options).make_connection()


def reopen(client: Redis) -> None:
    """Leave all connections of a client, and all others to the same address, before their next use."""
    if not isinstance(client, Cluster):
        client.connection_pool.connection_kwargs["epoch"].count += 1
        return
    topology = client.nodes.topology
    topology.is_stale = True
    with contextlib.suppress(RedisError):  # no node answers: none has a connection that works
        topology.refresh()
        for host in topology.primaries():
            reopen(client.nodes.at(host))


def wait_until_others_follow(client: Redis) -> None:
    """Wait until no process uses a connection that is older than now, if another server may be at its other end.

    A server that has no replicas, and was none for as long as a connection lives, has not replaced another one. Nodes
    of a cluster are not asked: they usually have replicas.
    """
    facts: dict[str, Any] = {}
    if not isinstance(client, Cluster):
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


def _blocking(options: dict[str, Any], connections: int | None) -> Redis:
    options = _guarded(options, blocking, BlockingGuard, greet, Retry(NoBackoff(), 0))
    if connections is None:
        return Redis.from_pool(blocking.ConnectionPool(**options))
    options |= {"max_connections": connections, "timeout": _TIMEOUT_SECONDS}
    return Redis.from_pool(blocking.BlockingConnectionPool(**options))  # type: ignore[no-untyped-call] # untyped in redis-py


def _nonblocking(options: dict[str, Any], connections: int) -> redis.asyncio.Redis:
    options = _guarded(options, nonblocking, NonblockingGuard, greet_async, redis.asyncio.retry.Retry(NoBackoff(), 0))
    options |= {"max_connections": connections, "timeout": _TIMEOUT_SECONDS}
    return redis.asyncio.Redis.from_pool(nonblocking.BlockingConnectionPool(**options))


def _guarded(options: dict[str, Any], module: Any, guard: type, greet: Any, retry: Any) -> dict[str, Any]:
    """Return the options of a pool of guarded connections; what the URL sets wins over our options."""
    transport = options.get("connection_class", blocking.Connection)
    own = {"connection_class": _kind(guard, getattr(module, transport.__name__)), "redis_connect_func": greet}
    return {**_OPTIONS, **options, **own, "retry": retry}


@lru_cache
def _kind(guard: type, base: type) -> type:
    return type(base.__name__, (guard, base), {})


def _options(url: str, address: Address) -> dict[str, Any]:
    return {**address.options, "epoch": epoch_of(url), "locate": _locate(url) if address.service else None}


def _node_options(url: str, address: Address, host: Host) -> dict[str, Any]:
    return {**address.options, "host": host[0], "port": host[1], "epoch": _node_epoch(url, host), "locate": None}


@lru_cache(maxsize=8)
def _locate(url: str) -> Locate:
    """Return what asks the sentinels of an address, which all its clients share."""
    return Sentinels(read_address(url)).primary


@lru_cache(maxsize=8)
def _topology(url: str) -> Topology:
    """Return the map of a cluster, which all clients of its address share."""
    address = read_address(url)

    def ask(host: Host) -> list[Any]:
        options = {**address.options, "host": host[0], "port": host[1], "retry": Retry(NoBackoff(), 0)}
        options |= {"socket_timeout": _MAP_SECONDS, "socket_connect_timeout": _MAP_SECONDS}
        with Redis.from_pool(blocking.ConnectionPool(**options)) as client:
            return list(client.execute_command("CLUSTER", "SLOTS"))

    return Topology(address.hosts, ask)


@lru_cache(maxsize=1024)
def _node_epoch(url: str, host: Host) -> NodeEpoch:
    """Return the epoch that all clients of a node share."""
    return NodeEpoch(_topology(url), host)

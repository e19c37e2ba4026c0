"""A cluster as a client: each command goes to the primary that has its key.

The clients of the primaries are plain ones, with the connections that every shape has. redis-py's own cluster clients
raise other exceptions, repeat calls by themselves, and ask a node that hangs whenever the map changes.

A command that names no key, or not as its first argument, is sent to the client of `node_of`. What concerns each
server itself, or many lanes, is asked with `ask_each` (`primaries.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import redis.asyncio
from redis import Redis

from shared.redis.topology import Host, Topology

Client = TypeVar("Client")


class Nodes(Generic[Client]):
    """The clients of a cluster's primaries, made when they are first needed."""

    def __init__(self, topology: Topology, connect: Callable[[Host], Client]) -> None:
        self.topology = topology
        self._connect = connect
        self._clients: dict[Host, Client] = {}

    def of(self, key: str) -> Client:
        """Return the client of the primary that has a key. Raises redis.ConnectionError."""
        self.topology.refresh()
        return self.at(self.topology.host_of(key))

    def at(self, host: Host) -> Client:
        """Return the client of a node."""
        client = self._clients.get(host)
        return client if client is not None else self._clients.setdefault(host, self._connect(host))

    def all(self) -> list[Client]:
        """Return the clients that were made."""
        return list(self._clients.values())


class Cluster(Redis):
    """A cluster, for threads."""

    def __init__(self, nodes: Nodes[Redis]) -> None:
        # Nothing of a single server's client: no pool, no connection.
        self.nodes = nodes

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command whose first argument is a key."""
        return self.nodes.of(args[1]).execute_command(*args, **options)  # type: ignore[no-untyped-call] # untyped in redis-py

    def close(self) -> None:
        """Close the clients of all nodes."""
        for client in self.nodes.all():
            client.close()


class AsyncCluster(redis.asyncio.Redis):
    """A cluster, for the event loop."""

    def __init__(self, nodes: Nodes[redis.asyncio.Redis]) -> None:
        self.nodes = nodes

    async def node_of(self, key: str) -> redis.asyncio.Redis:
        """Return the client of the primary that has a key. Raises redis.ConnectionError."""
        topology = self.nodes.topology
        if topology.is_stale:
            await asyncio.to_thread(topology.refresh)
        return self.nodes.at(topology.host_of(key))

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command whose first argument is a key."""
        node = await self.node_of(args[1])
        return await node.execute_command(*args, **options)  # type: ignore[no-untyped-call] # untyped in redis-py

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - as redis-py has it
        """Close the clients of all nodes."""
        for client in self.nodes.all():
            await client.aclose(close_connection_pool)


def node_of(client: Redis, key: str) -> Redis:
    """Return the client of the server that has a key. Raises redis.ConnectionError."""
    return client.nodes.of(key) if isinstance(client, Cluster) else client


async def node_of_async(client: redis.asyncio.Redis, key: str) -> redis.asyncio.Redis:
    """Do the same on the event loop."""
    return await client.node_of(key) if isinstance(client, AsyncCluster) else client

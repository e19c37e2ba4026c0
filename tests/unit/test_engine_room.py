"""The engine room shows each server of a cluster, and which one is away."""

from __future__ import annotations

from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import TimeoutError as RedisTimeoutError

from operations.console.pages.engine_room import redis_facts
from shared.redis.cluster import Cluster, Nodes
from shared.redis.topology import Host, Topology

_MIDDLE = REDIS_CLUSTER_HASH_SLOTS // 2


class _Node:
    """A server that answers, or does not."""

    def __init__(self, host: Host) -> None:
        self._port = host[1]

    def info(self) -> dict[str, Any]:
        if self._port == 1:
            raise RedisTimeoutError
        return {"redis_version": "7.2.4", "role": "master"}


def test_a_node_that_is_away_is_told_of_beside_the_others() -> None:
    slots = [[0, _MIDDLE - 1, [b"a", 1]], [_MIDDLE, REDIS_CLUSTER_HASH_SLOTS - 1, [b"b", 2]]]
    nodes: Nodes[Any] = Nodes(Topology([("a", 1)], lambda _host: slots), _Node)

    away, there = redis_facts(Cluster(nodes))

    assert (away["address"], set(away)) == ("a:1", {"address", "state"})
    assert there == {"address": "b:2", "version": "7.2.4", "role": "master"}

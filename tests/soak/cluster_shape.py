"""A cluster as the Redis of a soak: three primaries with a replica each, and a server for RQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis.cluster import ClusterNode as StartupNode
from redis.cluster import RedisCluster

from tests.soak.engine_inspection import BACK_SECONDS, Lanes, until
from tests.soak.redis_shapes import RedisShape, patient
from tests.support.cluster import ClusterNode, ClusterServers
from tests.support.installation import Server


class ClusterShape(RedisShape):
    """The servers. A shard is a primary and its replica, which a failover swaps."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.cluster = ClusterServers(folder, replicas=True)
        self.close_later.enter_context(self.cluster.servers)
        self.settings = {**self.cluster.urls, "WAIT_REPLICAS": 1}
        kind: Any = StartupNode
        nodes = [kind("127.0.0.1", node.port) for node in self.cluster.nodes]
        options: dict[str, Any] = patient(startup_nodes=nodes, require_full_coverage=False)
        self.redis: Any = RedisCluster(**options)
        self.queue = self.cluster.queue.client
        self.keep(*self.cluster.nodes, self.cluster.queue)

    def pairs(self) -> list[tuple[Server, Server]]:
        """Return each primary with its replica. No node may hang: replicas are promoted on a busy machine too."""
        for shard in range(len(self.cluster.primaries)):
            until("the shard is complete", lambda n=shard: self.note_roles(n), BACK_SECONDS)  # type: ignore[misc] # mypy can't infer it
        return list(zip(self.cluster.primaries, self.cluster.replicas, strict=True))

    def lanes_of(self, node: ClusterNode, lanes: Lanes) -> frozenset[int]:
        """Return the lanes that a primary has."""
        return frozenset(
            lane for lane, name in enumerate(lanes.names) if node.has(int(node.tell("KEYSLOT", f"{name}:stream")))
        )

    def owner_of(self, name: str) -> ClusterNode:
        """Return the primary that has a lane's keys."""
        slot = int(self.cluster.nodes[0].tell("KEYSLOT", f"{name}:stream"))
        return next(node for node in self.cluster.primaries if node.has(slot))

    def all_know(self, slot: int, owner: ClusterNode) -> bool:
        """Return whether every node knows that a primary has a slot."""
        return all(
            any(first <= slot <= last and primary[2].decode() == owner.id for first, last, primary, *_ in told)
            for told in (node.tell("SLOTS") for node in self.cluster.nodes)
        )

    def note_roles(self, shard: int) -> bool:
        """Return whether the shard has a primary and a replica with a copy, and note which is which."""
        primaries, replicas = self.cluster.primaries, self.cluster.replicas
        one, other = primaries[shard], replicas[shard]
        if (one.info("role"), other.info("role")) == ("slave", "master"):
            primaries[shard], replicas[shard] = one, other = other, one
        is_primary = one.info("role") == "master" and bool(one.slots)
        return is_primary and other.info("role") == "slave" and other.info("master_link_status") == "up"

"""A cluster: three primaries, each with a replica or none, and a Redis for RQ; and an installation on them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.client import Connector
from tests.support.described import create
from tests.support.installation import Installation, Server
from tests.support.processes import free_port, wait_until
from tests.support.stack import Stack

_PRIMARIES = 3
_SLOTS = 16_384
#: Time in milliseconds after which a node that does not answer has failed; short, and long for two busy cores.
_NODE_TIMEOUT_MS = 4_000
#: Keys that are moved with one command, and its timeout in milliseconds.
_KEYS_AT_ONCE, _MIGRATE_MS = 100, 5_000


class ClusterNode(Server):
    """One node."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(
            folder,
            name,
            cluster_enabled="yes",
            cluster_port=free_port(),
            cluster_node_timeout=_NODE_TIMEOUT_MS,
            cluster_require_full_coverage="no",
        )

    def tell(self, *words: object) -> Any:
        """Run a command of CLUSTER."""
        return self.client.execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call] # untyped in redis-py

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        return str(self.tell("MYID").decode())

    @property
    def slots(self) -> list[tuple[int, int]]:
        """The slots that it has, as it sees it."""
        own = self.tell("MYID")
        return [(first, last) for first, last, primary, *_ in self.tell("SLOTS") if primary[2] == own]

    def has(self, slot: int) -> bool:
        """Return whether it has a slot, as it sees it."""
        return any(first <= slot <= last for first, last in self.slots)

    def freeze(self) -> None:
        """Let it hang until `thaw`."""
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send(signal.SIGCONT)


class ClusterServers:
    """The servers."""

    def __init__(self, folder: Path, *, replicas: bool) -> None:
        with contextlib.ExitStack() as made:
            names = [f"p{number}" for number in range(_PRIMARIES)]
            self.primaries = [made.enter_context(contextlib.closing(ClusterNode(folder, name))) for name in names]
            names = [f"r{number}" for number in range(_PRIMARIES if replicas else 0)]
            self.replicas = [made.enter_context(contextlib.closing(ClusterNode(folder, name))) for name in names]
            self._join()
            self.queue = made.enter_context(contextlib.closing(Server(folder, "queue", appendonly="no")))
            hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.primaries)
            self.urls = {"REDIS_URL": f"redis+cluster://{hosts}", "QUEUE_REDIS_URL": self.queue.url}
            self.servers = made.pop_all()

    def _join(self) -> None:
        nodes = [*self.primaries, *self.replicas]
        for number, node in enumerate(self.primaries):
            bounds = [_SLOTS * (number + more) // _PRIMARIES for more in (0, 1)]
            node.tell("ADDSLOTSRANGE", bounds[0], bounds[1] - 1)
        for number, node in enumerate(nodes):
            node.tell("SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            bus = node.client.config_get("cluster-port")["cluster-port"]
            nodes[0].tell("MEET", "127.0.0.1", node.port, bus)
        wait_until("all nodes know each other", lambda: all(_is_complete(node, len(nodes)) for node in nodes))
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            replica.tell("REPLICATE", primary.id)
        for replica in self.replicas:
            wait_until("the replica has a copy", lambda one=replica: one.info("master_link_status") == "up")  # type: ignore[misc] # mypy can't infer it

    @property
    def nodes(self) -> list[ClusterNode]:
        """All nodes, of both roles."""
        return [*self.primaries, *self.replicas]

    def lanes_of(self, node: ClusterNode) -> list[int]:
        """Return the lanes that a node has, by the names of its streams."""
        return sorted(int(name.split(b"-")[1]) for name in node.client.scan_iter("{lane-*}:stream"))

    def move(self, slot: int, source: ClusterNode, target: ClusterNode, *, by_key: bool) -> None:
        """Move a slot to another primary, key by key as `--cluster reshard` does, or as a whole."""
        if by_key:
            target.tell("SETSLOT", slot, "IMPORTING", source.id)
            source.tell("SETSLOT", slot, "MIGRATING", target.id)
            while keys := source.tell("GETKEYSINSLOT", slot, _KEYS_AT_ONCE):
                source.client.migrate("127.0.0.1", target.port, keys, 0, _MIGRATE_MS)
            for node in (target, source):  # the others are told by these
                node.tell("SETSLOT", slot, "NODE", target.id)
        else:
            source.tell("MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        wait_until("the slot has moved", lambda: target.has(slot))

    def waiting(self) -> int:
        """Count the entries of all lanes."""
        return sum(
            int(node.client.xlen(stream))
            for node in self.primaries
            for stream in node.client.scan_iter("{lane-*}:stream")
        )


class Clustered(ClusterServers, Installation):
    """An installation on a cluster."""

    def __init__(self, folder: Path, stack: Stack, *, replicas: bool) -> None:
        ClusterServers.__init__(self, folder, replicas=replicas)
        with self.servers:
            Installation.__init__(self, folder, stack, **self.urls)
            self.close_later.push(self.servers.pop_all())

    def one_for_each_lane(self, url: str) -> dict[int, Connector]:
        """Create a connector for each lane; return them by lane."""
        names = (f"lane {number}" for number in range(len(self.rows("SELECT lane FROM lanes"))))
        made = {one.id: one for one in create(self.ingestctl, self.folder, names, url)}
        rows = self.rows("SELECT connector_id, lane FROM connectors")
        return {lane: made[connector_id] for connector_id, lane in rows}


def _is_complete(node: ClusterNode, nodes: int) -> bool:
    told = node.tell("INFO").decode()
    return "cluster_state:ok" in told and f"cluster_known_nodes:{nodes}" in told


@contextmanager
def clustered(folder: Path, stack: Stack, *, replicas: bool = False) -> Iterator[Clustered]:
    """Run an installation on a cluster until the block ends."""
    with contextlib.closing(Clustered(folder, stack, replicas=replicas)) as running:
        yield running

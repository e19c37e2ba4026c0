"""Which primary of a cluster has which keys, as the cluster last told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.redis.guard import Epoch

Host = tuple[str, int]

#: Time in seconds for which a node that did not answer in time is not asked: each call would wait for its timeout.
_REST_SECONDS: Final = 1.0
#: Time in seconds until a cluster of which no node answered is asked again.
_AGAIN_SECONDS: Final = 0.5


class NodeAwayError(RedisConnectionError):
    """A node of the cluster did not answer lately; nothing was sent to it."""


class Topology:
    """The map of a cluster, which all clients of its address share. It is asked for again once a call has failed."""

    def __init__(self, hosts: Iterable[Host], ask: Callable[[Host], list[Any]]) -> None:
        """`ask` returns a node's reply to CLUSTER SLOTS."""
        self._ask = ask
        self._hosts = set(hosts)
        #: When each node last failed, by this process' clock; those that did not are asked first.
        self._failed_at: dict[Host, float] = {}
        self._owners: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        #: Whether a call has failed since the cluster was asked.
        self.is_stale = True
        self._ask_again_at = 0.0
        self._lock = threading.Lock()

    def host_of(self, key: str) -> Host:
        """Return the primary that has a key, by the map as it is. Raises redis.ConnectionError."""
        owner = self._owners[key_slot(key.encode())]
        if owner is None:
            raise self._without_owner()
        return owner

    def primaries(self) -> list[Host]:
        """Return all primaries that have keys. Raises redis.ConnectionError if there are none."""
        found = {owner for owner in self._owners if owner}
        if not found:
            raise self._without_owner()
        return sorted(found)

    def failed(self, host: Host) -> None:
        """Note that a node did not answer, or that it is not the one to ask. Never waits."""
        self._failed_at[host] = time.monotonic()
        self.is_stale = True

    def refresh(self) -> None:
        """Ask the cluster again if a call has failed. Raises redis.ConnectionError if no node answers."""
        if not self.is_stale:
            return
        with self._lock:
            refreshed = self._is_fresh() or (time.monotonic() >= self._ask_again_at and self._refresh())
        if not refreshed:
            raise RedisConnectionError("No node of the cluster answers.")

    def _without_owner(self) -> RedisConnectionError:
        """Return what to raise for slots that no primary has; a cluster that is being made gives them out later."""
        self.is_stale = True
        return RedisConnectionError("No primary of the cluster has these keys.")

    def _is_fresh(self) -> bool:
        """Return True if another thread has refreshed the map meanwhile."""
        return not self.is_stale

    def _refresh(self) -> bool:
        for host in sorted(self._hosts, key=lambda host: self._failed_at.get(host, 0.0)):
            try:
                slots = self._ask(host)
            except RedisError:
                self._failed_at[host] = time.monotonic()
            else:
                self._take(host, slots)
                self.is_stale = False
                return True
        self._ask_again_at = time.monotonic() + _AGAIN_SECONDS
        return False

    def _take(self, asked: Host, slots: list[Any]) -> None:
        owners: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, *nodes in slots:
            # A node that does not know its own address tells none.
            hosts = [((name or b"").decode() or asked[0], port) for name, port, *_ in nodes]
            owners[first : last + 1] = [hosts[0]] * (last + 1 - first)
            self._hosts.update(hosts)
        self._owners = owners


class NodeEpoch(Epoch):
    """The epoch of one node: makes the map stale, and lets a node that did not answer in time rest."""

    def __init__(self, topology: Topology, host: Host) -> None:
        super().__init__()
        self._topology = topology
        self._host = host
        self._rests_until = 0.0

    def require(self) -> None:
        """Raise NodeAwayError if the node did not answer lately."""
        if time.monotonic() < self._rests_until:
            self._topology.failed(self._host)
            raise NodeAwayError(f"{self._host[0]}:{self._host[1]} did not answer in time.")

    def failed(self, error: RedisError) -> None:
        """Note that the node did not answer, or that it is not the one to ask."""
        if isinstance(error, RedisTimeoutError):
            self._rests_until = time.monotonic() + _REST_SECONDS
        self._topology.failed(self._host)

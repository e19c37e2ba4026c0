"""The Redis of a soak: one server behind an address that can be moved, or a pair that sentinels watch."""

from __future__ import annotations

import abc
import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.soak.engine_inspection import CALL_SECONDS, until
from tests.support.installation import Server
from tests.support.sentinels import WatchedServers
from tests.support.tcp_proxy import RedisProxy

#: Deadline in seconds for a replica to have what its primary has.
_COPY_SECONDS = 60.0


def patient(**more: Any) -> dict[str, Any]:
    """Return the options of a client of the soak: it never waits for long, and retries nothing."""
    return {"socket_timeout": CALL_SECONDS, "retry": Retry(NoBackoff(), 0), **more}


def _has_copy(primary: Server, replica: Server) -> bool:
    wanted = int(primary.info("master_repl_offset"))
    return replica.info("master_link_status") == "up" and int(replica.info("slave_repl_offset") or 0) >= wanted


class RedisShape(abc.ABC):
    """Servers, kept running, and clients of them past every proxy."""

    #: Settings of every process of the installation.
    settings: dict[str, object]
    #: A client that finds the primary of a key, and one of RQ's Redis.
    redis: Redis
    queue: Redis
    #: Whether a copy on a replica is behind each 202.
    is_replicated = True

    def __init__(self) -> None:
        self.close_later = contextlib.ExitStack()
        self._kept: list[Server] = []
        self._lock = threading.Lock()

    def keep(self, *servers: Server) -> None:
        """Start these servers again whenever they end."""
        with self._lock:
            self._kept += servers

    def let_rest(self, server: Server) -> None:
        """Leave a server alone if it ends."""
        with self._lock:
            self._kept.remove(server)

    def restart_ended(self) -> None:
        """Start what has ended and is kept."""
        with self._lock:
            for server in self._kept:
                if not server.process.runs:
                    server.launch()

    def pairs(self) -> list[tuple[Server, Server]]:
        """Return each primary with its replica."""
        return []

    def wait_for_copies(self) -> None:
        """Wait until each replica has what its primary has. Either may be the primary once another is promoted."""
        until("each replica has a copy", lambda: all(itertools.starmap(_has_copy, self.pairs())), _COPY_SECONDS)

    def close(self) -> None:
        """End the servers."""
        with self._lock:
            self._kept.clear()
        self.redis.close()
        self.close_later.close()


class OneServer(RedisShape):
    """One server at a time. Its address is a link to its socket, as other installations have a name or a proxy."""

    is_replicated = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._address = folder, folder / "redis.sock"
        self._numbers = itertools.count()
        self.server = self._make()
        self.url = f"unix://{quote(str(self._address))}"
        self.settings = {"REDIS_URL": self.url}
        self.redis = self.queue = Redis.from_url(self.url, **patient())
        self.lead_to(self.server)

    def _make(self) -> Server:
        name = f"redis-{next(self._numbers)}"
        return self.close_later.enter_context(contextlib.closing(Server(self._folder, name)))

    def lead_to(self, server: Server) -> None:
        """Lead new connections to a server; those that are open stay where they are."""
        link = self._folder / "redis.new"
        link.symlink_to(server.socket)
        link.rename(self._address)
        self.redis.connection_pool.disconnect()
        self.server = server
        self.keep(server)

    @contextlib.contextmanager
    def with_replica(self) -> Iterator[tuple[Server, RedisProxy]]:
        """Run a replica, which has a copy, and a link that it copies through."""
        with RedisProxy(self.server.url) as link:
            replica = self._make()
            replica.follow(link.port)
            yield replica, link


class SentinelPair(RedisShape):
    """A primary and a replica, which three sentinels watch."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.watched = WatchedServers(folder)
        self.close_later.enter_context(self.watched.servers)
        self.settings = {"REDIS_URL": self.watched.url, "WAIT_REPLICAS": 1}
        self.redis = self.queue = self.watched.client(**patient())
        self.keep(self.watched.primary, self.watched.replica)

    def pairs(self) -> list[tuple[Server, Server]]:
        """Return the primary with its replica. Neither may hang: sentinels promote on a busy machine too."""
        one, other = self.watched.primary, self.watched.replica
        return [(one, other) if one.info("role") == "master" else (other, one)]

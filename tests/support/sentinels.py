"""A primary and a replica that three sentinels watch, and an installation on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from tests.support.installation import Installation, Server, valkey_server
from tests.support.processes import Process, free_port, wait_until
from tests.support.stack import Stack

_SERVICE = "ingest-primary"
_PASSWORD = "for-sentinels"
#: Deadline of a failover in seconds: sentinels that got no time of the processor for two seconds do nothing for thirty.
_PATIENCE = 90.0
#: On a busy machine, a primary that is well is silent for a second, so it is replaced after five.
_CONFIGURATION = """
port {port}
bind 127.0.0.1
dir {folder}
requirepass {password}
sentinel sentinel-pass {password}
sentinel monitor {service} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {service} 5000
sentinel failover-timeout {service} 5000
"""


def make_quick(port: int, password: str = "") -> None:
    """Shorten the periods of a sentinel: by default it asks for roles each 10 s, and corrects a wrong one after 8 s.

    It corrects a role after four periods of PUBLISH, 4 s here. In less, one that a busy machine kept from hearing of a
    failover would turn the new primary back.
    """
    with Redis(port=port, password=password, retry=Retry(NoBackoff(), 0)) as sentinel:
        wait_until("the sentinel answers", lambda: _takes(sentinel, "INFO-PERIOD", 500, "PUBLISH-PERIOD", 1000))


def _takes(sentinel: Redis, *periods: object) -> bool:
    with contextlib.suppress(RedisConnectionError):
        return bool(sentinel.execute_command("SENTINEL", "DEBUG", *periods))  # type: ignore[no-untyped-call] # in redis-py
    return False


class WatchedServers:
    """The servers; `url` names the sentinels."""

    def __init__(self, folder: Path) -> None:
        with contextlib.ExitStack() as made:
            self.primary, self.replica = (made.enter_context(contextlib.closing(Server(folder, n))) for n in "ab")
            self.replica.follow(self.primary.port)
            ports = [free_port() for _ in range(3)]
            self.sentinels = [made.enter_context(self._sentinel(folder, port)) for port in ports]
            for one in ports:
                make_quick(one, _PASSWORD)
            self._asked = made.enter_context(Redis(port=ports[0], password=_PASSWORD, decode_responses=True))
            wait_until("the sentinels know each other", lambda: self._state()["num-other-sentinels"] == 2)
            wait_until("they know the replica", lambda: self._state()["num-slaves"])
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
            self.url = f"redis+sentinel://{hosts}/{_SERVICE}/0?sentinel_password={_PASSWORD}"
            self.servers = made.pop_all()

    def client(self, **options: Any) -> Redis:
        """Return a client that follows the primary."""
        client: Redis = self._known(**options).master_for(_SERVICE, **options)
        return client

    def _known(self, **options: Any) -> Any:
        hosts = [("127.0.0.1", int(one.name.rpartition("-")[2])) for one in self.sentinels]
        return Sentinel(hosts, sentinel_kwargs={"password": _PASSWORD, **options})  # type: ignore[no-untyped-call] # untyped in redis-py

    def _sentinel(self, folder: Path, port: int) -> Process:
        file = folder / f"sentinel-{port}.conf"
        file.write_text(
            _CONFIGURATION.format(
                port=port,
                folder=folder,
                password=_PASSWORD,
                service=_SERVICE,
                primary=self.primary.port,
            )
        )
        return Process([valkey_server(), file, "--sentinel"], folder=folder, name=f"sentinel-{port}")

    def _state(self) -> dict[str, Any]:
        with contextlib.suppress(RedisError):
            found: dict[str, Any] = self._asked.sentinel_master(_SERVICE)
            return found
        return {"num-other-sentinels": 0, "num-slaves": 0}

    def primary_fails(self) -> None:
        """Kill the primary, and wait until the sentinels have promoted the replica."""
        self.primary.process.kill()
        self.primary, self.replica = self.replica, self.primary
        wait_until("the replica is promoted", lambda: self.primary.info("role") == "master", _PATIENCE)

    def make_a_copy(self) -> None:
        """Have the other server follow the one that the sentinels name, as they would some seconds later themselves.

        On a busy machine they may have changed their minds since the last look, and do so while it copies.
        """
        known = self._known(socket_timeout=1)

        def is_copied() -> bool:
            with contextlib.suppress(RedisError):
                _, port = known.discover_master(_SERVICE)
                other = next(one for one in (self.primary, self.replica) if one.port != port)
                if other.info("role") == "master":
                    other.client.replicaof("127.0.0.1", port)
                return bool(other.info("master_link_status") == "up")
            return False

        wait_until("the other server has a copy", is_copied, _PATIENCE)


class Watched(WatchedServers, Installation):
    """An installation whose address names the sentinels."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        WatchedServers.__init__(self, folder)
        with self.servers:
            Installation.__init__(self, folder, stack, REDIS_URL=self.url)
            self.close_later.push(self.servers.pop_all())


@contextmanager
def watched(folder: Path, stack: Stack) -> Iterator[Watched]:
    """Run an installation with sentinels until the block ends."""
    with contextlib.closing(Watched(folder, stack)) as running:
        yield running

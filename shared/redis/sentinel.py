"""Ask sentinels which server is the primary of their service.

A primary that no sentinel names is not used, also if it answers: it may have been replaced.
"""

from __future__ import annotations

import threading
from typing import Final

from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from shared.redis.addresses import Address

#: Timeout of one sentinel in seconds; then the next one is asked.
_TIMEOUT_SECONDS: Final = 1.0


class Sentinels:
    """The sentinels of an address."""

    def __init__(self, address: Address) -> None:
        self._service = address.service
        options = {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS}
        options |= address.sentinel_options or {}
        # Its client retries ten times by default.
        self._asked = Sentinel(address.hosts, sentinel_kwargs={**options, "retry": Retry(NoBackoff(), 0)})  # type: ignore[no-untyped-call] # untyped in redis-py
        # The client moves the sentinel that answered to the front, which is not safe in threads.
        self._lock = threading.Lock()

    def primary(self) -> tuple[str, int]:
        """Return host and port of the primary. Raises redis.ConnectionError if no sentinel names one that is up."""
        with self._lock:
            host, port = self._asked.discover_master(self._service)  # type: ignore[no-untyped-call] # untyped in redis-py
        return str(host), int(port)

"""Connections to Redis or Valkey.

Retries are off everywhere: redis-py's default of ten would append a submission twice if a reply is lost. Every call has
a timeout.
"""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio
from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

#: Errors of a Redis that is unreachable, hung, full or a replica: the same call may succeed later.
UNAVAILABLE: Final = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)

_TIMEOUT_SECONDS: Final = 5.0
_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": _TIMEOUT_SECONDS,
    "socket_connect_timeout": _TIMEOUT_SECONDS,
    "health_check_interval": 0,
}


def connect_redis(url: str, *, connections: int | None = None) -> Redis:
    """Return a client for threads and workers. A call that finds all `connections` busy waits for one.

    Raises ValueError if `url` is not an address.
    """
    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), **_OPTIONS}
    if connections is None:
        return Redis.from_url(url, **options)
    return Redis.from_pool(
        BlockingConnectionPool.from_url(url, max_connections=connections, timeout=_TIMEOUT_SECONDS, **options)
    )


def connect_redis_async(url: str, *, connections: int) -> redis.asyncio.Redis:
    """Return a client for the event loop. A call that finds all its connections busy waits for one."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=_TIMEOUT_SECONDS,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        **_OPTIONS,
    )
    return redis.asyncio.Redis.from_pool(pool)

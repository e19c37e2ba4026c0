"""Keeps Redis' credentials those of Postgres, whatever engine was restored, failed over or changed by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from redis import Redis

from shared.credentials.splitting import complete_doubling
from shared.credentials.sync import count_lanes, load_lanes, outdated_lanes
from shared.postgres.connections import Connection
from shared.redis.numbers import copied_lanes

log = structlog.get_logger()

#: Interval at which all credentials are compared, in seconds, also if nothing says that they differ.
_COMPARE_SECONDS: Final = 60.0


class CredentialWatch:
    """Compares credentials once `look` is called: those of the lanes that need it, and all of them once a minute."""

    def __init__(self, redis: Redis, connection: Callable[[], Connection], acts: Callable[[], bool]) -> None:
        """`acts`: whether this process has the sweeper's lease, so that one process loads at a time."""
        self._redis = redis
        self._connection = connection
        self._acts = acts
        self._compare_at = 0.0

    def look(self) -> None:
        """Load the lanes that differ. Raises psycopg.Error, RedisError, NotMigratedError or LoadingError."""
        if not self._acts():
            return
        connection = self._connection()
        complete_doubling(connection, self._redis)
        outdated = outdated_lanes(connection, self._redis)
        all_of_them = time.monotonic() >= self._compare_at or not copied_lanes(self._redis)
        if not (outdated or all_of_them):
            return
        lanes = count_lanes(connection, self._redis)
        load_lanes(connection, self._redis, range(lanes) if all_of_them else outdated)
        if all_of_them:
            self._compare_at = time.monotonic() + _COMPARE_SECONDS
        if outdated:
            log.info("lanes_reloaded", lanes=len(outdated))

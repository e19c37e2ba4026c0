"""Whether this process can keep the promise of a 202, and the background task that makes it ready.

At startup, and when the append script finds no credentials in Redis, the task reads the number of lanes, checks that
Redis is durable, and loads the lanes that are not loaded. Until then submissions are answered 503. The task retries
forever, so an engine that comes back is used within a second.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

from ingest_api.conditions import OK, Conditions, failed_if, run_check, without_redis
from ingest_api.errors import ApiError, ErrorCode
from shared.causes import NotNowError, cause_of
from shared.credentials.sync import count_lanes, load_lanes, unready_lanes
from shared.outage import Outage
from shared.postgres.connections import SHORT_TIMEOUT_SECONDS, connect_postgres
from shared.redis.connections import reopen
from shared.redis.durability import blocking_problem, check_durability
from shared.redis.names import WRITE_PROBE
from shared.redis.numbers import copied_lanes

log = structlog.get_logger()

_RETRY_SECONDS: Final = 0.5


def unwritable(reason: str) -> Conditions:
    """Return the conditions of a process that can't write to Redis."""
    return without_redis(reason, "redis_writable", "redis_durable", "credentials_loaded")


class Readiness:
    """Loads the lanes, and reports what this process lacks."""

    def __init__(self, redis: Redis, database_url: str, *, accept_data_loss: bool) -> None:
        self._redis = redis
        self._database_url = database_url
        self._accept_data_loss = accept_data_loss
        self._lanes: int | None = None
        self._load_requested = asyncio.Event()
        self._load_requested.set()
        self._outage = Outage("not_ready")

    def lanes(self) -> int:
        """Return the number of lanes. Raises ApiError(not_ready) while it is unknown."""
        if self._lanes is None:
            raise ApiError(ErrorCode.NOT_READY)
        return self._lanes

    def reload(self) -> None:
        """Request that the lanes be loaded; returns at once."""
        self._load_requested.set()

    async def run(self) -> None:
        """Load the lanes at each request, until cancelled."""
        while True:
            await self._load_requested.wait()
            self._load_requested.clear()
            try:
                self._lanes = await asyncio.to_thread(self._load)
            except Exception as error:  # noqa: BLE001 - if the task ended, every answer would be 503 forever
                self._outage.report(error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._load_requested.set()
            else:
                self._outage.over()

    def _load(self) -> int:
        reopen(self._redis)  # the connection that found the credentials missing may lead to another server
        self._require_durable()
        known = self._lanes or copied_lanes(self._redis)
        if known and not unready_lanes(self._redis, known):
            return known
        with connect_postgres(
            self._database_url, application="ingest_api loading", answer_timeout=SHORT_TIMEOUT_SECONDS
        ) as connection:
            lanes = count_lanes(connection, self._redis)
            load_lanes(connection, self._redis, unready_lanes(self._redis, lanes))
        log.info("lanes_loaded", lanes=lanes)
        return lanes

    def _require_durable(self) -> None:
        sentence = blocking_problem(check_durability(self._redis), accept_data_loss=self._accept_data_loss)
        if sentence:
            raise NotNowError(sentence)

    async def conditions(self) -> Conditions:
        """Return what this process needs to accept submissions; Postgres is not part of that."""
        found = await run_check(self._check)
        if found["credentials_loaded"].state == "failed":
            self.reload()
        return found

    def _check(self) -> Conditions:
        try:
            faults = check_durability(self._redis).problems
            self._redis.set(WRITE_PROBE, 1)
            loaded = self._lanes and not unready_lanes(self._redis, self._lanes)
        except RedisError as error:
            return unwritable(cause_of(error))
        return {
            "redis_durable": failed_if(None if self._accept_data_loss else " ".join(faults)),
            "redis_writable": OK,
            "credentials_loaded": failed_if(None if loaded else "The credentials are not loaded into Redis."),
        }

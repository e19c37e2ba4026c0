"""Whether this process can keep the promise of a 202, and the background task that makes it ready.

At startup, and when the append script finds no credentials in Redis, the task reads the number of lanes, checks that
Redis is durable, and loads the lanes that are not loaded. Until then submissions are answered 503. The task retries
forever, so an engine that comes back is used within a second.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

from ingest_api.conditions import Condition, Conditions, failed_if, run_check, without_redis
from ingest_api.errors import ApiError, ErrorCode
from shared.causes import NotNowError, cause_of
from shared.credentials.sync import load_lanes, read_lanes, unready_lanes, unready_on
from shared.lanes import NOT_YET, Lanes
from shared.outage import Outage
from shared.postgres.connections import SHORT_TIMEOUT_SECONDS, connect_postgres
from shared.redis.connections import reopen
from shared.redis.durability import Durability, blocking_problem, check_durability, check_server
from shared.redis.names import lane_keys
from shared.redis.numbers import copied
from shared.redis.primaries import ask_each, told_by_any

log = structlog.get_logger()

_RETRY_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Server:
    """What one server has of what the promise needs."""

    durability: Durability
    is_loaded: bool


def unwritable(reason: str) -> Conditions:
    """Return the conditions of a process that can't write to Redis."""
    return without_redis(reason, "redis_writable", "redis_durable", "credentials_loaded")


class Readiness:
    """Loads the lanes, and reports what this process lacks."""

    def __init__(self, redis: Redis, database_url: str, *, accept_data_loss: bool) -> None:
        self._redis = redis
        self._database_url = database_url
        self._accept_data_loss = accept_data_loss
        self._lanes: Lanes | None = None
        self._load_requested = asyncio.Event()
        self._load_requested.set()
        self._outage = Outage("not_ready")

    def known_lanes(self) -> int | None:
        """Return the number of lanes, None while it is unknown."""
        return self._lanes.number if self._lanes else None

    def lanes(self) -> int:
        """Return the number of lanes. Raises ApiError(not_ready) while it is unknown."""
        return self.all_lanes().number

    def all_lanes(self) -> Lanes:
        """Return the lanes. Raises ApiError(not_ready) while they are unknown."""
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
                await asyncio.to_thread(self._load)
            except Exception as error:  # noqa: BLE001 - if the task ended, every answer would be 503 forever
                self._outage.report(error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._load_requested.set()
            else:
                self._outage.over()

    def _load(self) -> None:
        reopen(self._redis)  # the connection that found the credentials missing may lead to another server
        self._require_durable()
        known = self._known_lanes()
        if known and not self._unready(known):
            return
        with connect_postgres(
            self._database_url, application="ingest_api loading", answer_timeout=SHORT_TIMEOUT_SECONDS
        ) as connection:
            lanes = read_lanes(connection, self._redis)
            load_lanes(connection, self._redis, self._unready(lanes))
        self._lanes = lanes
        log.info("lanes_loaded", lanes=lanes.number)

    def _known_lanes(self) -> Lanes | None:
        """Return how many lanes there are, by Redis' copy at the start and after they were doubled."""
        copy, known = copied(self._redis), self._lanes
        return copy if copy and (known is None or (copy.doubled_at and copy.number >= known.number)) else known

    def _unready(self, lanes: Lanes) -> list[int]:
        """Return the lanes that are not loaded; if some are, submissions to them need not wait for the others."""
        unready = unready_lanes(self._redis, lanes)
        if len(unready) < lanes.number:
            self._lanes = lanes
        return unready

    def _require_durable(self) -> None:
        sentence = blocking_problem(check_durability(self._redis), accept_data_loss=self._accept_data_loss)
        if sentence:
            raise NotNowError(sentence)

    async def conditions(self) -> Conditions:
        """Return what this process needs to accept submissions; Postgres is not part of that."""
        found, is_complete = await run_check(self._check)
        if not is_complete:
            self.reload()
        return found

    def _check(self) -> tuple[Conditions, bool]:
        """Return the conditions, and False if credentials are missing somewhere."""
        lanes = self._lanes or Lanes(1)
        answers = ask_each(self._redis, range(lanes.number), partial(self._look, lanes))
        try:
            found = told_by_any(answers)
        except RedisError as error:
            return unwritable(cause_of(error)), True
        away = [f"Lanes {', '.join(map(str, one.lanes))}: {cause_of(one.error)}" for one in answers if one.error]
        problems = dict.fromkeys(problem for one in found for problem in one.durability.problems)
        # Credentials that are missing on one node of several are loaded in a moment, and the other lanes go on.
        loaded = self._lanes and any(one.is_loaded for one in found)
        conditions = {
            "redis_durable": failed_if(None if self._accept_data_loss else " ".join(problems)),
            "redis_writable": Condition("ok", " ".join(away)),
            "credentials_loaded": failed_if(None if loaded else "The credentials are not loaded into Redis."),
        }
        is_final = self._lanes is not None and self._lanes.doubled_at != NOT_YET
        return conditions, is_final and all(one.is_loaded for one in found)

    @staticmethod
    def _look(lanes: Lanes, node: Redis, part: list[int]) -> _Server:
        durability = check_server(node)
        node.set(lane_keys(part[0]).write_probe, 1)
        return _Server(durability, not unready_on(lanes, node, part))

"""Whether this process can keep the promise of a 202, and the background work that makes it so.

At the start, and whenever the append script says that Redis holds no credentials, one task finds out how many lanes
there are, checks that Redis keeps what it is given, and loads the lanes that are not loaded. Until then submissions are
answered 503. It never gives up: an engine that comes back is found within a second.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
import structlog
from redis import Redis
from redis.exceptions import RedisError

from ingest_api.errors import ApiError, ErrorCode
from shared.credentials.sync import count_lanes, load_lanes, unready_lanes
from shared.postgres.connections import SHORT_TIMEOUT_SECONDS, Connection, connect_postgres
from shared.postgres.queries import sql
from shared.redis.durability import blocking_problem, check_durability
from shared.redis.names import LANES

log = structlog.get_logger()

_RETRY_SECONDS: Final = 0.5
#: Anybody may ask `/readyz` as often as he likes.
_LOOK_SECONDS: Final = 1.0


class NotDurableError(Exception):
    """Redis would lose accepted submissions; the message says why."""


class Readiness:
    """What this process is still waiting for."""

    def __init__(self, redis: Redis, database_url: str, *, accept_data_loss: bool) -> None:
        self._redis = redis
        self._database_url = database_url
        self._accept_data_loss = accept_data_loss
        self._lanes: int | None = None
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._looking = asyncio.Lock()
        self._look_again = 0.0
        self._missing: list[str] = []

    def lanes(self) -> int:
        """How many lanes there are. Raises ApiError while that is unknown."""
        if self._lanes is None:
            raise ApiError(ErrorCode.NOT_READY)
        return self._lanes

    def reload(self) -> None:
        """Asks for the lanes to be loaded; returns at once."""
        self._wanted.set()

    async def keep(self) -> None:
        """Loads whenever that is asked for, for as long as the process lives."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                self._lanes = await asyncio.to_thread(self._load)
            except Exception as fault:  # noqa: BLE001 - whatever it was: giving up would mean 503 for ever
                log.warning("not_ready", error=repr(fault))
                await asyncio.sleep(_RETRY_SECONDS)
                self._wanted.set()

    def _load(self) -> int:
        self._require_durable()
        known = self._lanes or int(self._redis.get(LANES) or 0)
        if known and not unready_lanes(self._redis, known):
            return known
        with self._connect("loading") as connection:
            lanes = count_lanes(connection, self._redis)
            load_lanes(connection, self._redis, unready_lanes(self._redis, lanes))
        log.info("lanes_loaded", lanes=lanes)
        return lanes

    def _require_durable(self) -> None:
        sentence = blocking_problem(check_durability(self._redis), accept_data_loss=self._accept_data_loss)
        if sentence:
            raise NotDurableError(sentence)

    async def missing(self) -> list[str]:
        """Sentences: what stands in the way of accepting and applying submissions. Looked at once a second at most."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now >= self._look_again:
                self._missing = await asyncio.to_thread(self._look)
                self._look_again = asyncio.get_running_loop().time() + _LOOK_SECONDS
            return self._missing

    def _look(self) -> list[str]:
        return [*self._missing_in_redis(), *self._missing_in_postgres()]

    def _missing_in_redis(self) -> list[str]:
        try:
            faults = check_durability(self._redis).problems
            unready = unready_lanes(self._redis, self._lanes) if self._lanes else None
        except RedisError:
            return ["Redis does not answer."]
        missing = [] if self._accept_data_loss else list(faults)
        if unready is None or unready:
            missing.append("The credentials are not loaded into Redis.")
            self._wanted.set()
        return missing

    def _missing_in_postgres(self) -> list[str]:
        try:
            with self._connect("readiness") as connection:
                row = connection.execute(sql("select_read_only")).fetchall()[0]
        except psycopg.Error:
            return ["Postgres does not answer."]
        return ["Postgres takes no writes now."] if row["read_only"] else []

    def _connect(self, purpose: str) -> Connection:
        return connect_postgres(
            self._database_url, application=f"ingest_api {purpose}", answer_timeout=SHORT_TIMEOUT_SECONDS
        )

"""The state of an installation, as far as the engines tell it: lanes, workers, connectors, dead letters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import psycopg
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue

from operations.connectors import select_connectors
from operations.dead_letters import Filter, select_groups
from operations.refusals import group_refusals
from shared.causes import SentenceError, cause_of
from shared.credentials.sync import NotMigratedError
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.lane_status import Lane, Node, RedisState, WorkerState, connector_backlogs, look_at_redis
from shared.redis.numbers import copied_lanes
from shared.redis.signs_of_life import read_signs, with_signs
from shared.rfc3339 import rfc3339

#: Time whose refusals are looked at.
LATELY: Final = timedelta(minutes=15)
#: Causes of dead letters that are told, one by one; groups of refusals that are added up.
_MAX_CAUSES: Final = 100
_MAX_REFUSALS: Final = 1_000

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What Postgres knows about the installation."""

    lanes: int
    connectors: list[dict[str, Any]]
    #: Dead letters by their cause; the last refusals by what was wrong.
    dead: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class State:
    """What could be read; of an engine that could not be used, None and the sentence that says why."""

    database: DatabaseState | None
    database_fault: str | None
    redis: RedisState | None
    redis_fault: str | None
    #: When each connector was last heard of, as Redis knows it.
    signs: dict[int, datetime] | None = None
    #: Of each lane in which something waits, the bytes of each connector.
    waiting: dict[int, dict[int, int]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the state for JSON; what could not be read is null."""
        database, redis = self.database, self.redis
        return {
            "postgres": {"available": database is not None, "fault": self.database_fault},
            "redis": {"available": redis is not None, "fault": self.redis_fault},
            "nodes": [_node_document(node) for node in redis.nodes] if redis else None,
            "lanes": [_lane_document(lane) for lane in redis.lanes] if redis else None,
            "totals": totals_document(redis.lanes) if redis else None,
            "workers": [_worker_document(worker, redis) for worker in redis.workers] if redis else None,
            "queue": {"jobs": redis.queued_jobs, "failedJobs": redis.failed_jobs} if redis else None,
            "sweeper": redis.sweeper if redis else None,
        }


def look(
    database: Callable[[], AbstractContextManager[Connection]],
    redis: Callable[[], AbstractContextManager[Redis]],
    queue: Callable[[Redis], Queue],
    *,
    quiet_after_seconds: int,
    told: Callable[[Exception], str] = cause_of,
    with_connectors: bool = True,
) -> State:
    """Read the state of both engines; one that can't be used does not keep the other from being read."""
    found, database_fault = _attempt(lambda: _look_at_database(database, with_connectors=with_connectors), told)
    lanes = found.lanes if found else None
    redis_state, redis_fault = _attempt(lambda: _look_at_redis(redis, queue, lanes), told)
    signs, _ = _attempt(lambda: _read_signs(redis), told) if with_connectors else ({}, None)
    waiting, _ = _attempt(lambda: _read_waiting(redis, redis_state), told) if with_connectors else ({}, None)
    if found:
        with_signs(found.connectors, signs or {}, quiet_after_seconds)
    return State(found, database_fault, redis_state, redis_fault, signs, waiting or {})


def totals_document(lanes: list[Lane]) -> dict[str, Any]:
    """Return the sums of all lanes for JSON."""
    ages = (lane.oldest_age_seconds for lane in lanes if lane.oldest_age_seconds is not None)
    return {
        "lanes": len(lanes),
        "ready": sum(lane.ready for lane in lanes),
        "entries": sum(lane.entries for lane in lanes),
        "bytes": sum(lane.bytes for lane in lanes),
        "oldestAgeSeconds": max(ages, default=None),
    }


def _attempt(look_at: Callable[[], Found], told: Callable[[Exception], str]) -> tuple[Found | None, str | None]:
    """Return what was found, or the sentence that says why it could not be."""
    try:
        return look_at(), None
    except (psycopg.Error, RedisError, SentenceError) as error:
        return None, told(error)


def _look_at_database(
    open_database: Callable[[], AbstractContextManager[Connection]], *, with_connectors: bool
) -> DatabaseState:
    with open_database() as connection:
        lanes = int(connection.execute(sql("count_lanes")).fetchall()[0]["lanes"])
        if lanes == 0:
            raise NotMigratedError
        if not with_connectors:
            return DatabaseState(lanes, [])
        return DatabaseState(
            lanes,
            select_connectors(connection),
            select_groups(connection, Filter(), limit=_MAX_CAUSES),
            group_refusals(connection, since=datetime.now(UTC) - LATELY, limit=_MAX_REFUSALS),
        )


def _read_signs(open_redis: Callable[[], AbstractContextManager[Redis]]) -> dict[int, datetime]:
    with open_redis() as redis:
        return read_signs(redis, copied_lanes(redis))


def _read_waiting(
    open_redis: Callable[[], AbstractContextManager[Redis]], state: RedisState | None
) -> dict[int, dict[int, int]]:
    busy = [lane.number for lane in state.lanes if lane.entries] if state else []
    if not busy:
        return {}
    with open_redis() as redis:
        return {lane: connector_backlogs(redis, lane) for lane in busy}


def _look_at_redis(
    open_redis: Callable[[], AbstractContextManager[Redis]], queue: Callable[[Redis], Queue], lanes: int | None
) -> RedisState:
    with open_redis() as redis:
        return look_at_redis(redis, queue(redis), lanes)


def _node_document(node: Node) -> dict[str, Any]:
    return {
        "address": node.address,
        "lanes": node.lanes,
        "available": node.error is None,
        "fault": cause_of(node.error) if node.error else None,
    }


def _lane_document(lane: Lane) -> dict[str, Any]:
    return {
        "lane": lane.number,
        "ready": lane.ready,
        "entries": lane.entries,
        "bytes": lane.bytes,
        "oldestAgeSeconds": lane.oldest_age_seconds,
        "lease": {"state": lane.lease, "millisecondsLeft": lane.lease_ms_left},
    }


def _worker_document(worker: WorkerState, redis: RedisState) -> dict[str, Any]:
    return {
        "name": worker.name,
        "state": worker.state,
        "alive": worker.process in redis.living,
        "jobId": worker.job_id,
        "lane": worker.lane,
        "lastHeartbeatAt": rfc3339(worker.last_heartbeat_at),
    }

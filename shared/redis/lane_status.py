"""The state of Redis for operators and metrics: backlogs of lanes, and workers. Reading it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from rq import Worker
from rq.serializers import JSONSerializer

from shared.redis.activity import last_sweep, living_workers
from shared.redis.names import GROUP, lane_keys
from shared.redis.numbers import copied_lanes, counted_corrections
from shared.redis.scripts import Scripts
from shared.redis.wakeups import wake_queue


@dataclass(frozen=True, slots=True)
class Lane:
    """The state of one lane."""

    number: int
    ready: bool
    entries: int
    bytes: int
    #: none, queued (its job waits for a worker), running (a drain holds it) or paused (Postgres failed).
    lease: str
    lease_ms_left: int | None
    #: Job that holds the lease or that it waits for.
    job_id: str | None
    oldest_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker, as it last reported to RQ."""

    name: str
    state: str
    job_id: str | None
    #: Lane that its job drains.
    lane: int | None
    last_heartbeat_at: datetime | None


@dataclass(frozen=True, slots=True)
class RedisState:
    """The state of all lanes and workers."""

    lanes: list[Lane]
    workers: list[WorkerState]
    queued_jobs: int
    failed_jobs: int
    #: True if a sweeper is active.
    sweeper: bool
    #: Lanes that it found stalled.
    stalled: list[int]
    #: Workers that are alive and not hung; `workers` are those that RQ knows.
    living_workers: int
    #: Bytes that the server uses and may use; 0 if it does not say, or has no limit.
    memory: int
    memory_limit: int
    #: Credentials that differed from Postgres and were corrected, ever.
    corrections: int


def look_at_redis(redis: Redis, lanes: int | None) -> RedisState:
    """Read the state of every lane and worker. `lanes`: their number, or None to use Redis' copy of it."""
    scripts = Scripts(redis)
    number_of_lanes = copied_lanes(redis) if lanes is None else lanes
    found = [_look_at_lane(scripts, lane) for lane in range(number_of_lanes)]
    queue, sweep, memory = wake_queue(redis), last_sweep(redis), _memory(redis)
    return RedisState(
        lanes=found,
        workers=_workers(redis, found),
        queued_jobs=queue.count,
        failed_jobs=queue.failed_job_registry.get_job_count(cleanup=False),
        sweeper=sweep is not None,
        stalled=sweep or [],
        living_workers=living_workers(scripts),
        memory=memory.get("used_memory", 0),
        memory_limit=memory.get("maxmemory", 0),
        corrections=counted_corrections(redis),
    )


def _memory(redis: Redis) -> dict[str, int]:
    """Return what the server says of its memory; nothing if a service does not let it be read."""
    try:
        found: dict[str, int] = redis.info("memory")
    except ResponseError:
        return {}
    return found


def connector_backlogs(redis: Redis, lane: int) -> dict[int, int]:
    """Return the bytes in a lane's backlog of each connector that has some."""
    parts: Any = redis.hgetall(lane_keys(lane).backlog)
    found = ((name.removeprefix(b"c:"), size) for name, size in parts.items())
    return {int(name): int(size) for name, size in found if name.isdigit() and size.isdigit()}


def _look_at_lane(scripts: Scripts, number: int) -> Lane:
    keys = lane_keys(number)
    ready, entries, size, lease, left, age = scripts(
        "look_at_lane", [keys.stream, keys.lease, keys.backlog, keys.ready, keys.large], [GROUP]
    )
    state, _, job_id = lease.decode().partition(":")
    return Lane(
        number=number,
        ready=bool(ready),
        entries=entries,
        bytes=size,
        lease=state or "none",
        lease_ms_left=left if left >= 0 else None,
        job_id=job_id or None,
        oldest_age_seconds=age / 1000 if age >= 0 else None,
    )


def _workers(redis: Redis, lanes: Sequence[Lane]) -> list[WorkerState]:
    lane_of_job = {lane.job_id: lane.number for lane in lanes if lane.job_id and lane.lease == "running"}
    states = []
    for worker in Worker.all(connection=redis, serializer=JSONSerializer):
        job_id = worker.get_current_job_id()
        lane = lane_of_job.get(job_id) if job_id else None
        states.append(WorkerState(worker.name, worker.get_state(), job_id, lane, worker.last_heartbeat))
    return sorted(states, key=lambda state: state.name)

"""The state of Redis for operators and metrics: backlogs of lanes, and workers. Reading it changes nothing."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from shared.causes import cause_of
from shared.redis.activity import last_sweep, living_workers
from shared.redis.names import GROUP, lane_keys
from shared.redis.numbers import copied_lanes, counted_corrections
from shared.redis.primaries import ask_each, told_by_any
from shared.redis.scripts import Scripts


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

    @property
    def process(self) -> str:
        """The name by which its process reports: one that lost Redis goes on as RQ's next worker, `<process>.2`."""
        return self.name.rpartition(".")[0] or self.name


@dataclass(frozen=True, slots=True)
class Node:
    """One server, of a cluster that is."""

    address: str
    lanes: list[int]
    #: Why it is away; None if it answers.
    error: RedisError | None

    def sentence(self) -> str:
        """Return what to say to operators of a node that is away."""
        reason = cause_of(self.error) if self.error else ""
        return f"Redis at {self.address}, with the lanes {', '.join(map(str, self.lanes))}, is away. {reason}"


@dataclass(frozen=True, slots=True)
class RedisState:
    """The state of all lanes and workers; without the lanes of nodes that are away."""

    lanes: list[Lane]
    #: The nodes of a cluster.
    nodes: list[Node]
    workers: list[WorkerState]
    queued_jobs: int
    failed_jobs: int
    #: True if a sweeper is active.
    sweeper: bool
    #: Lanes that it found stalled.
    stalled: list[int]
    #: Names of workers that are alive and not hung; `workers` are those that RQ knows.
    living: frozenset[str]
    #: Bytes that the fullest server uses and may use; 0 if it does not say, or has no limit.
    memory: int
    memory_limit: int
    #: Credentials that differed from Postgres and were corrected, ever.
    corrections: int

    @property
    def away(self) -> list[Node]:
        """The nodes that do not answer."""
        return [node for node in self.nodes if node.error]

    @property
    def frozen(self) -> list[str]:
        """The names of workers that RQ knows and that have not reported for some seconds: hung, frozen or killed."""
        return sorted({worker.process for worker in self.workers} - self.living)


def look_at_redis(redis: Redis, queue: Queue, lanes: int | None) -> RedisState:
    """Read the state of every lane and worker. `lanes`: their number, or None to use Redis' copy of it.

    Raises RedisError if no server of the lanes answers, or that of the queue does not.
    """
    scripts = Scripts(redis)
    number_of_lanes = copied_lanes(redis) if lanes is None else lanes
    answers = ask_each(redis, range(number_of_lanes), partial(_look_at_server, scripts))
    found = told_by_any(answers)
    lanes_found = sorted((lane for one, _ in found for lane in one), key=attrgetter("number"))
    used, limit = max((memory for _, memory in found), key=lambda memory: memory[0] / (memory[1] or math.inf))
    sweep = last_sweep(queue.connection)
    return RedisState(
        lanes=lanes_found,
        nodes=[Node(answer.node, answer.lanes, answer.error) for answer in answers if answer.node],
        workers=_workers(queue.connection, lanes_found),
        queued_jobs=queue.count,
        failed_jobs=queue.failed_job_registry.get_job_count(cleanup=False),
        sweeper=sweep is not None,
        stalled=sweep or [],
        living=living_workers(Scripts(queue.connection)),
        memory=used,
        memory_limit=limit,
        corrections=counted_corrections(redis),
    )


def _look_at_server(scripts: Scripts, node: Redis, lanes: Sequence[int]) -> tuple[list[Lane], tuple[int, int]]:
    """Return a server's lanes, and the memory that it uses and may use."""
    return [_look_at_lane(scripts, lane) for lane in lanes], _memory(node)


def _memory(node: Redis) -> tuple[int, int]:
    """Return zeros if a service does not let its memory be read."""
    found: dict[str, int] = {}
    with contextlib.suppress(ResponseError):
        found = node.info("memory")
    return found.get("used_memory", 0), found.get("maxmemory", 0)


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

"""Drains lanes without RQ while Redis is full.

A Redis at its `maxmemory` refuses every write that could make it grow: new submissions, which are answered 503, but
also what RQ's worker writes before it takes a job. Nothing would ever make room again. The drain's scripts may write
even then (`flags=allow-oom`), and settling makes room. So the worker goes from lane to lane by itself until Redis has
room and RQ works again. If RQ has a Redis of its own, jobs go on while that of the lanes is full.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from redis import Redis

from shared.outage import Outage, Repeats
from shared.redis.names import lane_keys
from shared.redis.numbers import copied_lanes
from shared.redis.wakeups import JOB_TIMEOUT_SECONDS, new_job_id
from workers.context import DrainContext
from workers.drain import Drain

log = structlog.get_logger()

_ROUND_SECONDS: Final = 0.5
_outage: Final = Outage("relief_failed")
_repeats: Final = Repeats()


def drain_full_redis(context: DrainContext) -> None:
    """Drain all lanes, round by round, while Redis is full. Raises RedisError."""
    while _is_full(context.queue.connection) and not context.stopping():
        lanes = copied_lanes(context.redis)
        if _repeats.due("redis_full") is not None:
            log.warning("redis_full", lanes=lanes)
        for lane in range(lanes):
            _drain(context, lane)
        time.sleep(_ROUND_SECONDS)


def _is_full(redis: Redis) -> bool:
    memory = redis.info("memory")
    return 0 < int(memory.get("maxmemory", 0)) <= int(memory.get("used_memory", 0))


def _drain(context: DrainContext, lane: int) -> None:
    if context.stopping() or not context.redis.xlen(lane_keys(lane).stream):
        return
    context.turn(JOB_TIMEOUT_SECONDS)
    try:
        Drain(context, lane, new_job_id(lane)).run()
    except Exception as error:  # noqa: BLE001 - as in RQ's worker, a drain that fails ends nothing but itself
        # Postgres is away, or the turn is over and the next one's job can't be queued.
        _outage.report(error, lane=lane)

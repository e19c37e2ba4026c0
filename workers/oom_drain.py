"""Drains lanes without RQ while Redis is full.

A Redis at its `maxmemory` refuses whatever could make it grow: new submissions, which are answered 503, but also all
that RQ's worker writes before it takes a job. Nothing would ever make room again. The scripts of the drain may write
all the same (`flags=allow-oom`), and what they settle is room; so the worker goes from lane to lane by itself until
there is some, and RQ works again.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

from shared.redis.names import LANES, lane_keys
from shared.redis.wakeups import new_job_id
from workers.drain import Drain, DrainContext

log = structlog.get_logger()

_ROUND_SECONDS: Final = 0.5


def relieve(tools: DrainContext) -> None:
    """Drains until Redis has room; does nothing where it has."""
    try:
        while _is_full(tools.redis) and not tools.stopping():
            lanes = int(tools.redis.get(LANES) or 0)
            log.warning("redis_full", lanes=lanes)
            for lane in range(lanes):
                _drain(tools, lane)
            time.sleep(_ROUND_SECONDS)
    except RedisError as fault:
        log.warning("redis_lost", error=str(fault))


def _is_full(redis: Redis) -> bool:
    memory = redis.info("memory")
    return 0 < int(memory["maxmemory"]) <= int(memory["used_memory"])


def _drain(tools: DrainContext, lane: int) -> None:
    if tools.stopping() or not tools.redis.xlen(lane_keys(lane).stream):
        return
    try:
        Drain(tools, lane, new_job_id(lane)).run()
    except Exception as fault:  # noqa: BLE001 - as in RQ's worker, a drain that fails ends nothing but itself
        # Postgres is away, or the turn is over and the next one's job can't be queued.
        log.warning("relief_failed", lane=lane, error=repr(fault))

"""Numbers that processes keep in Redis: of lanes, and of corrected credentials. What is no number is read as none."""

from __future__ import annotations

import contextlib

from redis import Redis
from redis.exceptions import ResponseError

from shared.redis.connections import UNAVAILABLE, is_wrong_type
from shared.redis.names import CORRECTIONS, LANES
from shared.request_id import MAX_LANES


def copied_lanes(redis: Redis) -> int:
    """Return the number of lanes as copied to Redis, 0 if there is no copy that makes sense, or its server is away."""
    with contextlib.suppress(*UNAVAILABLE):
        lanes = _number(redis, LANES)
        return lanes if 0 < lanes <= MAX_LANES else 0
    return 0


def copy_lanes(redis: Redis, lanes: int) -> None:
    """Copy the number of lanes for processes that start without Postgres; not if that server is away."""
    with contextlib.suppress(*UNAVAILABLE):
        redis.set(LANES, lanes)


def counted_corrections(redis: Redis) -> int:
    """Return how many credentials differed from Postgres and were corrected, ever; 0 if that server is away."""
    with contextlib.suppress(*UNAVAILABLE):
        return max(0, _number(redis, CORRECTIONS))
    return 0


def add_corrections(redis: Redis, corrected: int) -> None:
    """Add to the credentials that were corrected; not if that server is away."""
    with contextlib.suppress(*UNAVAILABLE):
        if redis.type(CORRECTIONS) != b"string" or not _number(redis, CORRECTIONS):
            redis.set(CORRECTIONS, 0)  # nothing, or no number
        redis.incrby(CORRECTIONS, corrected)


def _number(redis: Redis, name: str) -> int:
    """Return a key's number, 0 if it holds none."""
    try:
        return int(redis.get(name) or 0)
    except ValueError:
        return 0
    except ResponseError as error:
        if not is_wrong_type(error):
            raise
        return 0

"""Numbers that processes keep in Redis: of lanes, and of corrected credentials. What is no number is read as none."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final

from redis import Redis
from redis.exceptions import ResponseError

from shared.lanes import Lanes
from shared.redis.connections import UNAVAILABLE, is_wrong_type
from shared.redis.names import CORRECTIONS, LANES
from shared.request_id import MAX_LANES

#: The number of lanes, and when they were doubled, if ever.
_COPY: Final = re.compile(rb"(\d{1,4})(?: (\d{1,13}))?")


def copied_lanes(redis: Redis) -> int:
    """Return the number of lanes as copied to Redis, 0 if there is no copy that makes sense, or its server is away."""
    copy = copied(redis)
    return copy.number if copy else 0


def copied(redis: Redis) -> Lanes | None:
    """Return the copy in Redis of how many lanes there are; None in the same cases."""
    with contextlib.suppress(*UNAVAILABLE):
        found = _COPY.fullmatch(_text(redis, LANES))
        lanes = Lanes(int(found[1]), int(found[2] or 0)) if found else Lanes(0)
        return lanes if 0 < lanes.number <= MAX_LANES else None
    return None


def copy_lanes(redis: Redis, lanes: Lanes) -> None:
    """Copy the number of lanes for processes that start without Postgres; not if that server is away."""
    with contextlib.suppress(*UNAVAILABLE):
        redis.set(LANES, f"{lanes.number} {lanes.doubled_at}" if lanes.doubled_at else lanes.number)


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
        return int(_text(redis, name) or 0)
    except ValueError:
        return 0


def _text(redis: Redis, name: str) -> bytes:
    """Return what a key holds, nothing if it is no string."""
    try:
        found: Any = redis.get(name)
    except ResponseError as error:
        if not is_wrong_type(error):
            raise
        found = None
    return found or b""

"""When each connector's last submission was accepted, and which connectors are silent.

Redis knows it at once, in the step that appends; Postgres after the submission was applied, and after Redis lost its
memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from redis import Redis

from shared.redis.names import lane_keys
from shared.redis.primaries import ask_each, told_by_any
from shared.request_id import MAX_MILLISECONDS

_NUMBER: Final = re.compile(rb"\d{1,18}")


def read_signs(redis: Redis, lanes: int) -> dict[int, datetime]:
    """Return when the last submission of each connector was accepted, as the servers that answer know it.

    Raises RedisError if none does.
    """

    def on(node: Redis, part: list[int]) -> list[Any]:
        pipeline = node.pipeline(transaction=False)
        for lane in part:
            pipeline.hgetall(lane_keys(lane).seen)
        return pipeline.execute(raise_on_error=False)

    return _told(redis, range(lanes), on)


def signs_of(redis: Redis, rows: Iterable[dict[str, Any]]) -> dict[int, datetime]:
    """Return the same of some connectors, which are rows of `select_connectors`."""
    wanted: dict[int, list[int]] = {}
    for row in rows:
        wanted.setdefault(row["lane"], []).append(row["connector_id"])

    def on(node: Redis, part: list[int]) -> list[Any]:
        pipeline = node.pipeline(transaction=False)
        for lane in part:
            pipeline.hmget(lane_keys(lane).seen, wanted[lane])
        told = zip(part, pipeline.execute(raise_on_error=False), strict=True)
        return [_by_name(wanted[lane], signs) for lane, signs in told]

    return _told(redis, list(wanted), on) if wanted else {}


def _by_name(connector_ids: list[int], signs: Any) -> Any:
    names = (b"%d" % connector_id for connector_id in connector_ids)
    return dict(zip(names, (sign or b"" for sign in signs), strict=True)) if isinstance(signs, list) else signs


def _told(redis: Redis, lanes: Sequence[int], on: Callable[[Redis, list[int]], list[Any]]) -> dict[int, datetime]:
    found: dict[int, datetime] = {}
    is_number = _NUMBER.fullmatch
    for signs in (signs for part in told_by_any(ask_each(redis, lanes, on)) for signs in part):
        if isinstance(signs, dict):  # else a key of another type, which no process of ours has written
            for one, at in signs.items():
                if is_number(one) and is_number(at):  # the latest: a connector may have been in two lanes
                    found[int(one)] = max(_moment(at), found.get(int(one), _moment(at)))
    return found


def with_signs(
    rows: Iterable[dict[str, Any]],
    signs: dict[int, datetime],
    quiet_after_seconds: int,
    now: datetime | None = None,
) -> None:
    """Complete rows of `select_connectors` by what Redis knows: the last sign of life, and which are silent.

    Sets `last_seen_at`; `silent_seconds`, since then or since the connector was made; `quiet`, of enabled connectors
    that are silent for too long; `silence`: 'never' if such a one was never seen, else 'quiet'; None of others.
    """
    moment = now or datetime.now(UTC)
    for row in rows:
        seen = [one for one in (row["last_seen_at"], signs.get(row["connector_id"])) if one]
        # A clock of an engine that was ahead must not make a connector seem alive forever.
        row["last_seen_at"] = min(max(seen), moment) if seen else None
        silent = (moment - (row["last_seen_at"] or row["created_at"])).total_seconds()
        row["silent_seconds"] = max(0.0, silent)
        row["quiet"] = row["enabled"] and silent > quiet_after_seconds
        row["silence"] = ("quiet" if seen else "never") if row["quiet"] else None


def _moment(milliseconds: bytes) -> datetime:
    return datetime.fromtimestamp(min(int(milliseconds), MAX_MILLISECONDS) / 1000, UTC)

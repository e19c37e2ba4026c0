"""Double the lanes while submissions arrive: each connector stays in its lane, or moves to the one split from it.

All of it is decided in one transaction in Postgres. What has to follow in Redis (`shared/credentials/splitting.py`) is
done here and by the sweeper: if this process dies, the sweeper completes it, and so does the next call.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from redis import Redis

from operations.audit import State, local_actor, recorded
from operations.errors import ConflictError
from shared.credentials.splitting import complete_doubling
from shared.credentials.sync import LoadingError, load_lanes, read_lanes, unready_lanes
from shared.lanes import FORMER_SECONDS, Lanes
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.names import lane_keys, lane_of
from shared.redis.primaries import ask_each
from shared.request_id import MAX_LANES
from shared.rfc3339 import rfc3339

#: Time to wait for lanes to move on, in seconds.
_PATIENCE_SECONDS: Final = 30.0
_LOOK_AGAIN_SECONDS: Final = 0.1


def double_lanes(connection: Connection, redis: Redis) -> Lanes:
    """Double the lanes, unless they were doubled a short time ago; return them.

    Raises ConflictError or RedisError with nothing changed.
    """
    for answer in ask_each(redis, (), lambda node, _: node.ping()):
        if answer.error:
            raise answer.error
    with connection.transaction():
        connection.execute(sql("lock_all_connectors"))
        lanes = read_lanes(connection, redis)
        if may_be_doubled(lanes):
            with recorded(connection, local_actor(), "lanes.double", lambda: _state(connection)):
                for lane in range(lanes.number, 2 * lanes.number):  # of a doubling that a restored Postgres forgot
                    redis.delete(lane_keys(lane).ready)
                connection.execute(sql("double_lanes"))
                _move(connection, lanes.number * 2)
    return read_lanes(connection, redis)


def may_be_doubled(lanes: Lanes) -> bool:
    """Return True if the lanes may be doubled now, False if they just were. Raises ConflictError if they never may."""
    if lanes.doubled_at and time.time() < lanes.doubled_at + FORMER_SECONDS:
        return False
    if lanes.number * 2 > MAX_LANES:
        raise ConflictError(f"There are {lanes.number} lanes, and at most {MAX_LANES} are possible.")
    return True


def again_at(lanes: Lanes) -> str:
    """Return from when on lanes may be doubled again."""
    return rfc3339(datetime.fromtimestamp(lanes.doubled_at + FORMER_SECONDS, UTC))


def complete(connection: Connection, redis: Redis) -> Iterator[list[int]]:
    """Do what is left of a doubling; yields the lanes that are not done, until none is. Raises ConflictError."""
    before, deadline = None, 0.0
    while True:
        left = complete_doubling(connection, redis)
        if unready := unready_lanes(redis, read_lanes(connection, redis)):
            with contextlib.suppress(LoadingError):  # the sweeper or an API process loads them
                load_lanes(connection, redis, unready)
        if left != before:
            before, deadline = left, time.monotonic() + _PATIENCE_SECONDS
            yield left
        if not left:
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"Nothing has moved for {_PATIENCE_SECONDS:.0f} s: {len(left)} new lanes wait for what is in their "
                "former ones. They take submissions, and apply them once those have; `ingestctl status` says why not."
            )
        time.sleep(_LOOK_AGAIN_SECONDS)


def _move(connection: Connection, lanes: int) -> None:
    """Move the connectors whose keys fall on new lanes, and store in which lane the API looks for each hook."""
    rows = connection.execute(sql("select_lanes_of_keys")).fetchall()
    now_in = {row["connector_id"]: lane_of(row["id"], lanes) for row in rows if not row["is_hook"]}
    moved = {row["connector_id"]: row["lane"] for row in rows if row["lane"] != now_in[row["connector_id"]]}
    values = {"connector_ids": list(moved), "lanes": [now_in[connector_id] for connector_id in moved]}
    connection.execute(sql("move_connectors"), values)
    hooks = [(row["id"], lane_of(row["id"], lanes)) for row in rows if row["is_hook"]]
    connection.execute(sql("move_hooks"), {"hook_ids": [one for one, _ in hooks], "lanes": [lane for _, lane in hooks]})


def _state(connection: Connection) -> State:
    return {"lanes": {"number": connection.execute(sql("count_lanes")).fetchall()[0]["lanes"]}}

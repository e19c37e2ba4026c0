"""Complete a doubling of the lanes, step by step: each step may be done again, by any process, at any time.

`operations/lanes.py` doubles the lanes in one transaction in Postgres. From then on the former lane of each new one has
to be closed to processes that know the old number: they would append what the moved connectors send there. What they
appended before stands in the former lane, up to the id that it had when it was closed. Above it, the new lane begins,
and nothing of it is applied before the former lane has applied the rest, so the order is kept.

A lane is loaded (`sync.py`) once that id is known. Its marker names the number of lanes: a process that knows another
number is answered `not_ready`, reads the number again, and goes on.
"""

from __future__ import annotations

from typing import Any

from redis import Redis

from shared.lanes import Lanes
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.connections import UNAVAILABLE
from shared.redis.names import lane_keys
from shared.redis.scripts import Scripts
from shared.request_id import position_of_entry, position_of_version


def complete_doubling(connection: Connection, redis: Redis) -> list[int]:
    """Take the next step of each lane that is being split; return those that are not done.

    Raises psycopg.Error. A lane whose former one is on a node that is away waits for it.
    """
    scripts, left = Scripts(redis), []
    for row in connection.execute(sql("select_unfinished_lanes")).fetchall():
        try:
            if not _step(connection, scripts, row):
                left.append(row["lane"])
        except UNAVAILABLE:
            left.append(row["lane"])
    return left


def _step(connection: Connection, scripts: Scripts, row: dict[str, Any]) -> bool:
    """Split a lane off, or end its wait; return True if it is done."""
    version = row["split_version"]
    if version is None:
        connection.execute(sql("split_lane"), {"lane": row["lane"], "version": _close(scripts, row)})
        return False
    if not _has_caught_up(scripts, row):
        return False
    connection.execute(sql("end_wait"), {"lane": row["lane"], "version": version})
    return True


def _close(scripts: Scripts, row: dict[str, Any]) -> int:
    """Close the former lane to processes that know the old number; return the highest version that it may hold."""
    keys = lane_keys(row["split_from"])
    last: bytes = scripts("close_lane", [keys.ready, keys.loading, keys.stream], [Lanes(row["number"]).suffix])
    return max(position_of_entry(row["split_from"], last).version, int(row["former_version"]))


def _has_caught_up(scripts: Scripts, row: dict[str, Any]) -> bool:
    """Return True if the former lane holds nothing up to the version at which it was closed."""
    keys = lane_keys(row["split_from"])
    after = position_of_version(row["split_from"], row["split_version"] + 1).entry_id
    return not scripts("count_ahead", [keys.stream, keys.large], [after, 1])

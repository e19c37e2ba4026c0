"""Synchronise Redis' copy of the credentials with Postgres, and reload a Redis that lost its memory.

Postgres is the truth. Redis holds a copy of every credential and, per lane, a marker that the copy is complete, so that
an unknown key is refused without a query to Postgres. Until a lane is marked ready, the append script returns
`not_ready` and the API answers 503.

A revoked key must never come back: a loader could read Postgres, a rotation could revoke the key and return, and the
loader could then write what it read. Two guards prevent it. Each connector has a generation, which is raised in Redis
*before* Postgres commits; the scripts ignore older readings. And a loader puts a token into Redis before it reads: the
token is lost with Redis' memory, as the generations are, so what was read before a restart cannot be written after it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from redis import Redis
from redis.exceptions import ResponseError

from shared.causes import NotNowError
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.names import GROUP, LANES, lane_keys
from shared.redis.scripts import Scripts
from shared.request_id import MAX_LANES, position_of_version

#: Life of a loader's token in milliseconds.
_TOKEN_LIFE_MS: Final = 30_000
#: Maximum number of credentials in one call of a script, which holds up Redis meanwhile.
_CREDENTIALS_PER_CALL: Final = 500
_ATTEMPTS: Final = 5


class NotMigratedError(NotNowError):
    """The database has no lanes: run `ingestctl migrate`."""

    def __init__(self) -> None:
        super().__init__("The database is not migrated: run `ingestctl migrate`.")


class LoadingError(NotNowError):
    """Other loaders took over every attempt; one of them, or the next attempt, will load the lane."""


def count_lanes(connection: Connection, redis: Redis) -> int:
    """Return the number of lanes from Postgres, and copy it to Redis for processes that start without Postgres.

    Raises NotMigratedError if there are none.
    """
    rows = connection.execute(sql("count_lanes")).fetchall()
    lanes = int(rows[0]["lanes"])
    if lanes == 0:
        raise NotMigratedError
    redis.set(LANES, lanes)
    return lanes


def copied_lanes(redis: Redis) -> int:
    """Return the number of lanes as copied to Redis, 0 if there is no copy that makes sense."""
    try:
        lanes = int(redis.get(LANES) or 0)
    except ValueError:
        return 0
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return 0
    return lanes if 0 < lanes <= MAX_LANES else 0


def unready_lanes(redis: Redis, lanes: int) -> list[int]:
    """Return the lanes whose credentials this Redis does not hold completely."""
    pipeline = redis.pipeline(transaction=False)
    for lane in range(lanes):
        pipeline.exists(lane_keys(lane).ready, lane_keys(lane).stream)
    return [lane for lane, found in enumerate(pipeline.execute()) if found < 2]  # noqa: PLR2004 - the two keys


def load_lanes(connection: Connection, redis: Redis, lanes: Sequence[int]) -> None:
    """Copy the credentials of `lanes` from Postgres and mark the lanes ready. Safe beside other loaders and rotations.

    Raises LoadingError.
    """
    scripts = Scripts(redis)
    for lane in lanes:
        if not any(_load_lane(connection, redis, scripts, lane) for _ in range(_ATTEMPTS)):
            raise LoadingError(f"Lane {lane} is being loaded by another process.")


def reconcile_lane(connection: Connection, redis: Redis, lane: int) -> int:
    """Load a lane and revoke every key that Postgres does not know. Return the number of revoked keys.

    Redis may have come back in an earlier state (a failover, a restored copy). Its keys are read first: a key that is
    not current in Postgres afterwards was revoked meanwhile, or should have been.
    """
    keys = lane_keys(lane)
    members: set[Any] = redis.smembers(keys.key_ids)
    held = {key_id.decode() for key_id in members}
    load_lanes(connection, redis, [lane])
    rows = connection.execute(sql("select_lane_credentials"), {"lane": lane}).fetchall()
    stale = held - {row["key_id"] for row in rows}
    if stale:
        pipeline = redis.pipeline()
        pipeline.delete(*(keys.credential(key_id) for key_id in stale))
        pipeline.srem(keys.key_ids, *stale)
        pipeline.execute()
    return len(stale)


def forget_ready(redis: Redis, lane: int) -> None:
    """Remove a lane's ready marker, so that it is loaded again: its consumer group is gone."""
    redis.delete(lane_keys(lane).ready)


def _load_lane(connection: Connection, redis: Redis, scripts: Scripts, lane: int) -> bool:
    """Load one lane. Return False if another loader, or a restart of Redis, took the token away."""
    keys, token = lane_keys(lane), secrets.token_hex(8)
    redis.set(keys.loading, token, px=_TOKEN_LIFE_MS)
    with connection.transaction():
        rows = connection.execute(sql("select_lane_credentials"), {"lane": lane}).fetchall()
        applied = connection.execute(sql("select_applied_version"), {"lane": lane}).fetchall()
    floor = position_of_version(lane, applied[0]["applied_version"])
    parts = [rows[start : start + _CREDENTIALS_PER_CALL] for start in range(0, len(rows) or 1, _CREDENTIALS_PER_CALL)]
    for number, part in enumerate(parts, start=1):
        names = [keys.loading, keys.ready, keys.stream, keys.generations, keys.key_ids]
        names += [keys.credential(row["key_id"]) for row in part]
        arguments = [token, "1" if number == len(parts) else "0", GROUP, floor.milliseconds, floor.sequence]
        arguments += [value for row in part for value in _credential_arguments(row)]
        if not scripts("load_lane", names, arguments):
            return False
    return True


def _credential_arguments(row: dict[str, Any]) -> list[Any]:
    return [row["connector_id"], row["generation"], row["digest"].hex(), row["rate"], row["burst"], row["key_id"]]


def put_credential(scripts: Scripts, lane: int, row: dict[str, Any]) -> None:
    """Store a connector's current credential. `row`: as `select_lane_credentials` returns it."""
    keys = lane_keys(lane)
    names = [keys.generations, keys.key_ids, keys.credential(row["key_id"])]
    scripts("put_credential", names, _credential_arguments(row))


def revoke_credential(scripts: Scripts, lane: int, *, connector_id: int, generation: int, key_id: str) -> None:
    """Delete a credential: it is refused from now on, and no loader that read Postgres before brings it back."""
    keys = lane_keys(lane)
    names = [keys.generations, keys.key_ids, keys.credential(key_id)]
    scripts("revoke_credential", names, [connector_id, generation, key_id])

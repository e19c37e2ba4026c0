"""Keeps Redis' copy of the credentials, and reloads a Redis that lost its memory.

Postgres is the truth. Redis holds a copy of every credential and, per lane, a marker that the copy is complete, so that
an unknown key is refused without asking Postgres. Until a lane is marked ready the append script answers `not_ready`
and the API 503.

What could go wrong is an old key coming back: a loader reads Postgres, a rotation strikes the key and returns, the
loader writes what it read. Two guards stand against it. A generation per connector, raised in Redis *before* Postgres
commits, makes the script ignore older readings. And a loader's token, put into Redis before it reads, dies with Redis'
memory, and the generations with it: what was read before a restart can't be written after it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final

from redis import Redis

from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.names import GROUP, LANES, lane_keys
from shared.redis.scripts import Scripts
from shared.request_id import position_of_version

_TOKEN_LIFE_MS: Final = 30_000
_CREDENTIALS_A_CALL: Final = 500
_ATTEMPTS: Final = 5


class NotMigratedError(Exception):
    """The database has no lanes: run `ingestctl migrate`."""

    def __init__(self) -> None:
        super().__init__("The database is not migrated: run `ingestctl migrate`.")


class LoadingError(Exception):
    """Other loaders kept getting in the way; the lane will be loaded by one of them, or at the next attempt."""


def count_lanes(connection: Connection, redis: Redis) -> int:
    """How many lanes there are, from Postgres; leaves a copy in Redis for processes that start without Postgres."""
    rows = connection.execute(sql("count_lanes")).fetchall()
    lanes = int(rows[0]["lanes"])
    if lanes == 0:
        raise NotMigratedError
    redis.set(LANES, lanes)
    return lanes


def unready_lanes(redis: Redis, lanes: int) -> list[int]:
    """Lanes whose credentials this Redis does not hold completely."""
    pipeline = redis.pipeline(transaction=False)
    for lane in range(lanes):
        pipeline.exists(lane_keys(lane).ready, lane_keys(lane).stream)
    return [lane for lane, found in enumerate(pipeline.execute()) if found < 2]  # noqa: PLR2004 - the two keys asked for


def load_lanes(connection: Connection, redis: Redis, lanes: Sequence[int]) -> None:
    """Loads the credentials of `lanes` from Postgres and marks them ready. Safe beside other loaders and rotations."""
    scripts = Scripts(redis)
    for lane in lanes:
        if not any(_load_lane(connection, redis, scripts, lane) for _ in range(_ATTEMPTS)):
            raise LoadingError(f"Lane {lane} is being loaded by another process.")


def reconcile_lane(connection: Connection, redis: Redis, lane: int) -> int:
    """Makes Redis hold what Postgres does: it may have come back as it was some time ago (a failover, a restored copy).

    What Redis holds is read first: a key that was there, and is not current in Postgres afterwards, was struck since,
    or should have been. Returns how many were struck.
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
    """Makes a lane unready, so that it is loaded again: its consumer group is gone."""
    redis.delete(lane_keys(lane).ready)


def _load_lane(connection: Connection, redis: Redis, scripts: Scripts, lane: int) -> bool:
    token = secrets.token_hex(8)
    redis.set(lane_keys(lane).loading, token, px=_TOKEN_LIFE_MS)
    with connection.transaction():
        rows = connection.execute(sql("select_lane_credentials"), {"lane": lane}).fetchall()
        applied = connection.execute(sql("select_applied_version"), {"lane": lane}).fetchall()
    floor = position_of_version(lane, applied[0]["applied_version"])
    parts = list(_parts(rows))
    return all(
        scripts(
            "load_lane",
            _load_keys(lane, part),
            [
                token,
                "1" if number == len(parts) else "0",
                GROUP,
                floor.milliseconds,
                floor.sequence,
                *(value for row in part for value in _credential_arguments(row)),
            ],
        )
        for number, part in enumerate(parts, start=1)
    )


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, max(len(rows), 1), _CREDENTIALS_A_CALL):
        yield rows[start : start + _CREDENTIALS_A_CALL]


def _load_keys(lane: int, rows: list[dict[str, Any]]) -> list[str]:
    keys = lane_keys(lane)
    fixed = [keys.loading, keys.ready, keys.stream, keys.generations, keys.key_ids]
    return [*fixed, *(keys.credential(row["key_id"]) for row in rows)]


def _credential_arguments(row: dict[str, Any]) -> list[Any]:
    return [row["connector_id"], row["generation"], row["digest"].hex(), row["rate"], row["burst"], row["key_id"]]


def put_credential(scripts: Scripts, lane: int, row: dict[str, Any]) -> None:
    """Puts one connector's current credential in. `row` as `select_lane_credentials` has it."""
    keys = lane_keys(lane)
    names = [keys.generations, keys.key_ids, keys.credential(row["key_id"])]
    scripts("put_credential", names, _credential_arguments(row))


def revoke_credential(scripts: Scripts, lane: int, *, connector_id: int, generation: int, key_id: str) -> None:
    """Takes a credential out: from here on nobody is let in with it, and no older reading brings it back."""
    keys = lane_keys(lane)
    names = [keys.generations, keys.key_ids, keys.credential(key_id)]
    scripts("revoke_credential", names, [connector_id, generation, key_id])

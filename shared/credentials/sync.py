"""Synchronise Redis' copy of the credentials with Postgres, and reload a Redis that lost its memory.

Postgres is the truth. Redis holds a copy of every credential and hook and, per lane, a marker that the copy was
compared with Postgres, so that an unknown key is refused without a query to Postgres. Until a lane is marked ready, the
append script returns `not_ready` and the API answers 503. The marker names the server on which the copy was compared: a
replica that is promoted, and a server that is started on an older file, hold a marker that says nothing about them.

A revoked key must never come back: a loader could read Postgres, a rotation could revoke the key and return, and the
loader could then write what it read. Two guards prevent it. Each connector has a generation, which is raised in Redis
*before* Postgres commits; the scripts ignore older readings. And a loader puts a token into Redis before it reads: the
token is lost with Redis' memory, as the generations are, so what was read before a restart cannot be written after it.

After Postgres was restored from an older dump, generations in Redis are higher than the truth. They are lowered only
under the connector's lock in Postgres, which a change holds from before it raises the generation until it has
committed: so no change is under way, and Postgres will not follow. That Postgres was restored is noticed by its
revision, a random value for each lane that each change of a connector replaces.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from redis import Redis

from shared.causes import NOT_MIGRATED, NotNowError
from shared.lanes import NOT_YET, Lanes
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.connections import UNAVAILABLE, server_of
from shared.redis.names import GROUP, LaneKeys, lane_keys, lane_of
from shared.redis.numbers import add_corrections, copy_lanes
from shared.redis.primaries import ask_each, lanes_by_node, told_by_any
from shared.redis.scripts import Scripts
from shared.request_id import position_of_version

log = structlog.get_logger()

#: Life of a loader's token in milliseconds.
_TOKEN_LIFE_MS: Final = 30_000
#: Maximum number of credentials in one call of a script, which holds up Redis meanwhile.
_CREDENTIALS_PER_CALL: Final = 500
_ATTEMPTS: Final = 5
#: Longest pause between two of them, in seconds; without one, two loaders could take the token from each other forever.
_LONGEST_PAUSE_SECONDS: Final = 0.1


class NotMigratedError(NotNowError):
    """The database has no lanes: run `ingestctl migrate`."""

    def __init__(self) -> None:
        super().__init__(NOT_MIGRATED)


class LoadingError(NotNowError):
    """Other loaders took over every attempt; one of them, or the next attempt, will load the lane."""


def read_lanes(connection: Connection, redis: Redis) -> Lanes:
    """Return how many lanes there are from Postgres, and copy it to Redis.

    Raises NotMigratedError if there are none.
    """
    lanes = _select_lanes(connection)
    if not lanes.number:
        raise NotMigratedError
    copy_lanes(redis, lanes)
    return lanes


def _select_lanes(connection: Connection) -> Lanes:
    row = connection.execute(sql("select_layout")).fetchall()[0]
    return Lanes(row["lanes"], NOT_YET if row["is_splitting"] else row["doubled_at"] or 0)


def count_lanes(connection: Connection, redis: Redis) -> int:
    """Return the number alone."""
    return read_lanes(connection, redis).number


def unready_lanes(redis: Redis, lanes: Lanes) -> list[int]:
    """Return the lanes whose credentials were not compared with Postgres on the server that has them now.

    Those of a node that is away are among them. Raises RedisError if no server answers.
    """
    answers = ask_each(redis, range(lanes.number), partial(unready_on, lanes))
    unready = [lane for lanes in told_by_any(answers) for lane in lanes]
    return sorted(unready + [lane for answer in answers if answer.error for lane in answer.lanes])


def unready_on(lanes: Lanes, node: Redis, part: Sequence[int]) -> list[int]:
    """Return the lanes of one server whose credentials were not compared with Postgres on it."""
    marker = lanes.marker(server_of(node)).encode()
    pipeline = node.pipeline(transaction=False)
    for lane in part:
        pipeline.get(lane_keys(lane).ready)
        pipeline.exists(lane_keys(lane).stream)
    found = iter(pipeline.execute(raise_on_error=False))  # a key of another type, which no process of ours has written
    return [lane for lane in part if [next(found), next(found)] != [marker, 1]]


def outdated_lanes(connection: Connection, redis: Redis) -> list[int]:
    """Return the lanes that are unready, or whose credentials have changed in Postgres since they were compared."""
    held = {row["lane"]: row["revision"] for row in connection.execute(sql("select_revisions")).fetchall()}

    def changed_on(node: Redis, lanes: list[int]) -> list[int]:
        pipeline = node.pipeline(transaction=False)
        for lane in lanes:
            pipeline.get(lane_keys(lane).revision)
        found = pipeline.execute(raise_on_error=False)
        return [lane for lane, revision in zip(lanes, found, strict=True) if revision != held[lane].encode()]

    changed = (lane for lanes in told_by_any(ask_each(redis, list(held), changed_on)) for lane in lanes)
    return sorted({*changed, *unready_lanes(redis, read_lanes(connection, redis))})


def load_lanes(connection: Connection, redis: Redis, lanes: Iterable[int]) -> int:
    """Make Redis' credentials of `lanes` those of Postgres, and mark the lanes ready. Return how many were corrected.

    Safe beside other loaders and changes. Raises LoadingError; and, after the lanes of the others, RedisError for a
    node that is away.
    """
    corrected, away = 0, None
    for node, part in lanes_by_node(redis, [*lanes]):
        try:
            corrected += _load_part(connection, node, part)
        except UNAVAILABLE as error:
            away = error
    if corrected:
        add_corrections(redis, corrected)
    if away:
        raise away
    return corrected


def _load_part(connection: Connection, node: Redis, lanes: list[int]) -> int:
    """Load the lanes of one server."""
    corrected = 0
    # On one connection: others may lead to another server, during a failover.
    with node.client() as one:  # type: ignore[no-untyped-call] # untyped in redis-py
        server, scripts = server_of(one), Scripts(one)
        for lane in lanes:
            corrected += _load_in_turn(connection, one, scripts, lane, server)
    return corrected


def _load_in_turn(connection: Connection, redis: Redis, scripts: Scripts, lane: int, server: str) -> int:
    """Load one lane, perhaps beside another loader. Raises LoadingError."""
    for _ in range(_ATTEMPTS):
        corrected = _load_lane(connection, redis, scripts, lane, server)
        if corrected is not None:
            return corrected
        time.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 - no secret
    raise LoadingError(f"Lane {lane} is being loaded by another process.")


def forget_ready(redis: Redis, lane: int) -> None:
    """Remove a lane's ready marker, so that it is loaded again: its consumer group is gone."""
    redis.delete(lane_keys(lane).ready)


def _load_lane(connection: Connection, redis: Redis, scripts: Scripts, lane: int, server: str) -> int | None:
    """Load one lane. Return None if another loader, or a restart of Redis, took the token away."""
    keys, token = lane_keys(lane), secrets.token_hex(8)
    redis.set(keys.loading, token, px=_TOKEN_LIFE_MS)
    # Before Postgres: a key that is not current there afterwards was revoked meanwhile, or should have been.
    members = _key_ids(redis, keys)
    with connection.transaction():
        # First of all: a change that is read although its revision is not is read again.
        state = connection.execute(sql("select_lane_state"), {"lane": lane}).fetchall()[0]
        rows = select_credentials(connection, lane)
        # Last: rows of after a doubling must not be taken for those of before it.
        lanes = _select_lanes(connection)
    if state["is_splitting"]:  # `splitting.py` has to close the former lane first
        return 0
    marker = lanes.marker(server)
    if lanes.doubled_at and _content(redis, keys.ready) != marker.encode():
        # Processes that know fewer lanes must not take connectors that moved to another lane for unknown.
        redis.delete(keys.ready)
    ahead = _store(scripts, keys, token, rows)
    if ahead is None:
        return None
    stale = members - {row["key_id"].encode() for row in rows}
    lowered = [connector_id for connector_id in sorted(set(ahead)) if _lower(connection, scripts, lane, connector_id)]
    _revoke_stale(redis, keys, stale)
    floor = position_of_version(lane, state["applied_version"])
    names = [keys.loading, keys.ready, keys.revision, keys.stream, keys.backlog]
    if not scripts("mark_ready", names, [token, marker, state["revision"], GROUP, floor.milliseconds, floor.sequence]):
        return None
    if lanes.doubled_at:  # else none has moved
        stale = {key_id for key_id in stale if lane_of(key_id.decode(errors="replace"), lanes.number) == lane}
    if stale:
        log.error("stale_credentials_revoked", lane=lane, credentials=len(stale))
    if lowered:
        log.error("credentials_put_back", lane=lane, connector_ids=lowered)
    return len(stale) + len(lowered)


def _store(scripts: Scripts, keys: LaneKeys, token: str, rows: list[dict[str, Any]]) -> list[int] | None:
    """Store credentials in parts. Return the connectors whose generation in Redis is higher; None without the token."""
    ahead: list[int] = []
    for start in range(0, len(rows), _CREDENTIALS_PER_CALL):
        part = rows[start : start + _CREDENTIALS_PER_CALL]
        names = [keys.loading, keys.generations, keys.key_ids, *(keys.credential(row["key_id"]) for row in part)]
        found = scripts("load_lane", names, [token, *(value for row in part for value in _credential_arguments(row))])
        if found is None:
            return None
        ahead += map(int, found)
    return ahead


def _lower(connection: Connection, scripts: Scripts, lane: int, connector_id: int) -> bool:
    """Store what a connector has although Redis knows a newer generation; False if a change is under way."""
    with connection.transaction():
        values = {"lane": lane, "connector_id": connector_id}
        if not connection.execute(sql("lock_lane_connector"), values).fetchall():
            return False
        for row in select_credentials(connection, lane, connector_id):
            put_credential(scripts, lane, row, lower=True)
    return True


def _content(redis: Redis, key: str) -> Any:
    """Return a key's content, or the error if it is no string."""
    pipeline = redis.pipeline()
    pipeline.get(key)
    return pipeline.execute(raise_on_error=False)[0]


def _key_ids(redis: Redis, keys: LaneKeys) -> set[bytes]:
    """Return the key ids that the lane holds: none if the key is no set, which the script then replaces."""
    if redis.type(keys.key_ids) != b"set":
        return set()
    found: Any = redis.smembers(keys.key_ids)
    return set(found)


def _revoke_stale(redis: Redis, keys: LaneKeys, stale: set[bytes]) -> None:
    if stale:
        pipeline = redis.pipeline()
        pipeline.delete(*(keys.credential("").encode() + key_id for key_id in stale))
        pipeline.srem(keys.key_ids, *stale)
        pipeline.execute()


def _credential_arguments(row: dict[str, Any]) -> list[Any]:
    numbers = [row["connector_id"], row["generation"], row["digest"].hex(), row["rate"], row["burst"]]
    return [*numbers, row["key_id"], row["hook"]]


def select_credentials(connection: Connection, lane: int, connector_id: int | None = None) -> list[dict[str, Any]]:
    """Return what Redis must hold for a lane, or for one connector of it: a row for each credential and hook."""
    values = {"lane": lane, "connector_id": connector_id}
    return connection.execute(sql("select_lane_credentials"), values).fetchall()


def put_credential(scripts: Scripts, lane: int, row: dict[str, Any], *, lower: bool = False) -> bool:
    """Store a connector's current credential, or one of its hooks. `row`: as `select_credentials` returns it.

    Return False if Redis knows a newer generation and `lower` is not set: load the lane then.
    """
    keys = lane_keys(lane)
    names = [keys.generations, keys.key_ids, keys.credential(row["key_id"]), keys.revision]
    return bool(scripts("put_credential", names, [*_credential_arguments(row), int(lower)]))


def revoke_credentials(
    scripts: Scripts, lane: int, *, connector_id: int, generation: int, key_ids: Sequence[str]
) -> bool:
    """Delete a connector's credential, or hooks: they are refused from now on, and no loader brings them back.

    Return False if Redis knows a newer generation, which may have another key: load the lane then.
    """
    keys = lane_keys(lane)
    names = [keys.generations, keys.key_ids, keys.revision, *map(keys.credential, key_ids)]
    return bool(scripts("revoke_credential", names, [connector_id, generation, *key_ids]))

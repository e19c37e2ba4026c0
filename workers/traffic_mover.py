"""Moves what processes have counted from Redis to Postgres: a chore of the sweeper.

A move is set aside in Redis under an id, and its rows are written with that id in one transaction. So what is killed in
between is moved once all the same.
"""

from __future__ import annotations

import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import add
from typing import Any, Final

import msgspec
import psycopg
import structlog
from psycopg.sql import SQL, Identifier
from redis import Redis

from shared.postgres.connections import Connection
from shared.postgres.errors import is_transient
from shared.postgres.queries import sql
from shared.redis.names import MOVING_REFUSALS, MOVING_TRAFFIC, REFUSALS, TRAFFIC
from shared.redis.scripts import Scripts
from shared.traffic import COUNTERS, KEPT_REFUSALS, Refusal, refusals_in
from workers import metrics

log = structlog.get_logger()

#: Interval between moves, in seconds.
MOVE_SECONDS: Final = 10.0
_MS_PER_MINUTE: Final = 60_000
_MINUTES_PER_HOUR: Final = 60
#: Fields as add_traffic.lua writes them.
_FIELD: Final = re.compile(rb"(\d{1,8}) (\d{1,18})(?: ([a-z_]{1,64}))?")
_COUNTERS: Final = re.compile(rb"\d{1,16}(?: \d{1,16})*")
#: Fields of one reply of Redis.
_FIELDS_AT_ONCE: Final = 1_000

#: Counters by connector, minute since 1970, and code.
Counts = dict[tuple[int, int, str], list[int]]


class TrafficMover:
    """Moves what was counted, once `move` is called."""

    def __init__(
        self, redis: Redis, connection: Callable[[], Connection], acts: Callable[[], bool], keep_days: int
    ) -> None:
        """`acts`: whether this process has the sweeper's lease."""
        self._redis = redis
        self._scripts = Scripts(redis)
        self._connection = connection
        self._acts = acts
        self._keep_days = keep_days

    def move(self) -> None:
        """Move what has been counted so far. Raises psycopg.Error or RedisError.

        What Postgres can never take, since it was written by hand, is discarded.
        """
        if not self._acts():
            return
        names = [TRAFFIC, REFUSALS, MOVING_TRAFFIC, MOVING_REFUSALS]
        move = self._scripts("take_traffic", names, [secrets.token_hex(8)])
        if not move:
            return
        fields = dict(self._redis.hscan_iter(MOVING_TRAFFIC, count=_FIELDS_AT_ONCE))
        texts: Any = self._redis.lrange(MOVING_REFUSALS, 0, -1)
        try:
            store(self._connection(), move.decode(), counts_in(fields), list(refusals_in(texts)), self._keep_days)
        except psycopg.Error as error:
            if is_transient(error):
                raise
            log.exception("traffic_discarded", fields=len(fields), refusals=len(texts))
        if self._redis.hget(MOVING_TRAFFIC, "move") == move:  # else a sweeper that took over has begun the next one
            self._redis.delete(MOVING_TRAFFIC, MOVING_REFUSALS)


def store(connection: Connection, move: str, counts: Counts, refusals: list[Refusal], keep_days: int) -> None:
    """Write a move to Postgres, unless it was written before. Raises psycopg.Error."""
    with connection.transaction():
        if not connection.execute(sql("record_traffic_move"), {"move": move}).fetchall():
            return
        for table, found in (("traffic_minutes", counts), ("traffic_hours", _by_hour(counts))):
            query = SQL(sql("add_traffic").decode()).format(table=Identifier(table))
            connection.execute(query, {"rows": _json(_row(*key, row) for key, row in found.items())})
        if refusals:
            inserted = connection.execute(sql("insert_refusals"), {"rows": _json(_values(one) for one in refusals)})
            for row in inserted:
                metrics.REFUSALS.labels(row["code"], row["reason"] or "").inc()
            connection.execute(sql("delete_refusals"), {"most": KEPT_REFUSALS, "days": keep_days})


def counts_in(fields: dict[bytes, bytes]) -> Counts:
    """Return the counters that Redis holds; what no process of ours has written is skipped."""
    found: Counts = {}
    for name, text in fields.items():
        field = _FIELD.fullmatch(name)
        if field and _COUNTERS.fullmatch(text):
            numbers = [*map(int, text.split()), *([0] * len(COUNTERS))][: len(COUNTERS)]
            found[int(field[2]), int(field[1]), (field[3] or b"").decode()] = numbers
    return found


def _by_hour(counts: Counts) -> Counts:
    hours: Counts = defaultdict(lambda: [0] * len(COUNTERS))
    for (connector_id, minute, code), row in counts.items():
        known = hours[connector_id, minute - minute % _MINUTES_PER_HOUR, code]
        longest = max(known[-1], row[-1])
        known[:] = [*map(add, known[:-1], row[:-1]), longest]
    return hours


def _row(connector_id: int, minute: int, code: str, row: list[int]) -> dict[str, Any]:
    version = minute * _MS_PER_MINUTE << 20
    return {"connector_id": connector_id, "version": version, "code": code, **dict(zip(COUNTERS, row, strict=True))}


def _values(refusal: Refusal) -> dict[str, Any]:
    # Postgres' text holds no U+0000.
    values = msgspec.structs.asdict(refusal)
    return {name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in values.items()}


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()

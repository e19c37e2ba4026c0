"""The rows of a large installation, made by SQL: connectors that send, are refused, late, dead, quiet or silent.

How they came there makes no difference to what the console reads afterwards. `{…}` are numbers of `Scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from redis import Redis

from benchmarks.measure import Say
from shared.redis.names import lane_keys

#: Of this many connectors one each is late, dead, refused, quiet, and was never heard of.
_ONE_IN: Final = 50
_VERSION: Final = "(extract(epoch FROM {moment}) * 1000)::bigint << 20"
_MINUTE: Final = _VERSION.format(moment="date_trunc('minute', now()) - minute * interval '1 minute'")
_HOUR: Final = _VERSION.format(moment="date_trunc('hour', now()) - hour * interval '1 hour'")
_AGO: Final = _VERSION.format(moment="now() - number * interval '20 milliseconds'")


@dataclass(frozen=True)
class Scale:
    """How many rows there are."""

    connectors: int
    #: Items in the table; items for which the statistics are scaled.
    items: int
    told_items: int

    @property
    def largest(self) -> int:
        """Items of the first connector, which has the most: two fifths of all."""
        return self.items * 2 // 5

    @property
    def each(self) -> int:
        """Items in each of the two streams of every other connector."""
        return (self.items - self.largest) // (2 * self.connectors)


_ITEM: Final = """
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT {connector}, {stream}, 'agent-' || lpad(number::text, 8, '0'), 'Alice Smith ' || number,
       '{{{{"state": "Ready", "queue": "Sales", "calls": 10}}}}', '{{{{"site": "Londonderry"}}}}', 0, now()
FROM {source}
"""
_COUNTS: Final = """
SELECT connector_id, {version}, code, 3, CASE code WHEN '' THEN 30 ELSE 0 END, 6000,
       CASE WHEN code <> '' OR connector_id % {one_in} = 2 THEN 1 ELSE 0 END, 30, 0, 0, 0,
       CASE WHEN connector_id % {one_in} = 3 THEN 90000 ELSE 40 END
FROM connectors, generate_series(0, {last}) AS {step}, (VALUES (''), ('nested_value')) AS codes (code)
WHERE connector_id % {one_in} > 1 AND (code = '' OR connector_id % {one_in} = 2)
ON CONFLICT DO NOTHING
"""
_STATEMENTS: Final = {
    "items of the largest connector": _ITEM.format(
        connector=1, stream="'agents'", source="generate_series(1, {largest}) AS number"
    ),
    "items of the others": _ITEM.format(
        connector="connector_id",
        stream="stream",
        source="connectors, (VALUES ('agents'), ('queues')) AS streams (stream), generate_series(1, {each}) AS number",
    )
    + "WHERE connector_id > 1",
    "traffic by the minute": "INSERT INTO traffic_minutes "
    + _COUNTS.format(version=_MINUTE, step="minute", last="{minutes}", one_in="{one_in}"),
    "traffic by the hour": "INSERT INTO traffic_hours "
    + _COUNTS.format(version=_HOUR, step="hour", last="{hours}", one_in="{one_in}"),
    "receipts": "INSERT INTO receipts (connector_id, version, lane, kind, received) "
    "SELECT number % {connectors} + 1, {ago}, 0, 'items', 10 "
    "FROM generate_series(1, {receipts}) AS number ON CONFLICT DO NOTHING",
    "dead letters": "INSERT INTO dead_letters (connector_id, version, lane, meta, received, body, reason, detail, "
    "fingerprint, died_at) "
    'SELECT number * {one_in} % {connectors} + 4, {ago}, 0, \'{{"kind": "items"}}\', 10, '
    "convert_to(repeat('x', 2000), 'UTF8'), '22003', 'value out of range', 'cause-' || number % 7, "
    "now() - number * interval '20 milliseconds' "
    "FROM generate_series(1, {dead}) AS number ON CONFLICT DO NOTHING",
    "refusals": "INSERT INTO refusals (at, request_id, connector_id, route, stream, code, path, message, skipped) "
    "SELECT now() - number * interval '1 second', 'req_' || lpad(number::text, 14, '0'), "
    "number % ({connectors} / {one_in}) * {one_in} + 2, '/api/ingest', 'agents', 'nested_value', "
    "'$.items[' || number % 100 || '].fields.notes', 'A value must be a primitive.', 3 "
    "FROM generate_series(1, {refusals}) AS number",
    "log entries": "INSERT INTO connector_logs (connector_id, version, index, logged_at, level, message, context) "
    "SELECT number % {connectors} + 1, {ago}, 0, now(), 'info', 'synchronized 10 agents', "
    "'{{}}' FROM generate_series(1, {logs}) AS number ON CONFLICT DO NOTHING",
    "audit": "INSERT INTO audit (actor_kind, actor, action, subject, before, after) "
    "SELECT 'operator', 'anna', 'connector.change', 'connector ' || number % {connectors} + 1, "
    "'{{\"rate\": 10}}', '{{\"rate\": 20}}' FROM generate_series(1, {audit}) AS number",
    "signs of life": "INSERT INTO connector_liveness "
    "SELECT connector_id, now() - CASE WHEN connector_id % {one_in} = 1 THEN interval '3 hours' ELSE interval '0' END "
    "FROM connectors WHERE connector_id % {one_in} > 0 ON CONFLICT DO NOTHING",
    "ages": "UPDATE connectors SET created_at = now() - interval '90 days'",
}


def fill(database_url: str, redis: Redis, lanes: int, scale: Scale, say: Say) -> None:
    """Insert the rows, read statistics, and scale those of the items."""
    numbers: dict[str, object] = {
        "ago": _AGO,
        "connectors": scale.connectors,
        "largest": scale.largest,
        "each": scale.each,
        "one_in": _ONE_IN,
        "minutes": 70,
        "hours": 7 * 24,
        "receipts": scale.items // 5,
        "logs": scale.items // 10,
        "dead": 2 * scale.connectors,
        "refusals": 10_000,
        "audit": 2 * scale.connectors,
    }
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        for name, statement in _STATEMENTS.items():
            count = connection.execute(statement.format(**numbers).encode()).rowcount
            say(f"{count:,} rows: {name}")
        connection.execute("VACUUM (ANALYZE)")
        _scale_statistics(connection, scale)
        _sign(connection, redis, lanes)


def _scale_statistics(connection: psycopg.Connection, scale: Scale) -> None:
    """Make the planner and the engine room see `told_items` items: rows and pages of the table and its index.

    The planner multiplies the pages that it finds by the rows to a page of the catalogue: rows alone are raised.
    """
    connection.execute(b"ALTER TABLE items SET (autovacuum_enabled = off)")
    connection.execute(
        b"UPDATE pg_class SET reltuples = reltuples * %s WHERE oid = 'items'::regclass "
        b"OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'items'::regclass)",
        [scale.told_items / scale.items],
    )


def _sign(connection: psycopg.Connection, redis: Redis, lanes: int) -> None:
    """Tell Redis what Postgres knows of the signs of life."""
    query = (
        b"SELECT lane, connector_id, extract(epoch FROM last_seen_at) * 1000 AS at "
        b"FROM connector_liveness JOIN connectors USING (connector_id)"
    )
    found: dict[int, dict[str, int]] = {}
    for lane, connector_id, at in connection.execute(query).fetchall():
        found.setdefault(lane, {})[str(connector_id)] = int(at)
    for lane in range(lanes):
        if lane in found:
            redis.hset(lane_keys(lane).seen, mapping=found[lane])  # type: ignore[arg-type] # of redis-py

"""Tools for tests of partitions: list them, insert rows of any moment, find the partition of a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.postgres.connections import Connection
from shared.postgres.queries import sql

NOON = datetime(2031, 5, 15, 12, tzinfo=UTC)  # a Thursday
DAY = timedelta(days=1)
KEEP = {"receipts": 7, "connector_logs": 30, "dead_letters": 90}


def names(connection: Connection, table: str = "") -> list[str]:
    """Return the partitions, without the default ones."""
    query = """SELECT relname FROM pg_class
               WHERE relispartition AND relkind = 'r' AND relname NOT LIKE '%%default' AND starts_with(relname, %s)
               ORDER BY relname"""
    return [row["relname"] for row in connection.execute(query, (table,))]


def version(moment: datetime, sequence: int = 0) -> int:
    return (round(moment.timestamp() * 1000) << 20) + sequence


def put(connection: Connection, *moments: datetime, sequence: int = 0) -> None:
    """Insert a receipt, a log entry and a dead letter for each moment."""
    versions = [version(moment, sequence) for moment in moments]
    rows = len(versions)
    receipts: dict[str, object] = {"lane": 1, "versions": versions, "connector_ids": [1] * rows}
    receipts |= {"kinds": ["items"] * rows, "received": [1] * rows, "superseded": [0] * rows}
    connection.execute(sql("insert_receipts"), receipts)
    for one in versions:
        log = b"INSERT INTO connector_logs VALUES (1, %s, 0, now(), 'info', 'x', '{}') ON CONFLICT DO NOTHING"
        connection.execute(log, (one,))
        dead = b"INSERT INTO dead_letters VALUES (1, %s, 1, '{}', 1, 'x', 'r', 'd') ON CONFLICT DO NOTHING"
        connection.execute(dead, (one,))


def places(connection: Connection, table: str) -> list[str]:
    """Return the partition of each row, in order of version."""
    query = f"SELECT tableoid::regclass::text AS place FROM {table} ORDER BY version"  # noqa: S608 - names of ours
    return [row["place"] for row in connection.execute(query.encode())]

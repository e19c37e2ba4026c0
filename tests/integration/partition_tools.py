"""Tools for tests of partitions: list them, insert rows of any moment, find the partition of a row."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from shared.postgres import partitions
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.queries import sql

NOON = datetime(2031, 5, 15, 12, tzinfo=UTC)  # a Thursday
DAY = timedelta(days=1)
#: The tables that these tests are about. A kind of submission may add one, which is treated like the logs'.
KEEP = {"receipts": 7, "connector_logs": 30, "dead_letters": 90}

TABLES = tuple(table for table in partitions.TABLES if table.name in KEEP)


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


@dataclass
class Writer:
    """Writes receipts as fast as possible, over a connection of its own, until the block ends."""

    url: str
    moment: datetime
    written: int = 0
    longest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._write)
        self._thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, rows: int = 10) -> None:
        """Wait until so many more rows are written."""
        enough, deadline = self.written + rows, time.monotonic() + 10
        while self.written < enough:
            assert self._thread.is_alive(), "a write failed"
            assert time.monotonic() < deadline, "writes stand still"
            time.sleep(0.001)

    def _write(self) -> None:
        with connect_postgres(self.url, application="writer") as connection:
            while not self._stop.is_set():
                started = time.monotonic()
                put(connection, self.moment, sequence=self.written)
                self.longest = max(self.longest, time.monotonic() - started)
                self.written += 1

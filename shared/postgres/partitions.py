"""Partitions of the tables whose rows expire: logs, receipts, dead letters and traffic.

These tables are partitioned by version, which is by time. Dropping a partition takes as long for a million rows as for
none. Partitions are made days ahead, by `ingestctl migrate` and by an hourly job of the workers
(`workers/retention.py`), and dropped whole. Each step is a transaction of its own that can be repeated and checks the
state again once it has its lock, so two runs at once do no harm. What can go wrong:

- A partition is missing: the row goes into the default partition, so nothing is refused. The transaction that makes the
  partition moves the row there; it can be read at every moment.
- Moving the rows would keep writers waiting for too long: they stay, and the following days get their partitions.
- Rows in the default partition expire: they are deleted in batches, which lock out no writer.
- A long read of the table (a dump): a drop would wait for the reader, and every writer would wait behind the drop. So
  the drop gives up after a second, and the next run tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from shared import kinds
from shared.postgres.connections import Connection
from shared.postgres.errors import is_transient
from shared.postgres.queries import sql
from shared.postgres.transactions import LIMITS

#: Days for which each table's rows are kept, by the table's name.
KeepDays = Mapping[str, int]

#: Days that have a partition ahead of time: the hourly job may fail for as long.
DAYS_AHEAD: Final = 7
#: Maximum number of rows moved out of a default partition in one transaction: some 0.3 s, for which writers wait.
MOVED_AT_ONCE: Final = 100_000
#: Batches of rows that one run deletes from a default partition: some 0.1 s.
BATCHES: Final = 10

#: Any constant: identifies this work among the database's advisory locks.
_ADVISORY_LOCK: Final = 7_204_113_560
#: For transactions that take strong locks: writers queue behind one while it waits for its lock.
_SHORT: Final = (*LIMITS, ("lock_timeout", "1s"), ("statement_timeout", "2s"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: 1970-01-05 was a Monday.
_FIRST_MONDAY: Final = 4
_MS_PER_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Table:
    """A partitioned table."""

    name: str
    #: Days that a partition covers: 1, or 7 from Monday on.
    span: int
    #: Rows that are deleted from the default partition at a time.
    batch: int

    @property
    def default(self) -> str:
        """Name of its default partition."""
        return f"{self.name}_default"


TABLES: Final = (
    Table("receipts", span=1, batch=1_000),
    *(Table(table.name, span=1, batch=1_000) for table in kinds.TABLES),
    # By the week: each slice's transaction searches every partition for its letters (98 cost 1.5 ms, 15 cost 0.3 ms).
    # A letter may be 30 MB, hence the small batch.
    Table("dead_letters", span=7, batch=100),
    Table("traffic_minutes", span=1, batch=1_000),
    Table("traffic_hours", span=7, batch=1_000),
)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the versions from `low` to below `high`."""

    name: str
    low: int
    high: int

    def overlaps(self, others: Iterable[Partition]) -> bool:
        """Return True if one of the others covers a part of it."""
        return any(self.low < other.high and other.low < self.high for other in others)


@dataclass(slots=True)
class Tally:
    """Counts of one run."""

    #: Partitions made, and rows moved into them.
    made: int = 0
    moved: int = 0
    #: Partitions dropped, and rows deleted from default partitions.
    dropped: int = 0
    deleted: int = 0
    #: Work that is left to the next run, and why.
    postponed: list[str] = field(default_factory=list)
    #: True if a default partition has more expired rows than one run deletes.
    rows_left: bool = False


def make_ahead(connection: Connection, tally: Tally, *, now: datetime | None = None) -> None:
    """Make the missing partitions of today and the days ahead. Raises psycopg.Error."""
    today = _day(connection, now)
    for table in TABLES:
        with _postponed_if_busy(connection, tally, f"making partitions of {table.name}"):
            for partition in _missing(table, today, _partitions(connection, table)):
                # Until tomorrow's: a clock that is ahead may write into that one already.
                _make(connection, table, partition, tally, is_in_use=partition.low <= _version(today + 1))


def drop_old(connection: Connection, tally: Tally, keep: KeepDays, *, now: datetime | None = None) -> None:
    """Drop the partitions in which every row has expired. Raises psycopg.Error."""
    today = _day(connection, now)
    for table in TABLES:
        with _postponed_if_busy(connection, tally, f"dropping partitions of {table.name}"):
            for partition in _partitions(connection, table):
                if partition.high <= _version(today - keep[table.name]):
                    _drop(connection, table, partition, tally)


def delete_old(connection: Connection, tally: Tally, keep: KeepDays, *, now: datetime | None = None) -> None:
    """Delete a bounded number of expired rows from the default partitions. Raises psycopg.Error."""
    today = _day(connection, now)
    for table in TABLES:
        with _postponed_if_busy(connection, tally, f"deleting rows of {table.default}"):
            _delete(connection, table, _version(today - keep[table.name]), tally)


def _day(connection: Connection, now: datetime | None) -> int:
    """Return `now`, or Postgres' time, in days since 1970 (UTC)."""
    moment = now or connection.execute(sql("select_time")).fetchall()[0]["now"]
    return int((moment - _EPOCH) // timedelta(days=1))


def _version(day: int) -> int:
    """Return the lowest version of a day."""
    return day * _MS_PER_DAY << 20


def _missing(table: Table, today: int, existing: list[Partition]) -> list[Partition]:
    first = today - (today - _FIRST_MONDAY) % table.span
    wanted = [_partition(table, day) for day in range(first, today + DAYS_AHEAD + 1, table.span)]
    return [partition for partition in wanted if not partition.overlaps(existing)]


def _partition(table: Table, day: int) -> Partition:
    """Return the partition that begins on a day."""
    name = f"{table.name}_{date.fromordinal(_EPOCH.toordinal() + day):%Y%m%d}"
    return Partition(name, _version(day), _version(day + table.span))


def _partitions(connection: Connection, table: Table) -> list[Partition]:
    rows = connection.execute(sql("select_partitions"), {"table": table.name}).fetchall()
    return [Partition(**row) for row in rows]


def _make(connection: Connection, table: Table, partition: Partition, tally: Tally, *, is_in_use: bool) -> None:
    moved = 0
    with _exclusive_transaction(connection):
        if partition.overlaps(_partitions(connection, table)):
            return
        counted = _execute(connection, "count_strays", table, partition, limit=MOVED_AT_ONCE + 1).fetchall()
        strays = counted[0]["strays"]
        if strays > MOVED_AT_ONCE:
            tally.postponed.append(f"{partition.name}: {table.default} holds too many of its rows to move them")
            return
        _execute(connection, "create_partition", table, partition)
        if strays or is_in_use:
            # Without the lock, a row on its way to the default partition would be refused once this one is attached.
            _execute(connection, "lock_table", table)
            moved = _execute(connection, "move_strays", table, partition).rowcount
        _execute(connection, "attach_partition", table, partition)
    tally.made += 1
    tally.moved += moved


def _drop(connection: Connection, table: Table, partition: Partition, tally: Tally) -> None:
    with _exclusive_transaction(connection):
        if partition not in _partitions(connection, table):
            return
        _execute(connection, "drop_partition", table, partition)
    tally.dropped += 1


def _delete(connection: Connection, table: Table, version: int, tally: Tally) -> None:
    for _ in range(BATCHES):
        with _exclusive_transaction(connection):
            deleted = _execute(connection, "delete_old_rows", table, version=version, limit=table.batch).rowcount
        tally.deleted += deleted
        if deleted < table.batch:
            return
    tally.rows_left = True


@contextmanager
def _postponed_if_busy(connection: Connection, tally: Tally, work: str) -> Iterator[None]:
    """Leave the rest of this work to the next run if a lock can't be had or the disk is full; other work goes on."""
    try:
        yield
    except psycopg.Error as error:
        if connection.closed or not is_transient(error):
            raise
        tally.postponed.append(f"{work}: {error}")


@contextmanager
def _exclusive_transaction(connection: Connection) -> Iterator[None]:
    """Open a short transaction, one at a time over all processes that maintain partitions."""
    with connection.transaction(limits=_SHORT):
        connection.execute(sql("lock_partition_work"), {"key": _ADVISORY_LOCK})
        yield


def _execute(
    connection: Connection, query: str, table: Table, partition: Partition | None = None, **numbers: int
) -> psycopg.Cursor[dict[str, Any]]:
    """Execute a query whose braces stand for names of `table` and `partition`, bounds of `partition`, and `numbers`."""
    names = {"table": table.name, "default": table.default}
    if partition:
        names["partition"] = partition.name
        numbers |= {"low": partition.low, "high": partition.high}
    identifiers = {name: Identifier(value) for name, value in names.items()}
    literals = {name: Literal(value) for name, value in numbers.items()}
    return connection.execute(SQL(sql(query).decode()).format(**identifiers, **literals))

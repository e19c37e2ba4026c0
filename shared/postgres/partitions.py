"""Logs, receipts and dead letters go by age: partitions are dropped, which takes as long for no rows as for a million.

A table is partitioned by version, which is by time. Partitions are made days ahead, by `ingestctl migrate` and every
hour by a chore of the workers (`workers/retention.py`); old ones are dropped whole. Each step is a transaction of its
own, may be repeated, and looks again once it has its turn, so two runs at once do no harm. What can go wrong:

- no partition was made: the row falls into the default partition, which takes everything; nothing is refused. When its
  partition is made, the row moves there, in the same transaction: it can be read at every moment.
- so many rows fell there that moving them would keep writers waiting: they stay, and the days to come get theirs.
- rows in the default partition get old: they are deleted, a batch at a time, which locks nobody out.
- somebody reads the table for a long time (a dump): a drop would wait for the reader, and every writer behind the drop.
  So it gives up after a second, and the next run tries again.

DETACH PARTITION CONCURRENTLY, which waits without holding up anyone, is refused where there is a default partition.
That one is worth more: it is why a missing partition never refuses a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from shared.postgres.connections import Connection, is_not_now
from shared.postgres.queries import sql
from shared.process.settings import Settings

#: A table's name, and how many days its rows are kept.
KeepDays = Mapping[str, int]

#: So long may the chore stay away before rows fall into the default partition.
DAYS_AHEAD: Final = 7
#: Moving so many rows takes some 0.3 s, for which writers wait.
MOVED_AT_ONCE: Final = 100_000
#: Batches of rows that one run deletes from a default partition: some 0.1 s.
BATCHES: Final = 10

#: Any constant: it names this work among the database's advisory locks.
_ADVISORY_LOCK: Final = 7_204_113_560
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: 1970-01-05 was a Monday.
_FIRST_MONDAY: Final = 4
_MS_PER_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Table:
    """A table that goes by age."""

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
    Table("connector_logs", span=1, batch=1_000),
    # By the week: each slice's transaction looks for its letters in every partition (98 cost 1.5 ms, 15 cost 0.3 ms).
    # A letter may be 30 MB.
    Table("dead_letters", span=7, batch=100),
)


@dataclass(frozen=True, slots=True)
class Partition:
    """Versions from `low` to below `high`."""

    name: str
    low: int
    high: int

    def overlaps(self, others: Iterable[Partition]) -> bool:
        """Whether one of the others covers a part of it."""
        return any(self.low < other.high and other.low < self.high for other in others)


@dataclass(slots=True)
class Tally:
    """What a run came to."""

    #: Partitions made, and rows moved into them.
    made: int = 0
    moved: int = 0
    #: Partitions dropped, and rows deleted from default partitions.
    dropped: int = 0
    deleted: int = 0
    #: What has to wait for the next run, and why.
    postponed: list[str] = field(default_factory=list)
    #: More old rows are left in a default partition than one run deletes.
    rows_left: bool = False


def keep_days(settings: Settings) -> KeepDays:
    """How long each table's rows are kept."""
    return {
        "receipts": settings.keep_receipts_days,
        "connector_logs": settings.keep_logs_days,
        "dead_letters": settings.keep_dead_letters_days,
    }


def make_ahead(connection: Connection, tally: Tally, *, now: datetime | None = None) -> None:
    """Makes the partitions of today and the days to come that are missing. Raises psycopg.Error."""
    today = _day(connection, now)
    for table in TABLES:
        with _or_later(connection, tally, f"making partitions of {table.name}"):
            for partition in _missing(connection, table, today):
                # From tomorrow's on, nobody writes into it yet (but for a clock that is a little ahead).
                _make(connection, table, partition, tally, quietly=partition.low > _version(today + 1))


def drop_old(connection: Connection, tally: Tally, keep: KeepDays, *, now: datetime | None = None) -> None:
    """Drops the partitions of which every row is old. Raises psycopg.Error."""
    today = _day(connection, now)
    for table in TABLES:
        with _or_later(connection, tally, f"dropping partitions of {table.name}"):
            for partition in _partitions(connection, table):
                if partition.high <= _version(today - keep[table.name]):
                    _drop(connection, table, partition, tally)


def delete_old(connection: Connection, tally: Tally, keep: KeepDays, *, now: datetime | None = None) -> None:
    """Deletes some of the old rows of the default partitions. Raises psycopg.Error."""
    today = _day(connection, now)
    for table in TABLES:
        with _or_later(connection, tally, f"deleting rows of {table.default}"):
            _delete(connection, table, _version(today - keep[table.name]), tally)


def _day(connection: Connection, now: datetime | None) -> int:
    """Days since 1970, in UTC."""
    moment = now or connection.execute(sql("select_time")).fetchall()[0]["now"]
    return int((moment - _EPOCH) // timedelta(days=1))


def _version(day: int) -> int:
    """Where a day's versions begin."""
    return day * _MS_PER_DAY << 20


def _missing(connection: Connection, table: Table, today: int) -> list[Partition]:
    """The partitions that are to be there and are not."""
    first = today - (today - _FIRST_MONDAY) % table.span
    wanted = [_partition(table, day) for day in range(first, today + DAYS_AHEAD + 1, table.span)]
    standing = _partitions(connection, table)
    return [partition for partition in wanted if not partition.overlaps(standing)]


def _partition(table: Table, day: int) -> Partition:
    """The one that begins on a day."""
    name = f"{table.name}_{date.fromordinal(_EPOCH.toordinal() + day):%Y%m%d}"
    return Partition(name, _version(day), _version(day + table.span))


def _partitions(connection: Connection, table: Table) -> list[Partition]:
    rows = connection.execute(sql("select_partitions"), {"table": table.name}).fetchall()
    return [Partition(**row) for row in rows]


def _make(connection: Connection, table: Table, partition: Partition, tally: Tally, *, quietly: bool) -> None:
    moved = 0
    with _turn(connection):
        if partition.overlaps(_partitions(connection, table)):
            return
        place: dict[str, Any] = {"default": table.default, "low": partition.low, "high": partition.high}
        strays = _run(connection, "count_strays", **place, limit=MOVED_AT_ONCE + 1).fetchall()[0]["strays"]
        if strays > MOVED_AT_ONCE:
            tally.postponed.append(f"{partition.name}: its rows are too many to move from {table.default}")
            return
        place |= {"table": table.name, "partition": partition.name}
        _run(connection, "create_partition", **place)
        if strays or not quietly:
            # A writer whose row is on its way to the default partition would be refused there once this one is made.
            _run(connection, "lock_table", **place)
            moved = _run(connection, "move_strays", **place).rowcount
        _run(connection, "attach_partition", **place)
    tally.made += 1
    tally.moved += moved


def _drop(connection: Connection, table: Table, partition: Partition, tally: Tally) -> None:
    with _turn(connection):
        if partition not in _partitions(connection, table):
            return
        _run(connection, "drop_partition", partition=partition.name)
    tally.dropped += 1


def _delete(connection: Connection, table: Table, version: int, tally: Tally) -> None:
    for _ in range(BATCHES):
        with _turn(connection):
            cursor = _run(connection, "delete_old_rows", default=table.default, version=version, limit=table.batch)
        tally.deleted += cursor.rowcount
        if cursor.rowcount < table.batch:
            return
    tally.rows_left = True


@contextmanager
def _or_later(connection: Connection, tally: Tally, work: str) -> Iterator[None]:
    """A lock that can't be had, or a full disk, leaves the rest of this work to the next run: other work may go on."""
    try:
        yield
    except psycopg.Error as fault:
        if connection.closed or not is_not_now(fault):
            raise
        tally.postponed.append(f"{work}: {fault}")


@contextmanager
def _turn(connection: Connection) -> Iterator[None]:
    """A short transaction that nobody else's here runs beside."""
    with connection.transaction():
        connection.execute(sql("hurry"))
        connection.execute(sql("take_turns"), {"key": _ADVISORY_LOCK})
        yield


def _run(connection: Connection, name: str, **values: str | int) -> psycopg.Cursor[dict[str, Any]]:
    """A query with names (text) and numbers in its braces."""
    filled = {key: Identifier(value) if isinstance(value, str) else Literal(value) for key, value in values.items()}
    return connection.execute(SQL(sql(name).decode()).format(**filled))

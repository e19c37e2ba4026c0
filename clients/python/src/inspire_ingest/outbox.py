"""The outbox: batches that wait for their turn, in SQLite; on disk if they must survive the process."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from .batches import Batch
from .errors import OutboxFailed

_COLUMNS = tuple(column.name for column in fields(Batch))
_TABLE = """
CREATE TABLE IF NOT EXISTS batches (
    kind TEXT NOT NULL, lane TEXT NOT NULL, count INTEGER NOT NULL, rows BLOB NOT NULL, key TEXT NOT NULL,
    at_most INTEGER, number INTEGER NOT NULL, part TEXT NOT NULL, PRIMARY KEY (lane, number, part)
)
"""
#: Bytes that a batch takes beside its rows.
_OVERHEAD = 256
#: Seconds to wait for another process to let go of the file; a supervisor may start us before the old one has ended.
_LOCK_SECONDS = 2.0


class Outbox:
    """Batches by lane, oldest first, bounded by their bytes. Not safe for threads: the caller has a lock."""

    def __init__(self, path: str | None, max_bytes: int) -> None:
        self.on_disk = path is not None
        self._max_bytes = max_bytes
        with _translated(path):
            self._database = _opened(path)
            self._bytes: dict[str, int] = dict(
                self._database.execute("SELECT lane, sum(length(rows) + ?) FROM batches GROUP BY lane", [_OVERHEAD])
            )
            (self.last,) = self._database.execute("SELECT ifnull(max(number), 0) FROM batches").fetchone()
        self._path = path

    def lanes(self) -> list[str]:
        """Return the lanes that have batches."""
        return [lane for lane, size in self._bytes.items() if size]

    def has_room(self, lane: str, size: int, share: float = 1.0) -> bool:
        """Return whether a batch fits, within the lane's share; one that is larger than all fits into an empty one."""
        total = sum(self._bytes.values())
        own = self._bytes.get(lane, 0)
        return (not total or total + size <= self._max_bytes) and (not own or own + size <= self._max_bytes * share)

    def append(self, batch: Batch) -> None:
        """Keep a batch behind all others."""
        with self._transaction():
            self._insert(batch, self.last + 1)
        self.last += 1
        self._count(batch.lane, _size(batch))

    def first(self, lane: str) -> Batch | None:
        """Return the oldest batch of a lane."""
        if not self._bytes.get(lane):
            return None
        return next(self._select("WHERE lane = ? ORDER BY number, part LIMIT 1", lane), None)

    def first_number(self, lane: str) -> int | None:
        """Return the number of the oldest batch of a lane."""
        with _translated(self._path):
            found: tuple[int | None] = self._database.execute(
                "SELECT min(number) FROM batches WHERE lane = ?", [lane]
            ).fetchone()
        return found[0]

    def all(self) -> Iterator[Batch]:
        """Yield all batches, the oldest first."""
        return self._select("ORDER BY number, part")

    def _select(self, which: str, *values: str) -> Iterator[Batch]:
        with _translated(self._path):
            columns = ", ".join(_COLUMNS)
            for row in self._database.execute(f"SELECT {columns} FROM batches {which}", values):  # noqa: S608 - ours
                yield Batch(*row)

    def replace(self, batch: Batch, *pieces: Batch) -> None:
        """Put pieces into the place of a batch, in one transaction; without pieces, forget the batch."""
        with self._transaction():
            self._database.execute(
                "DELETE FROM batches WHERE lane = ? AND number = ? AND part = ?",
                [batch.lane, batch.number, batch.part],
            )
            for piece in pieces:
                self._insert(piece, batch.number)
        self._count(batch.lane, sum(map(_size, pieces)) - _size(batch))

    def totals(self) -> tuple[int, int]:
        """Return how many rows and batches wait."""
        with _translated(self._path):
            items, batches = self._database.execute("SELECT ifnull(sum(count), 0), count(*) FROM batches").fetchone()
        return items, batches

    def close(self) -> None:
        """Let go of the file."""
        with _translated(self._path):
            self._database.close()

    def _insert(self, batch: Batch, number: int) -> None:
        values = [number if name == "number" else getattr(batch, name) for name in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        self._database.execute(f"INSERT INTO batches ({', '.join(_COLUMNS)}) VALUES ({marks})", values)  # noqa: S608 - ours

    def _count(self, lane: str, size: int) -> None:
        self._bytes[lane] = self._bytes.get(lane, 0) + size

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(self._path):
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def _size(batch: Batch) -> int:
    return len(batch.rows) + _OVERHEAD


def _opened(path: str | None) -> sqlite3.Connection:
    if path is not None:  # rows may be confidential: only the connector's user reads the file
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path or ":memory:", timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # a second process would break the order
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN EXCLUSIVE")
        database.execute(_TABLE)
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _translated(path: str | None) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        remedy = (
            "another process has it open: give each connector a file of its own."
            if "locked" in str(error)
            else f"{error}. See that the folder exists, can be written and has room."
        )
        message = f"The outbox {path or 'in memory'} can't be used: {remedy}"
        raise OutboxFailed(message) from error

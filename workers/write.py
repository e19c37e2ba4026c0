"""Writes a slice to Postgres in one transaction: all of it, or nothing.

Every write is guarded by its version or its key. The lane's watermarks stop a drain whose view of the lane is stale.
Rows are written by one statement a part over binary arrays, sorted by key, which is as fast as COPY into a temporary
table and safe behind a pooler.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import errors

from shared.entry import Entry, encode_meta
from shared.kinds import KINDS
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.postgres.transactions import LIMITS
from shared.request_id import position_of_version
from workers import binary_arrays
from workers.columns import Columns, PartColumns, columns_of
from workers.fingerprint import fingerprint
from workers.fold import Slice, version_of

#: Step in which a connector's last sign of life is written.
LIVENESS_STEP: Final = "5 seconds"
#: Maximum time of a slice's transaction, in seconds. It also ends one whose worker hangs in a pipeline, where Postgres
#: counts no session as idle.
_TRANSACTION_SECONDS: Final = 60
#: Rows that have that time; more rows have proportionally more, since one submission may hold two million.
_ROWS_IN_THAT_TIME: Final = 200_000
#: Maximum time of a transaction with a retain, in seconds: it may read and remove a whole stream.
_RETAIN_SECONDS: Final = 600
#: Time to wait for a result beyond the transaction's own maximum, in seconds.
_ANSWER_SECONDS: Final = 5
#: Comparing a part with a table must look rows up one by one, never read the whole table.
_LOOK_UP_ONE_BY_ONE: Final = (("enable_hashjoin", "off"), ("enable_mergejoin", "off"))


@dataclass(frozen=True, slots=True)
class Watermarks:
    """How far a lane has come: the highest versions applied, and dead-lettered."""

    applied: int
    dead: int

    def values(self, lane: int) -> dict[str, int]:
        """Return the parameters of `claim_lane` and `move_watermarks`."""
        return {"lane": lane, "applied": self.applied, "dead": self.dead}


def prepare(connection: Connection) -> Connection:
    """Set a connection up for writing slices, and return it."""
    binary_arrays.register(connection.adapters)
    return connection


def read_watermarks(connection: Connection, lane: int) -> Watermarks:
    """Return a lane's watermarks. Raises LockNotAvailable if the lane has to wait for its former one."""
    (row,) = connection.execute(sql("select_watermarks"), {"lane": lane}).fetchall()
    if row.pop("waits"):
        raise errors.LockNotAvailable
    return Watermarks(**row)


def find_applied(connection: Connection, lane: int, entries: Sequence[Entry]) -> set[int]:
    """Return the versions of those entries that were applied before, and delete their dead letters."""
    values = {
        "connector_ids": [entry.connector_id for entry in entries],
        "versions": [version_of(lane, entry) for entry in entries],
    }
    return {row["version"] for row in connection.execute(sql("find_applied"), values).fetchall()}


@contextlib.contextmanager
def _in_one_flight(connection: Connection, result: Slice, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Open the transaction with a maximum time for so many rows, on both sides: we wait once for the whole of it."""
    rows = sum(receipt.received for receipt in result.receipts.values())
    seconds = _TRANSACTION_SECONDS * max(1, rows // _ROWS_IN_THAT_TIME)
    limits = LIMITS
    if any(KINDS[receipt.kind].retains for receipt in result.receipts.values() if receipt.kind in KINDS):
        seconds = max(seconds, _RETAIN_SECONDS)
        limits = (*LIMITS, ("statement_timeout", f"{seconds}s"))
    patience = connection.answer_timeout
    connection.answer_timeout = patience and seconds + _ANSWER_SECONDS
    try:
        with connection.one_flight((*limits, ("transaction_timeout", f"{seconds}s"), *_LOOK_UP_ONE_BY_ONE), meanwhile):
            yield
    finally:
        connection.answer_timeout = patience


@dataclass(frozen=True, slots=True)
class Written:
    """Result of writing a slice."""

    watermarks: Watermarks
    #: Different items, and how many of their rows were written; the others held the same state, or a newer one.
    items: int
    rows: int
    #: By version, `superseded` and `removed` of receipts that were completed in Postgres.
    counted: dict[int, dict[str, Any]]


def write_slice(
    connection: Connection,
    result: Slice,
    watermarks: Watermarks,
    parts: Iterable[PartColumns] | None = None,
    *,
    look_first: bool = False,
    are_letters: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> Written:
    """Write a slice, none of which was applied before.

    `parts`: its parts, if they are packed already. `look_first`: expect most items to be unchanged. `are_letters`: the
    entries are dead letters, which must still be there. `meanwhile`: called while Postgres works.

    Raises psycopg.Error or UnreadableEntryError, with nothing written; LockNotAvailable if another drain has the lane
    or moved its watermarks, or if a letter was dropped.
    """
    late = any(version <= watermarks.applied for version in result.receipts)
    after = Watermarks(max(watermarks.applied, result.highest_version), watermarks.dead)
    late_items, upserts, receipts = [], [], _Receipts(connection, result, are_letters=are_letters)
    with _in_one_flight(connection, result, meanwhile):
        _claim(connection, result, watermarks, late=late, are_letters=are_letters)
        for part in map(columns_of, result.parts()) if parts is None else parts:
            late_items += [columns for columns in (part.items, part.deleted) if late and columns]
            if part.items:
                values = {**part.items, "dead_version": watermarks.dead, "look_first": look_first, "late": late}
                upserts.append((part.rows, connection.execute(sql("upsert_items"), values)))
            if part.removes:
                receipts.insert()
            for query, columns in part.statements:
                connection.execute(sql(query), columns)
        removes = receipts.complete()
        for columns in late_items:
            connection.execute(sql("count_superseded"), {**columns, "applied": watermarks.applied})
        counted = connection.execute(sql("select_counts"), _receipt_keys(result)) if late or removes else None
        connection.execute(sql("upsert_liveness"), _liveness_columns(result))
        connection.execute(sql("move_watermarks"), after.values(result.lane))
    rows, written = sum(rows for rows, _ in upserts), sum(cursor.rowcount for _, cursor in upserts)
    return Written(after, rows, written, {row["version"]: row for row in counted or ()})


def _claim(connection: Connection, result: Slice, watermarks: Watermarks, *, late: bool, are_letters: bool) -> None:
    """Lock the lane and the letters that are applied, and delete these: a removal asks which older ones are left."""
    connection.execute(sql("claim_lane"), watermarks.values(result.lane))
    if are_letters:
        connection.execute(sql("claim_dead_letters"), _receipt_keys(result))
    if late:
        connection.execute(sql("delete_applied_dead_letters"), _receipt_keys(result))


class _Receipts:
    """Writes a slice's receipts: at the end, unless something is removed before, which is counted there."""

    def __init__(self, connection: Connection, result: Slice, *, are_letters: bool) -> None:
        self._connection = connection
        self._result = result
        self._are_letters = are_letters
        self._inserted = False

    def insert(self) -> None:
        """Write the receipts, once."""
        if not self._inserted:
            self._connection.execute(sql("insert_receipts"), _receipt_columns(self._result))
            self._inserted = True

    def complete(self) -> bool:
        """Write what is known once all parts were taken. Return True if removals were counted before."""
        removes = self._inserted
        if removes and any(receipt.superseded for receipt in self._result.receipts.values()):
            self._connection.execute(sql("set_superseded"), _receipt_columns(self._result))
        self.insert()
        if self._are_letters:
            values = {"lane": self._result.lane, **_receipt_keys(self._result)}
            self._connection.execute(sql("set_lanes_of_letters"), values)
        return removes


def write_dead_letter(
    connection: Connection,
    lane: int,
    entry: Entry,
    watermarks: Watermarks,
    *,
    reason: str,
    detail: str,
    is_letter: bool = False,
) -> Watermarks:
    """Dead-letter a submission that can't be applied, whole. `is_letter`: it is a letter already, and must be still.

    Returns the lane's new watermarks. Raises psycopg.Error; LockNotAvailable as `write_slice` does.
    """
    version = version_of(lane, entry)
    after = Watermarks(max(watermarks.applied, version), max(watermarks.dead, version))
    values = {
        "connector_id": entry.connector_id,
        "version": version,
        "lane": lane,
        "meta": encode_meta(entry.meta).decode(),
        "received": entry.count,
        "body": entry.body,
        "reason": reason,
        "detail": detail,
        "fingerprint": fingerprint(reason, detail),
    }
    with connection.transaction():
        connection.execute(sql("claim_lane"), watermarks.values(lane))
        if is_letter:
            connection.execute(
                sql("claim_dead_letters"), {"connector_ids": [entry.connector_id], "versions": [version]}
            )
        connection.execute(sql("insert_dead_letter"), values)
        connection.execute(sql("move_watermarks"), after.values(lane))
    return after


def _receipt_columns(result: Slice) -> Columns:
    receipts = sorted(result.receipts.values(), key=lambda receipt: (receipt.connector_id, receipt.version))
    return {
        "lane": result.lane,
        "connector_ids": [receipt.connector_id for receipt in receipts],
        "versions": [receipt.version for receipt in receipts],
        "kinds": [receipt.kind for receipt in receipts],
        "received": [receipt.received for receipt in receipts],
        "superseded": [receipt.superseded for receipt in receipts],
    }


def _receipt_keys(result: Slice) -> Columns:
    return {
        "connector_ids": [receipt.connector_id for receipt in result.receipts.values()],
        "versions": list(result.receipts),
        "lowest": min(result.receipts),
        "highest": result.highest_version,
    }


def _liveness_columns(result: Slice) -> Columns:
    last = sorted(result.last_versions.items())
    return {
        "connector_ids": [connector_id for connector_id, _ in last],
        "last_seen_at": [position_of_version(result.lane, version).received_at for _, version in last],
        "step": LIVENESS_STEP,
    }

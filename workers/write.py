"""Writes a slice to Postgres in one transaction: all of it, or nothing.

Every write is guarded by its version or its key, so a slice may be written again, whole or in other cuts, by another
drain at the same time, and changes nothing that is newer. Rows go in as one statement over binary arrays, sorted by
key, which is as fast as COPY into a temporary table and safe behind a pooler.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from shared import sql
from shared.database import Connection
from shared.request_id import position_of_entry, position_of_version
from shared.submission import Entry, encode_meta
from workers.fingerprint import fingerprint
from workers.fold import ItemKey, ItemRow, LogKey, LogRow, Slice

#: A connector's last sign of life is written down again once it is so much newer.
LIVENESS_STEP: Final = "5 seconds"
_ROWS_A_STATEMENT: Final = 20_000
_FIRST_WITH_TRANSACTION_TIMEOUT: Final = 170_000

Key = TypeVar("Key", ItemKey, LogKey)


class _JsonTextDumper(Dumper):
    """Hands JSON text to Postgres as it is: binary jsonb is a version byte and the text."""

    format = Format.BINARY
    oid = 3802  # jsonb

    def dump(self, obj: msgspec.Raw) -> bytes:
        """The bytes on the wire."""
        return b"\x01" + bytes(obj)


def prepare(connection: Connection) -> Connection:
    """Teaches a connection to write slices."""
    connection.adapters.register_dumper(msgspec.Raw, _JsonTextDumper)
    if connection.info.server_version >= _FIRST_WITH_TRANSACTION_TIMEOUT:
        connection.execute("SET transaction_timeout = '60s'")
    return connection


@contextlib.contextmanager
def _in_one_flight(connection: Connection) -> Iterator[None]:
    """A transaction whose statements travel together, COMMIT with them.

    Postgres can then end it without us. Were COMMIT sent after the answers, a worker that hangs in between would leave
    the lane's row locked: within a pipeline, Postgres does not count the session as idle and never ends it.
    """
    try:
        with connection.pipeline():
            connection.execute("BEGIN")
            yield
            connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(psycopg.Error):  # a lost connection has rolled back by itself
            connection.rollback()
        raise


def write_slice(connection: Connection, result: Slice) -> None:
    """Writes all that a slice came to. Raises psycopg.Error, with nothing written."""
    with _in_one_flight(connection):
        connection.execute(sql.query("lock_lane"), {"lane": result.lane})
        for keys in _chunks(sorted(result.items)):
            connection.execute(sql.query("upsert_items"), _item_columns(keys, result.items))
        for places in _chunks(sorted(result.logs)):
            connection.execute(sql.query("insert_logs"), _log_columns(places, result.logs))
        connection.execute(sql.query("insert_receipts"), _receipt_columns(result))
        connection.execute(sql.query("delete_applied_dead_letters"), _receipt_keys(result))
        connection.execute(sql.query("upsert_liveness"), _liveness_columns(result.lane, result.last_versions))
        connection.execute(sql.query("advance_lane"), {"lane": result.lane, "version": result.highest_version})


def write_dead_letter(connection: Connection, lane: int, entry: Entry, *, reason: str, detail: str) -> None:
    """Puts a submission that can never be applied aside, whole; one that is there already gets the new reason."""
    values = {
        "connector_id": entry.connector_id,
        "version": position_of_entry(lane, entry.accepted_as).version,
        "lane": lane,
        "meta": encode_meta(entry.meta).decode(),
        "received": entry.count,
        "body": entry.body,
        "reason": reason,
        "detail": detail,
        "fingerprint": fingerprint(reason, detail),
    }
    with connection.transaction():
        # Another drain on this lane may just have applied it: then it is not dead.
        connection.execute(sql.query("lock_lane"), {"lane": lane})
        connection.execute(sql.query("insert_dead_letter"), values)
        connection.execute(sql.query("advance_lane"), {"lane": lane, "version": values["version"]})


def _chunks(keys: list[Key]) -> Iterator[list[Key]]:
    """One submission may hold millions of rows; no statement does."""
    for start in range(0, len(keys), _ROWS_A_STATEMENT):
        yield keys[start : start + _ROWS_A_STATEMENT]


def _item_columns(keys: list[ItemKey], items: dict[ItemKey, ItemRow]) -> dict[str, list[Any]]:
    rows = [items[key] for key in keys]
    return {
        "connector_ids": [key[0] for key in keys],
        "streams": [key[1] for key in keys],
        "ids": [key[2] for key in keys],
        "names": [row.name for row in rows],
        "fields": [row.fields for row in rows],
        "tags": [row.tags for row in rows],
        "versions": [row.version for row in rows],
    }


def _log_columns(keys: list[LogKey], logs: dict[LogKey, LogRow]) -> dict[str, list[Any]]:
    rows = [logs[key] for key in keys]
    return {
        "connector_ids": [key[0] for key in keys],
        "versions": [key[1] for key in keys],
        "indexes": [key[2] for key in keys],
        "levels": [row.level for row in rows],
        "messages": [row.message for row in rows],
        "timestamps": [row.timestamp for row in rows],
        "contexts": [row.context for row in rows],
    }


def _receipt_columns(result: Slice) -> dict[str, Any]:
    receipts = sorted(result.receipts, key=lambda receipt: (receipt.connector_id, receipt.version))
    return {
        "lane": result.lane,
        "connector_ids": [receipt.connector_id for receipt in receipts],
        "versions": [receipt.version for receipt in receipts],
        "kinds": [receipt.kind for receipt in receipts],
        "received": [receipt.received for receipt in receipts],
    }


def _receipt_keys(result: Slice) -> dict[str, Any]:
    return {
        "connector_ids": [receipt.connector_id for receipt in result.receipts],
        "versions": [receipt.version for receipt in result.receipts],
        "lowest": min(receipt.version for receipt in result.receipts),
        "highest": max(receipt.version for receipt in result.receipts),
    }


def _liveness_columns(lane: int, last_versions: dict[int, int]) -> dict[str, Any]:
    connectors = sorted(last_versions)
    return {
        "connector_ids": connectors,
        "last_seen_at": [position_of_version(lane, last_versions[one]).received_at for one in connectors],
        "step": LIVENESS_STEP,
    }

"""Writes a slice to Postgres in one transaction: all of it, or nothing.

Every write is guarded by its version or its key, so a slice may be written again, whole or in other cuts, by another
drain at the same time, and changes nothing that is newer. Rows go in as one statement over binary arrays, sorted by
key, which is as fast as COPY into a temporary table and safe behind a pooler.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from psycopg.adapt import Dumper
from psycopg.pq import Format

from shared import sql
from shared.database import Connection
from shared.request_id import position_of_entry
from shared.submission import Entry, encode_meta
from workers.fold import ItemKey, ItemRow, LogKey, LogRow, Slice

#: A connector's last sign of life is written down again once it is so much newer.
LIVENESS_STEP: Final = "5 seconds"


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
    return connection


def write_slice(connection: Connection, result: Slice) -> None:
    """Writes all that a slice came to. Raises psycopg.Error, with nothing written."""
    with connection.pipeline(), connection.transaction():
        connection.execute(sql.query("lock_lane"), {"lane": result.lane})
        if result.items:
            connection.execute(sql.query("upsert_items"), _item_columns(result.items))
        if result.logs:
            connection.execute(sql.query("insert_logs"), _log_columns(result.logs))
        connection.execute(sql.query("insert_receipts"), _receipt_columns(result))
        connection.execute(sql.query("upsert_liveness"), _liveness_columns(result.last_versions))
        connection.execute(sql.query("advance_lane"), {"lane": result.lane, "version": result.highest_version})


def write_dead_letter(connection: Connection, lane: int, entry: Entry, *, reason: str, detail: str) -> None:
    """Puts a submission that can never be applied aside, whole."""
    values = {
        "connector_id": entry.connector_id,
        "version": position_of_entry(lane, entry.entry_id).version,
        "lane": lane,
        "meta": encode_meta(entry.meta).decode(),
        "received": entry.count,
        "body": entry.body,
        "reason": reason,
        "detail": detail,
    }
    with connection.transaction():
        connection.execute(sql.query("insert_dead_letter"), values)
        connection.execute(sql.query("advance_lane"), {"lane": lane, "version": values["version"]})


def _item_columns(items: dict[ItemKey, ItemRow]) -> dict[str, list[Any]]:
    keys = sorted(items)
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


def _log_columns(logs: dict[LogKey, LogRow]) -> dict[str, list[Any]]:
    keys = sorted(logs)
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


def _liveness_columns(last_versions: dict[int, int]) -> dict[str, Any]:
    connectors = sorted(last_versions)
    return {
        "connector_ids": connectors,
        "last_seen_at": [datetime.fromtimestamp((last_versions[one] >> 20) / 1000, UTC) for one in connectors],
        "step": LIVENESS_STEP,
    }

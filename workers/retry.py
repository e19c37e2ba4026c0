"""Retries of dead letters: which ones, and in which order.

`ingestctl dead retry` marks letters in Postgres (`dead_letters.retry_requested_at`). Once a second the sweeper asks for
the lanes that have marked letters and wakes them. The drain of such a lane applies the letters in slices of their own,
in turn with the lane's new submissions, by the same code and under the same lease. So a retried letter can't overwrite
newer state, and its log entries appear once. The transaction that writes its receipt deletes it; one that fails again
stays one row, with the newer reason and without the mark. If a process is killed or Redis loses its memory, the letters
that are still marked are found again.

To add a rule, mark more letters in `lanes_to_retry`, which runs once a second. To change the order, change
`select_letters_to_retry` in `dead_letters.sql`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.entry import Entry, Meta, decode_meta
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.request_id import position_of_version


def lanes_to_retry(connection: Connection) -> set[int]:
    """Return the lanes that have letters to retry."""
    return {row["lane"] for row in connection.execute(sql("select_lanes_to_retry")).fetchall()}


def letters_to_retry(connection: Connection, lane: int, bounds: tuple[int, int, int]) -> list[Entry]:
    """Return the lane's next letters to retry, as the entries that they were, up to so many entries, rows and bytes.

    The letter that reaches a bound is still returned: one letter may be 30 MB.
    """
    entries, rows, size = bounds
    values = {"lane": lane, "entries": entries, "rows": rows, "bytes": size}
    # Binary: a body as text would be twice its size.
    for former in connection.execute(sql("select_former_lanes"), {"lane": lane}).fetchall():
        asked = {**values, "accepted_in": former["lane"]}
        if found := connection.execute(sql("select_letters_to_retry"), asked, binary=True).fetchall():
            return [_entry(lane, row) for row in found]
    return []


def _entry(lane: int, row: dict[str, Any]) -> Entry:
    entry_id = position_of_version(lane, row["version"]).entry_id
    try:
        meta = decode_meta(row["meta"].encode())
    except msgspec.DecodeError:  # written by another version: it dies again, and the lane goes on
        meta = Meta("unreadable")
    return Entry(
        entry_id, row["connector_id"], meta, row["received"], bytes(row["body"]), bound_lifted=row["bound_lifted"]
    )

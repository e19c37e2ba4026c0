"""What connectors have sent and what became of it, over a range of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from psycopg.sql import SQL, Identifier

from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.request_id import MAX_MILLISECONDS, position_of_version
from shared.rfc3339 import rfc3339
from shared.traffic import KEEP_MINUTES_DAYS

Step = Literal["minute", "hour", "total"]

#: A position before that of any row.
BEFORE_ALL: Final = (-1, 0)
_MS_OF: Final = {"traffic_minutes": 60_000, "traffic_hours": 3_600_000}


def read_traffic(
    connection: Connection,
    *,
    since: datetime,
    until: datetime | None = None,
    connector_id: int | None = None,
    step: Step = "total",
    per_connector: bool = True,
    limit: int | None = None,
    after: tuple[int, int] = BEFORE_ALL,
) -> list[dict[str, Any]]:
    """Return what was counted from the minute or hour of `since` up to `until`, in order of connector and time.

    `connector_id` is 0 for requests of no known connector, and None if not `per_connector`; `at` is None for a total.
    `after`: the `position` of the last row that is known.
    Minutes are kept for two days; a total that begins before that is counted by hours.
    """
    is_recent = since > datetime.now(UTC) - timedelta(days=KEEP_MINUTES_DAYS)
    table = "traffic_minutes" if step == "minute" or (step == "total" and is_recent) else "traffic_hours"
    start = round(since.timestamp() * 1000)
    values = {
        "low": (start - start % _MS_OF[table]) << 20,
        "high": (round(until.timestamp() * 1000) if until else MAX_MILLISECONDS) << 20,
        "connector_id": connector_id,
        "per_connector": per_connector,
        "stepwise": step != "total",
        "limit": limit,
        "after_connector": after[0],
        "after_version": after[1],
    }
    query = SQL(sql("select_traffic").decode()).format(table=Identifier(table))
    return [_row(row) for row in connection.execute(query, values)]


def traffic_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `read_traffic` for JSON."""
    return {
        "connectorId": row["connector_id"],
        "at": rfc3339(row["at"]),
        **{name: row[name] for name in ("submissions", "items", "bytes", "refused")},
        "refusedByCode": row["refused_by_code"],
        **{name: row[name] for name in ("applied", "superseded", "removed", "dead")},
        "lagSeconds": row["lag_seconds"],
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    version, lag_ms = row.pop("version"), row.pop("lag_ms")
    row["position"] = (row["connector_id"] or 0, version or 0)
    row["at"] = None if version is None else position_of_version(0, version).received_at
    row["lag_seconds"] = lag_ms / 1000 if lag_ms else None
    return row

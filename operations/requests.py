"""The outcome of a request, by its id: queued, applied or dead.

The id contains the lane and the position in it, so no connector is needed: the lane's stream is looked into, then
receipts and dead letters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from redis import Redis

from operations.errors import NotFoundError
from shared.entry import QueuedEntry
from shared.kinds import counts
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.names import GROUP, lane_keys
from shared.redis.scripts import Scripts
from shared.request_id import Position, position_of_request, position_of_version
from shared.rfc3339 import rfc3339

#: Maximum number of entries counted before a queued one; counting more would hold up Redis.
_COUNTED_AHEAD: Final = 100_000
#: A position behind every log entry: version of the submission, index in it.
_NEWEST: Final = ((1 << 63) - 1, 0)


def accepted_position(request_id: str) -> Position:
    """Return the position of an accepted request. Raises NotFoundError."""
    position = position_of_request(request_id)
    if position is None:
        raise NotFoundError(f"{request_id[:40]!a} is not the id of an accepted request; its log line has the code.")
    return position


def outcome(connection: Connection, redis: Redis, request_id: str) -> dict[str, Any]:
    """Return what became of a request, and what it contained, for JSON. Raises NotFoundError."""
    position = accepted_position(request_id)
    # Redis first: a worker commits to Postgres before it removes the entry from the lane, so one of both has it.
    found = _queued(redis, position) or _finished(connection, position)
    if found is None:
        raise NotFoundError(f"{request_id} was not accepted here, or its receipt is no longer kept.")
    found |= {"requestId": request_id, "lane": position.lane}
    if found["kind"] == "log":
        values = {"connector_id": found["connectorId"], "version": position.version}
        rows = connection.execute(sql("select_log_entries"), values).fetchall()
        found["entries"] = [log_document(position.lane, row) for row in rows]
    return found


def log_document(lane: int, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `select_logs` for JSON."""
    return {
        "timestamp": rfc3339(row["logged_at"]),
        "level": row["level"],
        "message": row["message"],
        "context": orjson.Fragment(row["context"]),
        "requestId": position_of_version(lane, row["version"]).request_id,
    }


def select_newest_logs(
    connection: Connection,
    connector_id: int,
    *,
    level: str | None = None,
    since: datetime | None = None,
    before: tuple[int, int] = _NEWEST,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return log entries of a connector before a position, the newest first."""
    values = {"connector_id": connector_id, "level": level, "since": since, "limit": limit}
    position = {"before_version": before[0], "before_index": before[1]}
    return connection.execute(sql("select_newest_logs"), values | position).fetchall()


def _queued(redis: Redis, position: Position) -> dict[str, Any] | None:
    keys, scripts = lane_keys(position.lane), Scripts(redis)
    names = [keys.stream, keys.large]
    entry = QueuedEntry.decode(scripts("find_entry", names, [position.entry_id, GROUP]))
    if entry is None:
        return None
    age = (datetime.now(UTC) - position.received_at).total_seconds()
    return {
        "connectorId": entry.connector_id,
        "kind": entry.kind,
        "state": "queued",
        "ahead": scripts("count_ahead", names, [position.entry_id, _COUNTED_AHEAD]),
        "ageSeconds": round(max(0.0, age), 3),
        "receivedAt": rfc3339(position.received_by(datetime.now(UTC))),
        **counts(entry.kind, entry.count),
    }


def _finished(connection: Connection, position: Position) -> dict[str, Any] | None:
    values = {"lane": position.lane, "version": position.version}
    rows = connection.execute(sql("select_submission"), values).fetchall()
    if not rows:
        return None
    row = rows[0]
    found = {
        "connectorId": row["connector_id"],
        "kind": row["kind"],
        "state": row["state"],
        "receivedAt": rfc3339(position.received_by(row["ended_at"])),
    }
    if row["state"] == "dead":
        found |= {"diedAt": rfc3339(row["ended_at"]), "reason": row["reason"], "detail": row["detail"]}
    else:
        found["appliedAt"] = rfc3339(row["ended_at"])
    return {**found, **counts(row["kind"], row["received"], row["removed"])}

"""`ingestctl trace`: the outcome of one request.

The request's id contains its lane and its position in it, so a trace needs no connector: it looks into the lane's
stream, then at receipts and dead letters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.errors import CommandError
from operations.cli.logs import document
from operations.cli.output import print_json, print_line, print_members, readable_seconds, visible
from shared.entry import QueuedEntry
from shared.kinds import counts
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis
from shared.redis.names import GROUP, lane_keys
from shared.redis.scripts import Scripts
from shared.request_id import Position, position_of_request
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl trace req_00d20wmh800000
      ingestctl trace req_00d20wmh800000 --json
    """
#: Maximum number of entries counted before a queued one; counting more would hold up Redis.
_COUNTED_AHEAD: Final = 100_000


def trace(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Id of the request, from its response.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the outcome of a request: queued, applied or dead.

    It tells when, and what the request contained.
    """
    position = position_of_request(request_id)
    if position is None:
        raise CommandError(f"{visible(request_id)} is not the id of an accepted request; its log line has the code.")
    settings = process_settings()
    # Redis first: a worker commits to Postgres before it removes the entry from the lane, so one of both has it.
    found = _queued(settings.redis_url, position)
    with session.open_database(settings.database_url) as connection:
        found = found or _finished(connection, position)
        if found is None:
            raise CommandError(f"{request_id} was not accepted here, or its receipt is no longer kept.")
        found |= {"requestId": request_id, "lane": position.lane}
        if found["kind"] == "log":
            found["entries"] = _log_entries(connection, found["connectorId"], position)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _queued(redis_url: str, position: Position) -> dict[str, Any] | None:
    keys = lane_keys(position.lane)
    names = [keys.stream, keys.large]
    with connect_redis(redis_url) as redis:
        scripts = Scripts(redis)
        entry = QueuedEntry.decode(scripts("find_entry", names, [position.entry_id, GROUP]))
        if entry is None:
            return None
        ahead = scripts("count_ahead", names, [position.entry_id, _COUNTED_AHEAD])
    age = (datetime.now(UTC) - position.received_at).total_seconds()
    return {
        "connectorId": entry.connector_id,
        "kind": entry.kind,
        "state": "queued",
        "ahead": ahead,
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


def _log_entries(connection: Connection, connector_id: int, position: Position) -> list[dict[str, Any]]:
    values = {"connector_id": connector_id, "version": position.version}
    rows = connection.execute(sql("select_log_entries"), values).fetchall()
    return [document(position.lane, row) for row in rows]


def _print(found: dict[str, Any]) -> None:
    entries = found.pop("entries", [])
    if "ageSeconds" in found:
        found["ageSeconds"] = readable_seconds(found["ageSeconds"])
    print_members({name: visible(str(value)) for name, value in found.items()})
    for entry in entries:
        print_line(f"  {entry['timestamp']}  {entry['level']}  {visible(entry['message'])}")

"""`ingestctl logs`: what a connector has logged.

Context is printed as the text that Postgres returns. `--follow` asks every second for what came after the last entry
shown; the position of an entry is the version of its submission and its index in it.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, moment_since
from operations.cli.output import print_json_line, print_json_list, print_line, print_rows
from operations.connectors import select_connectors
from operations.readable import visible
from operations.requests import log_document
from shared.log_levels import STORED_LEVELS, stored_level
from shared.postgres.connections import Connection
from shared.request_id import position_of_version
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl logs 1
      ingestctl logs 1 --level error --since 2h
      ingestctl logs 1 --since 2026-11-23T08:00:00Z --limit 0 --json > logs.json
      ingestctl logs 1 --follow
    """
_DEFAULT_LIMIT: Final = 50
_TITLES: Final = ("time", "level", "message", "context", "request")
_FOLLOW_SECONDS: Final = 1.0
#: Before every entry: versions are positive.
_START: Final = {"after_version": 0, "after_index": -1}


def _level(value: str | None) -> str | None:
    if value is None:
        return None
    level = stored_level(value)
    if level is None:
        raise typer.BadParameter(f"It must be one of {', '.join(STORED_LEVELS)}.")
    return level


def logs(
    connector_id: ConnectorId,
    *,
    level: Annotated[str | None, typer.Option(callback=_level, help="Show only entries of this level.")] = None,
    since: Annotated[
        str | None, typer.Option(callback=moment_since, help="Show only entries logged since: 30m, 2h, 1d, or a time.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Maximum number of entries to show, the newest; 0 shows all.")
    ] = _DEFAULT_LIMIT,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Continue with new entries; with --json, one document a line.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a connector has logged, in the order of receipt."""
    wanted: dict[str, Any] = {"connector_id": connector_id, "level": level, "since": since, "limit": limit or None}
    with session.reading_database() as connection:
        select_connectors(connection, connector_id)
        if follow:
            _follow(connection, wanted, as_json=as_json)
            return
        with session.stream_rows(connection, "select_logs", {**wanted, **_START}) as rows:
            if as_json:
                print_json_list("entries", (log_document(row["lane"], row) for row in rows))
            else:
                print_rows(_TITLES, rows, _line, limit=0, whole=("request",), none="There are no such log entries.")


def _follow(connection: Connection, wanted: dict[str, Any], *, as_json: bool) -> None:
    after = _START
    while True:
        with session.stream_rows(connection, "select_logs", {**wanted, **after}) as rows:
            for row in rows:
                after = {"after_version": row["version"], "after_index": row["index"]}
                if as_json:
                    print_json_line(log_document(row["lane"], row))
                else:
                    print_line("  ".join(_line(row)), flush=True)
        # All entries of a slice become visible together, and slices of a lane in their order: none is skipped.
        wanted = {**wanted, "limit": None}
        time.sleep(_FOLLOW_SECONDS)


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    request_id = position_of_version(row["lane"], row["version"]).request_id
    moment = visible(rfc3339(row["logged_at"]))
    return moment, row["level"], visible(row["message"]), visible(row["context"]), request_id

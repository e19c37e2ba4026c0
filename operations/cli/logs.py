"""`ingestctl logs`: what a connector has logged.

Context passes through as the text that Postgres gives. Following asks again each second for what came after the last
entry shown; an entry's position is its submission's version and its place in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import orjson
import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, moment_since
from operations.cli.output import print_json_line, print_json_list, print_line, print_table, visible
from operations.connectors import select_connectors
from shared.log_levels import STORED_LEVELS, stored_level
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
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
_START: Final = (0, -1)


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
        str | None, typer.Option(callback=moment_since, help="Show only what was logged since: 30m, 2h, 1d, or a time.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Show so many entries at most, the newest, or all with 0.")
    ] = _DEFAULT_LIMIT,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes; with --json, one document a line.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Shows what a connector has logged, in the order in which it came."""
    wanted: dict[str, Any] = {"connector_id": connector_id, "level": level, "since": since}
    with session.open_database() as connection:
        lane = select_connectors(connection, connector_id)[0]["lane"]
        if follow:
            _follow(connection, lane, wanted, limit, as_json=as_json)
            return
        rows = _select(connection, wanted, limit, _START)
        if as_json:
            print_json_list("entries", (document(lane, row) for row in rows))
        else:
            _print(lane, rows)


def _select(
    connection: Connection, wanted: dict[str, Any], limit: int, after: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    connection.execute(sql("allow_long_reading"))
    values = {**wanted, "limit": limit or None, "after_version": after[0], "after_index": after[1]}
    with connection.cursor() as cursor:
        yield from cursor.stream(sql("select_logs"), values)


def _follow(connection: Connection, lane: int, wanted: dict[str, Any], limit: int, *, as_json: bool) -> None:
    after = _START
    while True:
        for row in _select(connection, wanted, limit, after):
            after = row["version"], row["index"]
            if as_json:
                print_json_line(document(lane, row))
            else:
                print_line("  ".join(_line(lane, row)))
        # Entries of one slice become visible together; a slow slice on the same lane can't overtake a later one.
        limit = 0
        time.sleep(_FOLLOW_SECONDS)


def _print(lane: int, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows, None)
    if first is None:
        print_line("There are no such log entries.")
        return

    def lines() -> Iterator[tuple[str, ...]]:
        yield _line(lane, first)
        for row in rows:
            yield _line(lane, row)

    print_table(_TITLES, lines(), whole=("request",))


def document(lane: int, row: dict[str, Any]) -> dict[str, Any]:
    """One entry for JSON; `row` as `select_logs` has it."""
    return {
        "timestamp": rfc3339(row["logged_at"]),
        "level": row["level"],
        "message": row["message"],
        "context": orjson.Fragment(row["context"]),
        "requestId": position_of_version(lane, row["version"]).request_id,
    }


def _line(lane: int, row: dict[str, Any]) -> tuple[str, ...]:
    request_id = position_of_version(lane, row["version"]).request_id
    moment = visible(rfc3339(row["logged_at"]))
    return moment, row["level"], visible(row["message"]), visible(row["context"]), request_id

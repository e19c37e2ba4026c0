"""`ingestctl refusals`: the last refusals and what was wrong."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, OptionalConnectorId, moment_since
from operations.cli.output import print_json, print_line, print_table
from operations.readable import counted, visible
from operations.refusals import group_document, group_refusals, read_refusals, refusal_document
from shared.error_codes import ErrorCode
from shared.rfc3339 import rfc3339
from shared.traffic import KEPT_REFUSALS

EXAMPLES: Final = """Examples:

    \b
      ingestctl refusals
      ingestctl refusals 1 --code invalid_id --since 2h
      ingestctl refusals --group
      ingestctl refusals --limit 0 --json > refusals.json
    """
_DEFAULT_LIMIT: Final = 50
_TITLES: Final = ("time", "connector", "code", "path", "stream", "route", "request", "message")
_NONE: Final = "There are no such refusals. The latest show after some ten seconds."
_GROUP_TITLES: Final = ("count", "connector", "code", "path", "stream", "route", "last", "message")


def _code(value: str | None) -> str | None:
    if value is not None and value.upper() not in ErrorCode.__members__:
        raise typer.BadParameter("It must be a code of docs/api.md.")
    return value and value.lower()


def refusals(
    connector_id: OptionalConnectorId = None,
    *,
    code: Annotated[str | None, typer.Option(callback=_code, help="Show only refusals with this code.")] = None,
    since: Annotated[
        str | None, typer.Option(callback=moment_since, help="Show only refusals since: 30m, 2h, 1d, or a time.")
    ] = None,
    group: Annotated[bool, typer.Option("--group", help="Group them by what is wrong, and count.")] = False,
    limit: Annotated[
        int, typer.Option(min=0, max=KEPT_REFUSALS, help="Maximum number of refusals or groups; 0 shows all.")
    ] = _DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show the last refusals, the newest first.

    10,000 are kept, a share for each connector; of a flood a sample, which says so.
    """
    wanted: dict[str, Any] = {"connector_id": connector_id, "code": code, "since": since, "limit": limit or None}
    with session.reading_database() as connection:
        if group:
            _show_groups(group_refusals(connection, **wanted), as_json=as_json)
        else:
            _show(read_refusals(connection, **wanted), as_json=as_json)


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    skipped = sum(row["skipped"] for row in rows)
    if as_json:
        print_json({"refusals": list(map(refusal_document, rows)), "sampled": skipped > 0, "skipped": skipped})
        return
    if not rows:
        print_line(_NONE)
        return
    print_table(_TITLES, map(_cells, rows), numbers=("connector",), whole=("time", "code", "request"))
    if skipped:
        more = counted(skipped, "more refusal was", "more refusals were")
        print_line(f"\nThis is a sample: {more} only counted. `ingestctl traffic` counts all of them.")


def _show_groups(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"groups": list(map(group_document, rows))})
    elif not rows:
        print_line(_NONE)
    else:
        print_table(_GROUP_TITLES, map(_group_cells, rows), numbers=("count", "connector"), whole=("last", "code"))


def _cells(row: dict[str, Any]) -> list[str]:
    moment, path, stream = visible(rfc3339(row["at"])), visible(row["path"]), visible(row["stream"])
    last = (row["route"], row["request_id"], visible(row["message"]))
    return [moment, _connector(row), _told_code(row), path, stream, *map(visible, last)]


def _group_cells(row: dict[str, Any]) -> list[str]:
    path, stream = visible(row["path_pattern"]), visible(row["stream"])
    last = (row["route"], rfc3339(row["last_at"]), row["message"])
    return [f"{row['count']:,}", _connector(row), _told_code(row), path, stream, *map(visible, last)]


def _connector(row: dict[str, Any]) -> str:
    return "-" if row["connector_id"] is None else str(row["connector_id"])


def _told_code(row: dict[str, Any]) -> str:
    return f"{row['code']} ({row['reason']})" if row["reason"] else str(row["code"])

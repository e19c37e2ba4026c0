"""`ingestctl items`: what the database holds of a connector's stream.

Fields and tags pass through as the text that Postgres gives: a number keeps all its digits. Rows are printed as they
arrive, one in memory at a time, since one row may be 30 MB and a stream any number of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Annotated, Any, Final

import orjson
import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, plain_text
from operations.cli.output import counted, print_json_list, print_line, print_table, visible
from operations.connectors import select_connectors
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl items 1 agents
      ingestctl items 1 agents --id agent-1001 --json
      ingestctl items 1 agents --limit 0 --json > agents.json
    """
_DEFAULT_LIMIT: Final = 20
_TITLES: Final = ("id", "name", "fields", "tags", "updated")


def items(
    connector_id: ConnectorId,
    stream: Annotated[str, typer.Argument(callback=plain_text, help="Say which stream.", metavar="STREAM")],
    *,
    item_id: Annotated[
        str | None, typer.Option("--id", callback=plain_text, help="Show only the item with this id.", metavar="ID")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Show so many items at most, or all with 0.")
    ] = _DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Shows the items of a connector's stream.

    They are shown as they stand in the database, in the order of their ids.
    """
    # One more than is shown tells a reader whether there are more.
    most = limit + (not as_json) if limit else None
    with session.open_database() as connection:
        select_connectors(connection, connector_id)
        # Closed first, whatever happens: a stream that is left open holds the connection, whose closing would wait.
        with closing(_select(connection, connector_id=connector_id, stream=stream, id=item_id, limit=most)) as rows:
            if as_json:
                print_json_list("items", map(_document, rows))
            else:
                _print_items(rows, limit)


def _select(connection: Connection, **values: Any) -> Generator[dict[str, Any]]:
    connection.execute(sql("allow_long_reading"))
    with connection.cursor() as cursor:
        yield from cursor.stream(sql("select_items"), values)


def _print_items(rows: Iterator[dict[str, Any]], limit: int) -> None:
    first = next(rows, None)
    if first is None:
        print_line("There are no such items.")
        return
    shown = 0

    def lines() -> Iterator[tuple[str, ...]]:
        nonlocal shown
        row: dict[str, Any] | None = first
        while row is not None:
            shown += 1
            yield _line(row)
            row = None if shown == limit else next(rows, None)

    print_table(_TITLES, lines())
    cut = next(rows, None) is not None
    print_line()
    print_line(f"{counted(shown, 'item')}{'; there are more, and --limit 0 shows all' if cut else ''}.")


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "fields": orjson.Fragment(row["fields"]),
        "tags": orjson.Fragment(row["tags"]),
        "updatedAt": rfc3339(row["updated_at"]),
    }


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (visible(row[name]) for name in ("id", "name", "fields", "tags"))
    return (*texts, visible(rfc3339(row["updated_at"])))

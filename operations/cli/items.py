"""`ingestctl items`: the stored items of a connector's stream.

Fields and tags are printed as the text that Postgres returns, so that a number keeps all its digits.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, plain_text
from operations.cli.output import print_json_list, print_rows, rows_to_read
from operations.connectors import select_connectors
from operations.items import PROPERTIES, item_document, wanted_items
from operations.readable import visible
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl items 1 agents
      ingestctl items 1 agents --id agent-1001 --json
      ingestctl items 1 agents --search smith
      ingestctl items 1 agents --limit 0 --json > agents.json
    """
_DEFAULT_LIMIT: Final = 20
_TITLES: Final = (*PROPERTIES, "updated")


def items(
    connector_id: ConnectorId,
    stream: Annotated[str, typer.Argument(callback=plain_text, help="Name of the stream.", metavar="STREAM")],
    *,
    item_id: Annotated[
        str | None, typer.Option("--id", callback=plain_text, help="Show only the item with this id.", metavar="ID")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(callback=plain_text, help="Show only items whose id begins so, or whose name contains it."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Maximum number of items to show; 0 shows all.")
    ] = _DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show the items of a connector's stream.

    They are shown as they are stored, in the order of their ids.
    """
    most = rows_to_read(limit, as_json=as_json)
    wanted = wanted_items(connector_id, stream, item_id=item_id, search=search, limit=most)
    with session.reading_database() as connection:
        select_connectors(connection, connector_id)
        with session.stream_rows(connection, "select_items", wanted) as rows:
            if as_json:
                print_json_list("items", map(item_document, rows))
            else:
                print_rows(_TITLES, rows, _line, limit=limit, none="There are no such items.", noun="item")


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (visible(row[name]) for name in PROPERTIES)
    return (*texts, visible(rfc3339(row["updated_at"])))

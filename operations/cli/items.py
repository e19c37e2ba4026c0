"""`ingestctl items`: the stored items of a connector's stream.

Fields and tags are printed as the text that Postgres returns, so that a number keeps all its digits.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, plain_text
from operations.cli.output import print_json_list, print_rows, rows_to_read, visible
from operations.connectors import select_connectors
from shared.kinds.items import ITEM
from shared.kinds.shapes import Flag, Primitives
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl items 1 agents
      ingestctl items 1 agents --id agent-1001 --json
      ingestctl items 1 agents --limit 0 --json > agents.json
    """
_DEFAULT_LIMIT: Final = 20
_PROPERTIES: Final = {name: one for name, one in ITEM.properties.items() if not isinstance(one, Flag)}
_TITLES: Final = (*_PROPERTIES, "updated")


def items(
    connector_id: ConnectorId,
    stream: Annotated[str, typer.Argument(callback=plain_text, help="Name of the stream.", metavar="STREAM")],
    *,
    item_id: Annotated[
        str | None, typer.Option("--id", callback=plain_text, help="Show only the item with this id.", metavar="ID")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Maximum number of items to show; 0 shows all.")
    ] = _DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show the items of a connector's stream.

    They are shown as they are stored, in the order of their ids.
    """
    wanted = {
        "connector_id": connector_id,
        "stream": stream,
        "id": item_id,
        "limit": rows_to_read(limit, as_json=as_json),
    }
    with session.reading_database() as connection:
        select_connectors(connection, connector_id)
        with session.stream_rows(connection, "select_items", wanted) as rows:
            if as_json:
                print_json_list("items", map(_document, rows))
            else:
                print_rows(_TITLES, rows, _line, limit=limit, none="There are no such items.", noun="item")


def _document(row: dict[str, Any]) -> dict[str, Any]:
    document = {
        name: orjson.Fragment(row[name]) if isinstance(one, Primitives) else row[name]
        for name, one in _PROPERTIES.items()
    }
    return {**document, "updatedAt": rfc3339(row["updated_at"])}


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (visible(row[name]) for name in _PROPERTIES)
    return (*texts, visible(rfc3339(row["updated_at"])))

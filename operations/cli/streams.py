"""`ingestctl streams`: the streams of a connector."""

from __future__ import annotations

from typing import Final

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId
from operations.cli.output import print_json_list, print_line, print_table
from operations.connectors import select_connectors
from operations.readable import visible
from operations.streams import read_streams
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl streams 1
      ingestctl streams 1 --json
    """
_TITLES: Final = ("stream", "items", "last updated")


def streams(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Show a connector's streams, with their number of items."""
    with session.reading_database() as connection:
        select_connectors(connection, connector_id)
        rows = read_streams(connection, connector_id)
    lines = [(row["stream"], row["items"], rfc3339(row["last_updated_at"])) for row in rows]
    if as_json:
        members = ("stream", "items", "lastUpdatedAt")
        print_json_list("streams", (dict(zip(members, line, strict=True)) for line in lines))
    elif not lines:
        print_line("There are no items.")
    else:
        cells = ((visible(stream), f"{items:,}", moment or "-") for stream, items, moment in lines)
        print_table(_TITLES, cells, numbers=("items",), whole=("stream",))

"""The streams of a connector."""

from __future__ import annotations

from typing import Any, Final

from shared.postgres.connections import Connection
from shared.postgres.queries import sql

#: Items of a stream, and streams, that a glance counts.
MOST_COUNTED: Final = 10_000
MOST_STREAMS: Final = 50


def read_streams(connection: Connection, connector_id: int) -> list[dict[str, Any]]:
    """Return a connector's streams: `stream`, `items` and `last_updated_at`, when one of its items last changed.

    It reads all items of the connector.
    """
    return connection.execute(sql("select_streams"), {"connector_id": connector_id}).fetchall()


def glance_at_streams(connection: Connection, connector_id: int) -> list[dict[str, Any]]:
    """Return the first streams in a short time: of one with more than MOST_COUNTED items, `items` is None."""
    values = {"connector_id": connector_id, "most": MOST_COUNTED, "streams": MOST_STREAMS}
    return connection.execute(sql("select_streams_up_to"), values).fetchall()

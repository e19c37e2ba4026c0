"""The streams of a connector."""

from __future__ import annotations

from typing import Any

from shared.postgres.connections import Connection
from shared.postgres.queries import sql


def read_streams(connection: Connection, connector_id: int) -> list[dict[str, Any]]:
    """Return a connector's streams: `stream`, `items` and `last_updated_at`, when one of its items last changed."""
    return connection.execute(sql("select_streams"), {"connector_id": connector_id}).fetchall()

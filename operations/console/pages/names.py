"""Names of connectors by their ids."""

from __future__ import annotations

from collections.abc import Iterable

from shared.postgres.connections import Connection
from shared.postgres.queries import sql


def names_of(connection: Connection, connector_ids: Iterable[int | None]) -> dict[int, str]:
    """Return the names of connectors; one that does not exist any more has none."""
    wanted = sorted({one for one in connector_ids if one})
    rows = connection.execute(sql("select_names"), {"connector_ids": wanted}).fetchall() if wanted else []
    return {row["connector_id"]: row["name"] for row in rows}

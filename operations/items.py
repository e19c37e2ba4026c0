"""The stored items of connectors, as operators read them."""

from __future__ import annotations

from typing import Any, Final

import orjson

from shared.kinds.items import ITEM
from shared.kinds.shapes import Flag, Primitives
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.rfc3339 import rfc3339

#: What is stored of an item.
PROPERTIES: Final = {name: one for name, one in ITEM.properties.items() if not isinstance(one, Flag)}


def wanted_items(
    connector_id: int,
    stream: str,
    *,
    item_id: str | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return the parameters of `select_items`; `search` is the beginning of ids, or a part of names in any case."""
    pattern = None if search is None else search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return {
        "connector_id": connector_id,
        "stream": stream,
        "id": item_id,
        "prefix": search,
        "pattern": pattern and f"%{pattern}%",
        "after": after,
        "limit": limit,
    }


def select_items(connection: Connection, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return items."""
    return connection.execute(sql("select_items"), wanted).fetchall()


def item_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `select_items` for JSON: fields and tags are the text of Postgres, which has all digits."""
    document = {
        name: orjson.Fragment(row[name]) if isinstance(one, Primitives) else row[name]
        for name, one in PROPERTIES.items()
    }
    return {**document, "updatedAt": rfc3339(row["updated_at"])}

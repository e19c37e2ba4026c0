"""The job: one submission, one transaction, one multi-row upsert by `unnest`."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import orjson
import psycopg
from rq import get_current_job

_REQUEST = """
INSERT INTO peers.requests (id, connector_id, items) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING
"""
_ITEMS = """
INSERT INTO peers.items (connector_id, stream, id, name, fields, tags, version)
SELECT %s, %s, row.id, row.name, row.fields, row.tags, %s
FROM unnest(%s::text[], %s::text[], %s::text[]::jsonb[], %s::text[]::jsonb[]) AS row (id, name, fields, tags)
ON CONFLICT (connector_id, stream, id) DO UPDATE
SET name = excluded.name, fields = excluded.fields, tags = excluded.tags, version = excluded.version, updated_at = now()
WHERE items.version < excluded.version
"""


@cache
def connection() -> psycopg.Connection:
    """Return the connection of the worker, which runs one job at a time in its own process."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0)


def apply_items(connector_id: int, stream: str, items: list[dict[str, Any]], version: int) -> None:
    """Apply a submission unless it was applied before; the last one of several items with one id counts."""
    if connection().broken or connection().closed:
        connection.cache_clear()
    job = get_current_job()
    # In the order of their ids, so that two jobs never wait for each other.
    rows = [item for _, item in sorted({item["id"]: item for item in items}.items())]
    columns = (
        [item["id"] for item in rows],
        [item.get("name") for item in rows],
        [orjson.dumps(item.get("fields", {})).decode() for item in rows],
        [orjson.dumps(item.get("tags", {})).decode() for item in rows],
    )
    with connection().transaction(), connection().cursor() as cursor:
        if cursor.execute(_REQUEST, (job.id, connector_id, len(items))).rowcount:
            cursor.execute(_ITEMS, (connector_id, stream, version, *columns))

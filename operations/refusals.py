"""The last refusals: one by one, or grouped by what is wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.rfc3339 import rfc3339

#: What a 401 says of the key, and what to do then.
REASONS: Final = {
    "rotated": "The key was replaced: give the sender the new one.",
    "deleted": "The key or hook was deleted: stop the sender, or give it another one.",
    "disabled": "The connector or hook is disabled: enable it, or stop the sender.",
    "secret_wrong": "The key is right and its secret is not: copy the whole credential again.",
    "unknown": "No connector has or had this key: a typing error, another installation, or a guess.",
    "missing": "There is no `Authorization` header.",
    "malformed": "The `Authorization` header is not `Bearer` and one whole credential, `ik_…`: copy it again.",
    "signature_wrong": "The signature does not fit the body: the sender has another secret.",
    "signature_missing": "The sender does not sign: check the scheme.",
    "stale": "The time stamp is too old: check the sender's clock.",
}


def read_refusals(
    connection: Connection,
    *,
    connector_id: int | None = None,
    code: str | None = None,
    since: datetime | str | None = None,
    limit: int | None = 50,
    before: int | None = None,
) -> list[dict[str, Any]]:
    """Return the newest refusals, the newest first; `before`: the `number` of the last one that is known."""
    values = {"connector_id": connector_id, "code": code, "since": since, "limit": limit, "before": before}
    return connection.execute(sql("select_refusals"), values).fetchall()


def group_refusals(
    connection: Connection,
    *,
    connector_id: int | None = None,
    code: str | None = None,
    since: datetime | str | None = None,
    limit: int | None = 100,
) -> list[dict[str, Any]]:
    """Return refusals by code, reason, path, route, connector and stream, the most frequent first.

    `count` includes those of a flood that were only counted; `message` and `request_id` are of the newest.
    """
    values = {"connector_id": connector_id, "code": code, "since": since, "limit": limit}
    return connection.execute(sql("group_refusals"), values).fetchall()


def refusal_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `read_refusals` for JSON."""
    return {
        "at": rfc3339(row["at"]),
        "requestId": row["request_id"],
        "connectorId": row["connector_id"],
        "keyId": row["key_id"],
        "reason": row["reason"],
        **{name: row[name] for name in ("route", "stream", "code", "path", "message", "limit", "observed", "skipped")},
    }


def group_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `group_refusals` for JSON."""
    return {
        **{name: row[name] for name in ("code", "reason", "route", "stream", "count", "message")},
        "connectorId": row["connector_id"],
        "path": row["path_pattern"],
        "firstAt": rfc3339(row["first_at"]),
        "lastAt": rfc3339(row["last_at"]),
        "requestId": row["request_id"],
    }

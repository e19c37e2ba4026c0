"""Dead letters for JSON, as `ingestctl` and the operations API tell them."""

from __future__ import annotations

import base64
from typing import Any

from operations.reasons import meaning_of
from shared.kinds import counts
from shared.request_id import position_of_version
from shared.rfc3339 import rfc3339


def request_id_of(row: dict[str, Any]) -> str:
    """Return the id of a letter's request."""
    return position_of_version(row["lane"], row["version"]).request_id


def document(row: dict[str, Any]) -> dict[str, Any]:
    """Return one letter for JSON, without its body; `row` as `select_dead_letters` has it."""
    return {
        "requestId": request_id_of(row),
        "connectorId": row["connector_id"],
        "lane": row["lane"],
        "kind": row["kind"],
        **counts(row["kind"], row["received"]),
        "bytes": row["bytes"],
        "reason": row["reason"],
        "meaning": meaning_of(row["reason"]),
        "detail": row["detail"],
        "fingerprint": row["fingerprint"],
        "receivedAt": rfc3339(row["received_at"]),
        "diedAt": rfc3339(row["died_at"]),
    }


def letter_document(letter: dict[str, Any]) -> dict[str, Any]:
    """Return one letter for JSON, with its body; `letter` as `select_dead_letter` has it."""
    body: bytes = letter["body"]
    try:
        return {**document(letter), "body": body.decode(), "bodyEncoding": "utf-8"}
    except UnicodeDecodeError:
        return {**document(letter), "body": base64.b64encode(body).decode(), "bodyEncoding": "base64"}


def group_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return one group for JSON; `row` as `select_dead_letter_groups` has it."""
    return {
        "fingerprint": row["fingerprint"],
        "letters": row["letters"],
        "bytes": row["bytes"],
        "connectors": row["connectors"],
        "reason": row["reason"],
        "meaning": meaning_of(row["reason"]),
        "detail": row["detail"],
        "firstDiedAt": rfc3339(row["first_died_at"]),
        "lastDiedAt": rfc3339(row["last_died_at"]),
    }

"""Loaded by schemathesis, not by pytest: makes valid what JSON Schema can't say of valid data.

Three rules tie a value to another one, or to what is in a string. Data that is to be accepted is put right here; data
that is to be refused is left as it is.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import schemathesis

MOST_FIELDS = 200
MOST_ID_BYTES = 512


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Completes a request that is meant to be accepted."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in (case.headers or {}):
        # The same key with another body is refused, and short keys are drawn more than once.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if case.path == "/api/webhook/{stream}" and isinstance(case.body, dict):
        # `idField` names a member that must be there.
        case.body = with_id(case.body, (case.query or {}).get("idField", "id"))
    if case.path == "/api/connector/config" and isinstance(case.body, dict):
        # The text must be JSON itself.
        case.body = {"configuration": json.dumps({"drawn": case.body["configuration"]})}


def with_id(body: dict[str, Any], name: str) -> dict[str, Any]:
    """A webhook's body that has an id that can be used."""
    found = body.get(name)
    if isinstance(found, int | float) or (isinstance(found, str) and 0 < len(found.encode()) <= MOST_ID_BYTES):
        return body
    others = [(member, value) for member, value in body.items() if member != name]
    return {**dict(others[: MOST_FIELDS - 1]), name: "drawn"}

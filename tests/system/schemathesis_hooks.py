"""Hooks of schemathesis, which loads this file: what JSON Schema can't express of requests and answers.

Five rules tie a value to another one, or to what is in a string. Data that is to be accepted is corrected here; data
that is to be refused is left as it is.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import schemathesis

MAX_FIELDS = 200
MAX_ID_BYTES = 512


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Complete a request that is meant to be accepted."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "Idempotency-Key" in (case.headers or {}):
        # The same key with another body is refused, and short keys are drawn more than once.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if isinstance(case.body, dict):
        case.body = without_nul(case.body)
    if case.path == "/api/webhook/{stream}" and isinstance(case.body, dict):
        # `idField` names a member that must be there; drawn text that begins with a slash is no valid pointer.
        if (case.query or {}).get("idField", "").startswith("/"):
            case.query["idField"] = "id"
        case.body = with_id(case.body, (case.query or {}).get("idField", "id"))
    if case.path == "/api/ingest/retain" and isinstance(case.body, dict):
        # JSON Schema calls 1.0 an integer, too.
        case.body |= {name: int(value) for name, value in case.body.items() if isinstance(value, float)}
    if case.path == "/api/connector/config" and isinstance(case.body, dict):
        # The text must be JSON itself.
        case.body = {"configuration": json.dumps({"drawn": case.body["configuration"]})}


@schemathesis.check
def the_code_is_one_of_the_response(_context: Any, response: Any, case: schemathesis.Case[Any]) -> None:
    """Fail if an answer refuses with a code that its response does not list."""
    body = response.json() if response.content and "json" in response.headers["content-type"][0] else {}
    if "error" in body:
        described = case.operation.definition.raw["responses"][str(response.status_code)]
        assert body["error"]["code"] in described["x-errors"], body


def without_nul(value: Any) -> Any:
    """Return the value without U+0000: "any JSON" (AnyValue) has no schema that could exclude it."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(one) for one in value]
    if isinstance(value, dict):
        return {without_nul(name): without_nul(one) for name, one in value.items()}
    return value


def with_id(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a webhook's body that has a valid id."""
    found = body.get(name)
    if isinstance(found, int | float) or (isinstance(found, str) and 0 < len(found.encode()) <= MAX_ID_BYTES):
        return body
    others = [(member, value) for member, value in body.items() if member != name]
    return {**dict(others[: MAX_FIELDS - 1]), name: "drawn"}

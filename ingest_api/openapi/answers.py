"""What comes back, for the OpenAPI document: the shapes of answers, their headers, and every refusal of a route.

A refusal's status, meaning and advice are read from the register of codes. Shapes are closed, although a client had
better ignore what it doesn't know: so an answer with a member that is not told here fails the tests.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, get_args

from ingest_api.errors import ErrorCode
from ingest_api.openapi.schemas import CONFIGURATION_TEXT, Schema, ref
from shared.entry import COUNTED, Kind

#: The form that is promised; the ids given today keep to fewer letters.
REQUEST_ID: Final[Schema] = {
    "type": "string",
    "pattern": "^req_[a-z0-9]{14}$",
    "description": "The same as in `X-Request-Id`. Quote it to support.",
}
_EXAMPLES: Final = "#/components/examples/"
_EXAMPLE_ID: Final = "req_a1b2c3d4e5f6g7"
#: The users' document shows a configuration that is cut short; this one is JSON.
CONFIGURATION_EXAMPLE: Final = {
    "connectorId": 42,
    "name": "Warehouse SQL",
    "configuration": '{\n "Version": "7.0"\n}',
    "defaultConfiguration": False,
    "dataPoolAddress": "https://datapool.example.com",
    "requestId": _EXAMPLE_ID,
}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_WHEN: Final[Schema] = {"type": "string", "format": "date-time"}


def answers() -> dict[str, Schema]:
    """Every shape of an answer, by the components' names."""
    return {
        **{_accepted_name(kind): _accepted(kind) for kind in get_args(Kind)},
        "RequestStatus": _request_status(),
        "ConnectorConfiguration": _connector_configuration(),
        "Alive": _closed(status={"const": "ok"}, requestId=REQUEST_ID),
        "Unready": _closed(
            status={"const": "unavailable"},
            requestId=REQUEST_ID,
            missing={"type": "array", "items": {"type": "string"}, "description": "Sentences: what is missing."},
        ),
        "Metrics": _closed(
            status={"const": "ok"}, requestId=REQUEST_ID, metrics={"type": "array", "items": ref("Sample")}
        ),
        "Sample": _closed(
            name={"type": "string"},
            labels={"type": "object", "additionalProperties": {"type": "string"}},
            value={"type": "number"},
        ),
        "Document": {
            "type": "object",
            "properties": {"openapi": {"type": "string"}, "x-request-id": REQUEST_ID},
            "required": ["openapi", "x-request-id"],
        },
        "Refusal": _refusal(),
        "Code": _code(),
    }


def accepted(kind: Kind) -> Schema:
    """A reference to the shape of a 202."""
    return ref(_accepted_name(kind))


def _accepted_name(kind: Kind) -> str:
    return f"{kind.capitalize()}Accepted"


def _accepted(kind: Kind) -> Schema:
    counted = {COUNTED[kind]: _COUNT} if kind in COUNTED else {}
    return _closed(status={"const": "accepted"}, requestId=REQUEST_ID, **counted)


def accepted_example(kind: Kind) -> dict[str, Any]:
    """The document's answer."""
    counted = {COUNTED[kind]: 1} if kind in COUNTED else {}
    return {"status": "accepted", "requestId": _EXAMPLE_ID, **counted}


def _request_status() -> Schema:
    schema = _closed(
        status={"const": "ok"},
        requestId=REQUEST_ID,
        state={"enum": ["queued", "applied", "dead"], "description": "`applied` and `dead` are final."},
        kind={"enum": list(get_args(Kind))},
        receivedAt=_WHEN,
        appliedAt={**_WHEN, "type": ["string", "null"]},
    )
    schema["properties"] |= dict.fromkeys(COUNTED.values(), _COUNT)
    schema["properties"] |= {"diedAt": _WHEN, "reason": {"type": ["string", "null"], "description": "Why it is dead."}}
    return schema


def _connector_configuration() -> Schema:
    return _closed(
        connectorId={"type": "integer", "minimum": 1},
        name={"type": "string"},
        configuration=CONFIGURATION_TEXT,
        defaultConfiguration={"type": "boolean", "description": "False: operators manage this configuration."},
        dataPoolAddress={"type": "string", "description": "Where to submit data."},
        requestId=REQUEST_ID,
    )


def _refusal() -> Schema:
    error = _closed(code=ref("Code"), message={"type": "string", "description": "One sentence: what to change."})
    number = {"type": "integer", "description": "In the unit that `message` names."}
    path = {"type": "string", "description": "Where it is wrong.", "examples": ["$.items[3].fields.notes"]}
    error["properties"] |= {"path": path, "limit": number, "observed": number}
    return _closed(status={"const": "error"}, requestId=REQUEST_ID, error=error)


def _code() -> Schema:
    return {
        "type": "string",
        "oneOf": [
            {
                "const": code.text,
                "description": f"{code.value.meaning} {code.value.advice}",
                "x-status": code.value.status,
                "x-retry": code.value.retry,
            }
            for code in ErrorCode
        ],
    }


def _closed(**properties: Schema) -> Schema:
    """An object that has these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def refusals(codes: Collection[ErrorCode], *, authenticated: bool) -> dict[str, Schema]:
    """The answers that refuse, by status."""
    by_status: dict[int, list[ErrorCode]] = {}
    for code in ErrorCode:
        if code in codes:
            by_status.setdefault(code.value.status, []).append(code)
    return {
        str(status): answer(
            status,
            " ".join(f"`{code.text}`: {code.value.meaning}" for code in found),
            {
                **ref("Refusal"),
                "properties": {"error": {"properties": {"code": {"enum": [one.text for one in found]}}}},
            },
            {code.text: {"$ref": _EXAMPLES + code.text} for code in found},
            authenticated=authenticated,
        )
        for status, found in sorted(by_status.items())
    }


def refusal_examples() -> dict[str, Any]:
    """One of each code, by the components' names."""
    return {
        code.text: {
            "summary": code.value.advice,
            "value": {
                "status": "error",
                "requestId": _EXAMPLE_ID,
                "error": {"code": code.text, "message": code.value.meaning},
            },
        }
        for code in ErrorCode
    }


def answer(
    status: int,
    description: str,
    schema: Schema | None,
    examples: dict[str, Any] | None = None,
    headers: dict[str, Schema] | None = None,
    *,
    authenticated: bool,
) -> Schema:
    """An answer with the headers that its status brings along. A 304 has no schema."""
    described: Schema = {
        "description": description,
        "headers": {**_headers(status, authenticated=authenticated), **(headers or {})},
    }
    if schema is not None:
        content = {"schema": schema, **({"examples": examples} if examples else {})}
        described["content"] = {"application/json": content}
    return described


def _headers(status: int, *, authenticated: bool) -> dict[str, Schema]:
    headers = {"X-Request-Id": header(REQUEST_ID, "The id of this request.")}
    if authenticated and status not in _BEFORE_AUTHENTICATION:
        # The other statuses of a route that asks for a credential may be answered before it was looked at.
        required = status not in _PERHAPS_BEFORE_AUTHENTICATION
        for name, meaning in _RATE_LIMIT.items():
            headers[name] = header({"type": "integer", "minimum": 0}, meaning, required=required)
    return headers | _HEADERS_OF_STATUS.get(status, {})


def header(schema: Schema, description: str, *, required: bool = True) -> Schema:
    """A header of an answer."""
    return {"description": description, "required": required, "schema": schema}


_BEFORE_AUTHENTICATION: Final = (401, 405)
_PERHAPS_BEFORE_AUTHENTICATION: Final = (400, 404, 408, 500, 503)
_RATE_LIMIT: Final = {
    "RateLimit-Limit": "Requests that the credential's bucket holds when full.",
    "RateLimit-Remaining": "Requests that it holds now.",
    "RateLimit-Reset": "Seconds until it is full.",
}
_RETRY_AFTER: Final = header({"type": "integer", "minimum": 1}, "Seconds to wait.")
_HEADERS_OF_STATUS: Final[dict[int, dict[str, Schema]]] = {
    401: {"WWW-Authenticate": header({"const": "Bearer"}, "The scheme to use.")},
    405: {"Allow": header({"type": "string"}, "The methods of this route.")},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}

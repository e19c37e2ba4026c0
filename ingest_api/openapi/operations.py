"""What each route takes and answers, for the OpenAPI document: one entry a route and method.

Which codes a route may answer with is told here by the steps that its handler goes through; what a code means, and its
status, stand in the register. The examples are those of the users' document, but for the configuration, which there is
abridged and no JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ingest_api import idempotency
from ingest_api.errors import ErrorCode
from ingest_api.openapi.answers import (
    CONFIGURATION_EXAMPLE,
    REQUEST_ID,
    accepted,
    accepted_example,
    answer,
    header,
    refusals,
)
from ingest_api.openapi.schemas import Schema, ref, text
from ingest_api.request_status import LONGEST_WAIT_SECONDS
from shared.entry import Kind
from shared.limits import MAX_BODY_BYTES, MAX_KEY_BYTES

CREDENTIAL: Final = "ingestCredential"

#: What a request may be answered with whatever its route does.
_ALWAYS: Final = frozenset(
    {
        *(ErrorCode.BAD_REQUEST, ErrorCode.HEADERS_TOO_LARGE, ErrorCode.HEADERS_TIMEOUT),
        *(ErrorCode.METHOD_NOT_ALLOWED, ErrorCode.INTERNAL_ERROR, ErrorCode.SHUTTING_DOWN),
    }
)
_GATE: Final = _ALWAYS | {
    ErrorCode.UNAUTHORIZED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.NOT_READY,
}
_JSON_BODY: Final = frozenset(
    {
        *(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.UNSUPPORTED_ENCODING,
            ErrorCode.BODY_TOO_LARGE,
            ErrorCode.BODY_TIMEOUT,
        ),
        *(ErrorCode.INCOMPLETE_BODY, ErrorCode.INVALID_COMPRESSION, ErrorCode.OVERLOADED),
        *(ErrorCode.INVALID_ENCODING, ErrorCode.INVALID_JSON, ErrorCode.WRONG_TYPE),
        *(ErrorCode.NESTING_TOO_DEEP, ErrorCode.NUL_CHARACTER, ErrorCode.NUMBER_OUT_OF_RANGE),
    }
)
_KNOWN_PROPERTIES: Final = frozenset({ErrorCode.EMPTY_BODY, ErrorCode.MISSING_PROPERTY, ErrorCode.UNKNOWN_PROPERTY})
_SUBMISSION: Final = (
    _GATE
    | _JSON_BODY
    | {
        ErrorCode.INVALID_IDEMPOTENCY_KEY,
        ErrorCode.IDEMPOTENCY_KEY_REUSED,
        ErrorCode.BACKLOG_FULL,
        ErrorCode.CONNECTOR_BACKLOG_FULL,
    }
)
_PRIMITIVES: Final = frozenset({ErrorCode.NESTED_VALUE, ErrorCode.INVALID_NAME, ErrorCode.VALUE_TOO_LARGE})
_ITEM: Final = frozenset(
    {ErrorCode.INVALID_STREAM, ErrorCode.INVALID_ID, ErrorCode.INVALID_NAME}
    | {ErrorCode.TOO_MANY_FIELDS, ErrorCode.VALUE_TOO_LARGE, ErrorCode.ITEM_TOO_LARGE}
)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one route."""

    name: str
    summary: str
    tag: str
    #: The answers that are no refusals, by status.
    answers: Mapping[str, Schema]
    codes: frozenset[ErrorCode]
    parameters: list[Schema] = field(default_factory=list)
    body: Schema | None = None
    authenticated: bool = True

    def described(self) -> Schema:
        """As an Operation Object."""
        answers = refusals(self.codes, authenticated=self.authenticated)
        for status, described in self.answers.items():
            # Readiness is told with a status that refusals have too.
            answers[status] = _either(described, answers[status]) if status in answers else described
        return {
            "operationId": self.name,
            "summary": self.summary,
            "tags": [self.tag],
            "security": [{CREDENTIAL: []}] if self.authenticated else [],
            **({"parameters": self.parameters} if self.parameters else {}),
            **({"requestBody": self.body} if self.body else {}),
            "responses": dict(sorted(answers.items())),
        }


def _either(one: Schema, other: Schema) -> Schema:
    schemas = [answer_["content"]["application/json"]["schema"] for answer_ in (one, other)]
    examples = other["content"]["application/json"]["examples"]
    return {
        "description": f"{one['description']} {other['description']}",
        "headers": one["headers"],
        "content": {"application/json": {"schema": {"oneOf": schemas}, "examples": examples}},
    }


def _parameter(name: str, where: str, schema: Schema, meaning: str) -> Schema:
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": meaning}


def _json(schema: Schema, example: Any, *, required: bool = True) -> Schema:
    return {
        "description": f"Up to {MAX_BODY_BYTES:,} bytes, as sent and again after decompression. "
        "`Content-Encoding: gzip` is understood.",
        "required": required,
        "content": {"application/json": {"schema": schema, "examples": {"document": {"value": example}}}},
    }


_IDEMPOTENCY_KEY: Final = _parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "pattern": f"^{idempotency.FORM.pattern.decode()}$"},
    "A repeat with the same key within a day is answered as the first one was, and nothing is taken in twice.",
)
_REPLAYED: Final = header(
    {"type": "string", "const": "true"}, "This repeats an earlier submission, whose id the answer has.", required=False
)
_STATUS_LINK: Final = {
    "status": {
        "operationId": "getRequestStatus",
        "parameters": {"requestId": "$response.body#/requestId"},
        "description": "What becomes of it.",
    }
}


def _submission(
    kind: Kind, name: str, summary: str, body: Schema, codes: frozenset[ErrorCode], *parameters: Schema
) -> Operation:
    taken = answer(
        202,
        "Accepted: it survives the loss of any process and of the machine's power, and will be applied once.",
        accepted(kind),
        {"document": {"value": accepted_example(kind)}},
        {"Idempotent-Replayed": _REPLAYED},
        authenticated=True,
    )
    return Operation(
        name=name,
        summary=summary,
        tag="data",
        answers={"202": {**taken, "links": _STATUS_LINK}},
        codes=_SUBMISSION | codes,
        parameters=[*parameters, _IDEMPOTENCY_KEY],
        body=body,
    )


_ITEM_BATCH_EXAMPLE: Final = {
    "stream": "agents",
    "items": [
        {
            "id": "agent-1001",
            "name": "Alice Smith",
            "fields": {"state": "Ready", "queue": "Sales", "callsHandled": "14"},
            "tags": {"site": "London"},
        }
    ],
}
_LOG_EXAMPLE: Final = {
    "entries": [
        {
            "level": "info",
            "message": "Poll completed",
            "timestamp": "2026-04-09T11:08:00Z",
            "context": {"rows": "52"},
        }
    ]
}
_WEBHOOK_EXAMPLE: Final = {"id": "agent-1001", "name": "Alice Smith", "state": "Ready", "skills": ["sales", "support"]}

_ETAG: Final = header({"type": "string", "pattern": '^"[^"]+"$'}, "Of what is told but `requestId`.")
_CACHE_CONTROL: Final = header({"type": "string"}, "Ask again each time, with `If-None-Match`.")
_CONFIGURATION_HEADERS: Final = {"ETag": _ETAG, "Cache-Control": _CACHE_CONTROL}
_CONFIGURATION_ANSWER: Final = answer(
    200,
    "The configuration that holds now.",
    ref("ConnectorConfiguration"),
    {"document": {"value": CONFIGURATION_EXAMPLE}},
    _CONFIGURATION_HEADERS,
    authenticated=True,
)
#: Prometheus' forms are for who asks for them by `Accept`.
_METRICS: Final = answer(200, "What is counted, and what waits.", ref("Metrics"), authenticated=False)
_METRICS["content"] |= {form: {"schema": {"type": "string"}} for form in ("text/plain", "application/openmetrics-text")}
_ALIVE: Final = answer(200, "Yes.", ref("Alive"), authenticated=False)

#: By path, as the router has it, and method.
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("/api/ingest", "POST"): _submission(
        "items",
        "ingestItems",
        "Submit items",
        _json(ref("ItemBatch"), _ITEM_BATCH_EXAMPLE),
        _KNOWN_PROPERTIES | _PRIMITIVES | _ITEM | {ErrorCode.TOO_MANY_TAGS},
    ),
    ("/api/ingest/log", "POST"): _submission(
        "log",
        "ingestLog",
        "Submit log entries",
        _json(ref("EntryBatch"), _LOG_EXAMPLE),
        _KNOWN_PROPERTIES | _PRIMITIVES | {ErrorCode.INVALID_LEVEL, ErrorCode.INVALID_TIMESTAMP},
    ),
    ("/api/ingest/heartbeat", "POST"): _submission(
        "heartbeat",
        "heartbeat",
        "Tell that the connector lives",
        _json(ref("AnyObject"), {}, required=False),
        frozenset(),
    ),
    ("/api/webhook/{stream}", "POST"): _submission(
        "webhook",
        "ingestWebhook",
        "Submit any JSON object as one item",
        _json(ref("WebhookItem"), _WEBHOOK_EXAMPLE),
        _ITEM | {ErrorCode.EMPTY_BODY, ErrorCode.MISSING_PROPERTY, ErrorCode.NOT_FOUND},
        _parameter("stream", "path", ref("ItemBatch/properties/stream"), "The item's stream."),
        _parameter(
            "idField",
            "query",
            {**text(MAX_KEY_BYTES, 1), "default": "id"},
            "The member of the body that holds the item's id.",
        ),
    ),
    ("/api/requests/{requestId}", "GET"): Operation(
        name="getRequestStatus",
        summary="What became of a submission",
        tag="data",
        answers={"200": answer(200, "What is known of it.", ref("RequestStatus"), authenticated=True)},
        codes=_GATE
        | {ErrorCode.NOT_FOUND, ErrorCode.UNKNOWN_REQUEST, ErrorCode.INVALID_PARAMETER, ErrorCode.DATABASE_UNAVAILABLE},
        parameters=[
            _parameter("requestId", "path", REQUEST_ID, "As the submission was answered."),
            _parameter(
                "wait",
                "query",
                {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS, "default": 0},
                "Seconds to hold the answer for, until the state is final.",
            ),
        ],
    ),
    ("/api/connector/config", "GET"): Operation(
        name="getConfiguration",
        summary="The connector's configuration",
        tag="management",
        answers={
            "200": _CONFIGURATION_ANSWER,
            "304": answer(304, "Still what the tag says. No body.", None, headers={"ETag": _ETAG}, authenticated=True),
        },
        codes=_GATE | {ErrorCode.DATABASE_UNAVAILABLE},
        parameters=[
            _parameter("If-None-Match", "header", {"type": "string"}, "The `ETag` of an earlier answer."),
        ],
    ),
    ("/api/connector/config", "PUT"): Operation(
        name="publishConfiguration",
        summary="Publish the connector's default configuration",
        tag="management",
        answers={"200": _CONFIGURATION_ANSWER},
        codes=_GATE
        | _JSON_BODY
        | _KNOWN_PROPERTIES
        | {ErrorCode.INVALID_CONFIGURATION, ErrorCode.DATABASE_UNAVAILABLE},
        body=_json(ref("PublishedConfiguration"), {"configuration": CONFIGURATION_EXAMPLE["configuration"]}),
    ),
    ("/healthz", "GET"): Operation(
        name="healthz",
        summary="Whether this process lives",
        tag="health",
        answers={"200": _ALIVE},
        codes=_ALWAYS,
        authenticated=False,
    ),
    ("/readyz", "GET"): Operation(
        name="readyz",
        summary="Whether submissions can be taken and applied",
        tag="health",
        answers={"200": _ALIVE, "503": answer(503, "No.", ref("Unready"), authenticated=False)},
        codes=_ALWAYS,
        authenticated=False,
    ),
    ("/metrics", "GET"): Operation(
        name="metrics",
        summary="Counts and gauges",
        tag="health",
        answers={"200": _METRICS},
        codes=_ALWAYS,
        authenticated=False,
    ),
    ("/openapi.json", "GET"): Operation(
        name="openapi",
        summary="This document",
        tag="health",
        answers={"200": answer(200, "The document.", ref("Document"), authenticated=False)},
        codes=_ALWAYS,
        authenticated=False,
    ),
}

"""The OpenAPI document of the operations API, made of the operations' declarations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

from operations.api.operation import Operation
from operations.api.refusals import CODES

Json = dict[str, Any]

_REFUSAL: Final[Json] = {
    "type": "object",
    "required": ["status", "requestId", "error"],
    "properties": {
        "status": {"const": "error"},
        "requestId": {"type": "string"},
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"enum": list(CODES)}, "message": {"type": "string"}},
        },
    },
}
_REFUSED: Final[dict[int, str]] = {
    400: "The request is not valid.",
    401: "The token is missing, unknown, expired or revoked.",
    403: "The token's role does not include this.",
    404: "There is no such thing.",
    409: "Something else is in the way.",
    412: "It was changed since `If-Match` was read.",
    413: "The body is too large.",
    503: "An engine can't be used now.",
}
_IF_MATCH: Final[Json] = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "pattern": r'^("\d{1,18}"|\*)$'},
    "description": "The ETag that must still hold; without it, the current state is changed.",
}


def document(operations: Sequence[Operation]) -> bytes:
    """Return the document of these operations."""
    parts = [kind for one in operations for kind in (one.answer, one.body, one.query) if kind is not None]
    kinds = [*dict.fromkeys(parts)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of: dict[Any, Json] = dict(zip(kinds, schemas, strict=True))
    paths: Json = {}
    for one in operations:
        query = components[schema_of[one.query]["$ref"].rpartition("/")[2]] if one.query else {}
        paths.setdefault(camel(one.path), {})[one.method.lower()] = _operation(one, schema_of, query)
    written = {
        "openapi": "3.1.1",
        "info": {
            "title": "Inspire Data Ingest, operations",
            "version": "1",
            "description": "What `ingestctl` can do, for programs. Tokens are made by `ingestctl token create`.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Refusal": _REFUSAL},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return re.sub(rb"Page_(\w+?)_\b", rb"\1Page", orjson.dumps(written))


def camel(path: str) -> str:
    """Return a path whose parameters are named in camel case."""
    return re.sub(r"_([a-z])", lambda letter: letter[1].upper(), path)


def _operation(one: Operation, schema_of: dict[Any, Json], query: Json) -> Json:
    summary, _, description = (inspect.getdoc(one.function) or "").partition("\n\n")
    written: Json = {
        "operationId": camel(one.function.__name__),
        "summary": summary,
        "description": f"{description}\n\nNeeds the role `{one.needed}`.".strip(),
        "parameters": _parameters(one, query),
        "responses": _responses(one, schema_of),
    }
    if one.body is not None:
        content = {"application/json": {"schema": schema_of[one.body]}}
        written["requestBody"] = {"required": True, "content": content}
    return written


def _parameters(one: Operation, query: Json) -> list[Json]:
    path = [
        {"name": camel(name), "in": "path", "required": True, "schema": msgspec.json.schema(kind)}
        for name, kind in one.parameters.items()
    ]
    members = [
        {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": schema}
        for name, schema in query.get("properties", {}).items()
    ]
    return [*path, *members, *([_IF_MATCH] if one.if_match else [])]


def _responses(one: Operation, schema_of: dict[Any, Json]) -> Json:
    statuses = [400, 401, 403, 503]
    statuses += [404] * bool(one.parameters) + [404, 409] * one.changes + [412] * one.if_match
    statuses += [413] * (one.body is not None)
    answer: Json = {"description": "Done."}
    if one.answer is not None:
        answer["content"] = {"application/json": {"schema": schema_of[one.answer]}}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    return {
        str(one.status): answer,
        **{str(status): {"description": _REFUSED[status], "content": refused} for status in sorted(set(statuses))},
    }

"""The OpenAPI document: the YAML files of this folder, completed with what the code declares.

People write paths, summaries, parameters, answers and examples in YAML. This module adds what has its home elsewhere:
request bodies, error codes, and the refusals and headers of each response.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Final

import yaml

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.openapi.schemas import CONFIGURATION_TEXT, bodies

Json = dict[str, Any]

#: One file for each surface, and one for the routes that every process serves.
_PATHS: Final = ("data.yaml", "management.yaml", "health.yaml")
_CREDENTIAL: Final = "ingestCredential"
_RATE_LIMIT: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_NEVER_RATE_LIMITED: Final = (401, 405)
#: A route that asks for a credential may give these answers before it has read the credential.
_PERHAPS_RATE_LIMITED: Final = (400, 404, 408, 500, 503)
_HEADERS_OF_STATUS: Final = {401: ["WWW-Authenticate"], 405: ["Allow"], 429: ["Retry-After"], 503: ["Retry-After"]}
_REFUSED: Final[Json] = {
    "description": "",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}


def document(operations: Iterable[tuple[str, str]] | None = None) -> Json:
    """Return the document of these operations, each a path and a method; of all that are described by default.

    Raises LookupError if an operation is not described.
    """
    written = _load("openapi.yaml")
    groups = written.pop("x-error-groups")
    described = {
        (path, method.upper()): operation
        for name in _PATHS
        for path, methods in _load(name).items()
        for method, operation in methods.items()
    }
    paths: Json = {}
    for path, method in described if operations is None else operations:
        if (path, method) not in described:
            raise LookupError(f"{method} {path} is not described; add it to a file in ingest_api/openapi.")
        paths.setdefault(path, {})[method.lower()] = _operation(described[path, method], groups)
    return {**written, "paths": paths, "components": _components()}


def codes(names: Iterable[str], groups: Mapping[str, list[str]]) -> set[ErrorCode]:
    """Return the error codes that `names` stand for: each a code or a group."""
    found: set[ErrorCode] = set()
    for name in names:
        found |= codes(groups[name], groups) if name in groups else {ErrorCode[name.upper()]}
    return found


def _load(name: str) -> Json:
    text = (resources.files(__package__) / name).read_text("utf-8")
    # libyaml's parser is faster, and not part of every wheel.
    loaded: Json = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded


def _components() -> Json:
    components = _load("components.yaml")
    components["schemas"] |= bodies() | {"ConfigurationText": CONFIGURATION_TEXT, "Code": _code()}
    components["examples"] = {
        code.text: {"summary": code.value.advice, "value": ApiError(code).payload("req_a1b2c3d4e5f6g7")}
        for code in ErrorCode
    }
    return components


def _code() -> Json:
    return {
        "type": "string",
        "enum": [code.text for code in ErrorCode],
        "x-enum-descriptions": [f"{code.value.meaning} {code.value.advice}" for code in ErrorCode],
        "x-status": {code.text: code.value.status for code in ErrorCode},
        "x-retry": [code.text for code in ErrorCode if code.value.retry],
    }


def _operation(written: Json, groups: Mapping[str, list[str]]) -> Json:
    """Return the operation with its security, its refusals and the headers of each response."""
    operation = {"security": [{_CREDENTIAL: []}], **written}
    responses = dict(written["responses"])
    refusing = codes(operation.pop("x-errors"), groups)
    by_status: dict[str, list[ErrorCode]] = {}
    for code in ErrorCode:
        if code in refusing:
            by_status.setdefault(str(code.value.status), []).append(code)
    for status, found in by_status.items():
        responses[status] = _refusal(found, responses.get(status, _REFUSED))
    operation["responses"] = {
        status: {
            **responses[status],
            "headers": _headers(int(status), operation) | responses[status].get("headers", {}),
        }
        for status in sorted(responses)
    }
    operation.pop("x-rate-limited", None)
    return operation


def _refusal(found: list[ErrorCode], written: Json) -> Json:
    """Return the response that refuses with these codes, added to what is written for the same status."""
    content = written["content"]["application/json"]
    examples = {code.text: {"$ref": f"#/components/examples/{code.text}"} for code in found}
    meanings = [f"`{code.text}`: {code.value.meaning}" for code in found]
    return {
        "description": " ".join([*filter(None, [written["description"]]), *meanings]),
        "content": {"application/json": {**content, "examples": content.get("examples", {}) | examples}},
        "x-errors": [code.text for code in found],
    }


def _headers(status: int, operation: Json) -> Json:
    names = {name: name for name in ["X-Request-Id", *_HEADERS_OF_STATUS.get(status, [])]}
    is_limited = operation["security"] or operation.get("x-rate-limited")
    if is_limited and status not in _NEVER_RATE_LIMITED:
        form = ".optional" if status in _PERHAPS_RATE_LIMITED or not operation["security"] else ""
        names |= {name: name + form for name in _RATE_LIMIT}
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in names.items()}

"""The OpenAPI document of what this process serves, at `/openapi.json`.

It is made when the process starts, from the routes that the process has (`SURFACES`) and from the types, limits and
codes that judge requests; a route that is not described here keeps the process from starting. What the document says is
held against a running server in `tests/system/test_openapi_conformance.py`.

Every answer's body carries the request's id. In this one it is the member `x-request-id`: OpenAPI knows no `requestId`
beside `openapi` and `paths`, and takes no foreign members but those that begin with `x-`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext
from ingest_api.openapi.answers import answers, refusal_examples
from ingest_api.openapi.operations import CREDENTIAL, OPERATIONS
from ingest_api.openapi.schemas import Schema, bodies
from shared.credentials.credential import FORM

PATH: Final = "/openapi.json"
_ID_MEMBER: Final = "x-request-id"


class OpenApi:
    """The endpoint."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        """`routes` are the others."""
        self._document = document([*operations_of(routes), (PATH, "GET")])

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serves one request."""
        context: RequestContext = scope["context"]
        await context.answer(200, {**self._document}, id_as=_ID_MEMBER)


def operations_of(routes: Iterable[BaseRoute]) -> list[tuple[str, str]]:
    """Path and method of each route. HEAD is answered wherever GET is, which needs no telling."""
    return [
        (re.sub(r"_([a-z])", lambda letter: letter[1].upper(), route.path.replace(":path}", "}")), method)
        for route in routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]


def document(operations: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The document that describes these operations."""
    paths: dict[str, Schema] = {}
    for path, method in operations:
        paths.setdefault(path, {})[method.lower()] = OPERATIONS[path, method].described()
    return {
        "openapi": "3.1.1",
        "info": _INFO,
        "servers": [{"url": "/"}, {"url": "/datapool"}],
        "paths": paths,
        "components": {
            "schemas": {**bodies(), **answers()},
            "examples": refusal_examples(),
            "securitySchemes": {CREDENTIAL: _CREDENTIAL},
        },
        "tags": _TAGS,
        _ID_MEMBER: "",
    }


_INFO: Final = {
    "title": "Inspire Data Ingest",
    "version": "1",
    "summary": "Connectors push item state, logs and signs of life.",
    "description": "A submission that was answered with 202 is durable. A refused one leaves nothing behind. Every "
    "answer carries `X-Request-Id`, and the same value as `requestId` in its body. HEAD is answered wherever GET is.",
}
_TAGS: Final = [
    {"name": "data", "description": "What connectors submit, and what became of it."},
    {"name": "management", "description": "What connectors are told to do."},
    {"name": "health", "description": "For whoever runs or explores the service."},
]
_CREDENTIAL: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "ik_<key_id>_<secret>",
    "description": f"The connector's credential: `{FORM.pattern}`. Its rotation voids it at once.",
}

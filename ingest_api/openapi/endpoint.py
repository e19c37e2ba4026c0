"""The OpenAPI document of what this process serves, at `/openapi.json`.

Every answer's body carries the request's id. In this one it is the member `x-request-id`: OpenAPI has no `requestId`
beside `openapi` and `paths`, and allows only members of its own and those that begin with `x-`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext
from ingest_api.openapi.document import document

PATH: Final = "/openapi.json"


class OpenApi:
    """Endpoint of `/openapi.json`."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        """Build the document of `routes` and of this one. Raises LookupError if one of them is not described."""
        self.document = document([*operations_of(routes), (PATH, "GET")])

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Answer one request."""
        context: RequestContext = scope["context"]
        await context.answer(200, {**self.document}, id_as="x-request-id")


def operations_of(routes: Iterable[BaseRoute]) -> list[tuple[str, str]]:
    """Return path and method of each route, without HEAD: it is answered on every route that answers GET."""
    return [
        (re.sub(r"_([a-z])", lambda letter: letter[1].upper(), route.path.replace(":path}", "}")), method)
        for route in routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]

"""All routes of the operations API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from operations.api import accounts, configurations, connectors, data, dead_letters, hooks, installation, jobs, traffic
from operations.api.endpoint import Endpoint
from operations.api.openapi import document
from operations.engines import Engines

OPERATIONS: Final = (
    *connectors.OPERATIONS,
    *configurations.OPERATIONS,
    *hooks.OPERATIONS,
    *data.OPERATIONS,
    *dead_letters.OPERATIONS,
    *jobs.OPERATIONS,
    *traffic.OPERATIONS,
    *accounts.OPERATIONS,
    *installation.OPERATIONS,
)


class _Number(Convertor[int]):
    """A number in a path; Starlette's own would take one with so many digits that Python refuses it."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())


def routes(engines: Engines) -> list[Route]:
    """Return a route for each path, and the one of the document that describes them."""
    written = document(OPERATIONS)

    async def describe(_request: Request) -> Response:
        return Response(written, media_type="application/json")

    paths: dict[str, dict[str, Endpoint]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.pattern, {})[one.method] = Endpoint(one, engines)
    described = [Route(path, ByMethod(methods), methods=[*methods]) for path, methods in paths.items()]
    return [*described, Route("/openapi.json", describe, methods=["GET"])]


class ByMethod:
    """The endpoint of a path, which has one for each method."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; HEAD is GET without the body, which the server leaves out."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._endpoints[method](scope, receive, send)

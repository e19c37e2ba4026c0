"""All routes of the operations API."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from operations.api import accounts, configurations, connectors, data, dead_letters
from operations.api.endpoint import Endpoint
from operations.api.openapi import document
from operations.engines import Engines

OPERATIONS: Final = (
    *connectors.OPERATIONS,
    *configurations.OPERATIONS,
    *data.OPERATIONS,
    *dead_letters.OPERATIONS,
    *accounts.OPERATIONS,
)


def routes(engines: Engines) -> list[Route]:
    """Return a route for each operation, and the one of the document that describes them."""
    written = document(OPERATIONS)

    async def describe(_request: Request) -> Response:
        return Response(written, media_type="application/json")

    described = [Route(one.path, Endpoint(one, engines), methods=[one.method]) for one in OPERATIONS]
    return [*described, Route("/openapi.json", describe, methods=["GET"])]

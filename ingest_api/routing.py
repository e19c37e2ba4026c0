"""Choose the endpoint of a request: by a table for routes without parameters, by Starlette's router for the others.

Starlette matches the patterns of all routes in turn, and of a mount's routes within it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from ingest_api.errors import ApiError, ErrorCode

#: Second base path of all routes.
MOUNTED_AT = "/datapool"


class Routing:
    """All routes, at the root and at the second base path."""

    def __init__(self, routes: Sequence[Route], lifespan: Lifespan[Router]) -> None:
        # Starlette's mount does not answer for its own path without a slash.
        page = [Route(MOUNTED_AT, route.endpoint, methods=["GET"]) for route in routes if route.path == "/"]
        both = [*routes, *page, Mount(MOUNTED_AT, Router(routes, redirect_slashes=False))]
        self._router: ASGIApp = Router(both, redirect_slashes=False, lifespan=lifespan)
        plain = [route for route in routes if not route.param_convertors]
        self._plain = {prefix + route.path: route for prefix in ("", MOUNTED_AT) for route in plain}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request, or the lifespan. Raises Starlette's HTTPException for 404 and 405."""
        if scope["type"] == "http":
            route = self._plain.get(scope["path"])
            if route is not None and scope["method"] in (route.methods or ()):
                scope["route"] = route
                return route.app(scope, receive, send)
            if "\n" in scope["path"]:
                raise ApiError(ErrorCode.NOT_FOUND)  # Starlette's patterns would ignore one at the end of a path
        return self._router(scope, receive, send)

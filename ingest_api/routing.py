"""Which endpoint answers: routes without parameters by a look into a table, the rest by Starlette's router.

Starlette tries the patterns of all routes in turn, and those of a mount within it: two to three times the work for
the first route, and more for each one further down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from ingest_api.errors import ApiError, ErrorCode

#: Where the routes answer besides the root.
MOUNTED_AT = "/datapool"


class Routing:
    """The routes, at the root and where they are mounted."""

    def __init__(self, routes: Sequence[Route], lifespan: Lifespan[Router]) -> None:
        both = [*routes, Mount(MOUNTED_AT, Router(routes, redirect_slashes=False))]
        self._router: ASGIApp = Router(both, redirect_slashes=False, lifespan=lifespan)
        plain = [route for route in routes if not route.param_convertors]
        self._plain = {prefix + route.path: route for prefix in ("", MOUNTED_AT) for route in plain}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serves one request, or the lifespan. Raises Starlette's HTTPException for 404 and 405."""
        if scope["type"] == "http":
            route = self._plain.get(scope["path"])
            if route is not None and scope["method"] in (route.methods or ()):
                scope["route"] = route
                return route.app(scope, receive, send)
            if "\n" in scope["path"]:
                raise ApiError(ErrorCode.NOT_FOUND)  # a route's pattern passes over one at the end
        return self._router(scope, receive, send)

"""Assemble the console of one process from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from operations.api.endpoint import refuse
from operations.api.refusals import refusal_of
from operations.api.routes import routes
from operations.console.pages.routes import page_routes
from operations.engines import Engines
from shared.process.log import finish_log
from shared.process.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """Return the ASGI application. `settings` must name both engines."""
    engines = Engines(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.engines = engines
        engines.open()
        yield
        engines.close()
        finish_log()

    return Starlette(
        routes=[Route("/healthz", healthz, methods=["GET"]), *routes(engines), *page_routes(engines)],
        exception_handlers={404: refused, 405: refused},
        lifespan=lifespan,
    )


async def healthz(_request: Request) -> Response:
    """Answer that the process lives."""
    return JSONResponse({"status": "ok"})


async def refused(_request: Request, error: Exception) -> Response:
    """Answer a request for what is not served."""
    answer = refuse(refusal_of(error))
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer

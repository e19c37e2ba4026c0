"""`/healthz`: this process is alive. `/readyz`: it can accept submissions, and they can be applied."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext
from ingest_api.readiness import Readiness


class Healthz:
    """Answers 200 while the event loop runs."""

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one request."""
        context: RequestContext = scope["context"]
        await context.answer(200, {"status": "ok"})


class Readyz:
    """Answers 200, or 503 with the list of what is missing."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one request."""
        context: RequestContext = scope["context"]
        missing = await self._readiness.missing()
        if missing:
            await context.answer(503, {"status": "unavailable", "missing": missing}, {"Retry-After": "1"})
        else:
            await context.answer(200, {"status": "ok"})

"""The API, assembled in the order in which its parts come to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from ingest_api.append import Appender
from ingest_api.body import MemoryBudget
from ingest_api.edge import Edge
from ingest_api.health import Healthz, Readyz
from ingest_api.readiness import Readiness
from ingest_api.submissions import SubmissionKind, Submissions
from ingest_api.validation import validate_items
from ingest_api.wake import Waker
from shared import redis_connection
from shared.settings import Settings
from shared.submission import Meta

ITEMS = SubmissionKind(Meta("items"), validate_items, "itemsReceived")


def create_app(settings: Settings) -> ASGIApp:
    """The ASGI application of one process. `settings` must name both engines."""
    redis = redis_connection.connect_async(settings.redis_url)
    blocking_redis = redis_connection.connect(settings.redis_url)

    readiness = Readiness(blocking_redis, settings.database_url, accept_data_loss=settings.accept_data_loss)
    waker = Waker(blocking_redis)
    appender = Appender(redis, backlog_limit=settings.max_backlog_bytes, wake=waker.wake)
    memory = MemoryBudget(settings.max_inflight_bytes)
    submissions = Submissions(readiness, appender, memory, body_timeout_seconds=settings.body_timeout_seconds)

    routes = [
        Route("/api/ingest", submissions.endpoint(ITEMS), methods=["POST"]),
        Route("/healthz", Healthz(), methods=["GET"]),
        Route("/readyz", Readyz(readiness), methods=["GET"]),
    ]

    @asynccontextmanager
    async def lifespan(_app: Router) -> AsyncIterator[None]:
        loading = asyncio.create_task(readiness.keep())
        yield
        loading.cancel()
        await redis.aclose()

    return Edge(Router([*routes, Mount("/datapool", routes=routes)], redirect_slashes=False, lifespan=lifespan))

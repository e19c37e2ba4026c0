"""Assemble the API of one process from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ingest_api.append import Appender
from ingest_api.append_script import BacklogLimits
from ingest_api.authentication import Authenticator
from ingest_api.configuration import Configurations
from ingest_api.health import Healthz, Readyz
from ingest_api.http.body import BodyReader, MemoryBudget
from ingest_api.metrics import Metrics
from ingest_api.middleware import ErrorMiddleware
from ingest_api.openapi.endpoint import OpenApi
from ingest_api.readiness import Readiness
from ingest_api.request_status import RequestStatus
from ingest_api.routing import Routing
from ingest_api.submissions import SubmissionEndpoint, Submissions
from ingest_api.waker import Waker
from shared.kinds import KINDS
from shared.postgres.connections import postgres_pool
from shared.process.log import finish_log
from shared.process.settings import Settings
from shared.redis.connections import connect_redis, connect_redis_async


def create_app(settings: Settings) -> ASGIApp:
    """Return the ASGI application. `settings` must name both engines."""
    # Appends have a connection of their own, so that status requests never delay them.
    append_redis = connect_redis_async(settings.redis_url, connections=1)
    status_redis = connect_redis_async(settings.redis_url, connections=8)
    blocking_redis = connect_redis(settings.redis_url)
    postgres = postgres_pool(settings.database_url, application="ingest api")

    readiness = Readiness(blocking_redis, settings.database_url, accept_data_loss=settings.accept_data_loss)
    limits = BacklogLimits(settings.max_backlog_bytes, settings.max_connector_backlog_bytes)
    authenticator = Authenticator(readiness, Appender(append_redis, limits=limits, wake=Waker(blocking_redis).wake))
    bodies = BodyReader(MemoryBudget(settings.max_inflight_bytes), idle_timeout=settings.body_timeout_seconds)

    routes: list[Route] = []
    if "data" in settings.surfaces:
        submissions = Submissions(authenticator, bodies)
        routes += (Route(kind.path, SubmissionEndpoint(submissions, kind), methods=["POST"]) for kind in KINDS.values())
        statuses = RequestStatus(authenticator, status_redis, postgres)
        routes.append(Route("/api/requests/{request_id}", statuses, methods=["GET"]))
    if "management" in settings.surfaces:
        configurations = Configurations(authenticator, postgres, bodies, datapool_address=settings.datapool_address)
        routes.append(Route("/api/connector/config", configurations, methods=["GET", "PUT"]))
    routes += [
        Route("/healthz", Healthz(), methods=["GET"]),
        Route("/readyz", Readyz(readiness), methods=["GET"]),
        Route("/metrics", Metrics(blocking_redis, shared=settings.web_concurrency > 1), methods=["GET"]),
    ]
    routes.append(Route("/openapi.json", OpenApi(routes), methods=["GET"]))

    @asynccontextmanager
    async def lifespan(_app: Router) -> AsyncIterator[None]:
        loading = asyncio.create_task(readiness.run())
        await postgres.open(wait=False)
        yield
        loading.cancel()
        for client in (postgres.close, append_redis.aclose, status_redis.aclose):
            await client()
        finish_log()

    return ErrorMiddleware(Routing(routes, lifespan))

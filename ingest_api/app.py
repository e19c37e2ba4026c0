"""Assemble the API of one process from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ingest_api.append import Appender
from ingest_api.append_outage import AppendOutage
from ingest_api.append_script import BacklogLimits
from ingest_api.authentication import Authenticator
from ingest_api.cluster_append import ClusterAppender
from ingest_api.configuration import Configurations
from ingest_api.former_lane import FormerLanes
from ingest_api.health import Healthz, pipeline, readyz
from ingest_api.hooks import HookEndpoint
from ingest_api.http.body import BodyReader
from ingest_api.http.body_processes import BodyProcesses
from ingest_api.http.memory import MemoryBudget
from ingest_api.http.turns import BodyThreads
from ingest_api.loop_lag import watch_loop
from ingest_api.metrics import SPANS_LOST, Metrics
from ingest_api.middleware import ErrorMiddleware
from ingest_api.openapi.endpoint import OpenApi
from ingest_api.openapi.page import Page
from ingest_api.readiness import Readiness
from ingest_api.request_status import RequestStatus
from ingest_api.routing import Routing
from ingest_api.submissions import SubmissionEndpoint, Submissions
from ingest_api.tracing import Traced, TracedAuthenticator
from ingest_api.waker import Waker
from shared.hooks.sealing import Keyring
from shared.kinds import KINDS
from shared.postgres.pool import Pool, postgres_pool
from shared.process.log import finish_log
from shared.process.settings import Settings
from shared.process.tracing import start_tracing
from shared.redis.cluster import AsyncCluster
from shared.redis.connections import connect_redis, connect_redis_async
from shared.redis.lane_status import RedisState, look_at_redis
from shared.redis.traffic import HandOver
from shared.redis.wakeups import wake_queue
from shared.traffic import Tally


class Engines(NamedTuple):
    """The clients of one process."""

    append_redis: AsyncRedis
    status_redis: AsyncRedis
    #: For threads.
    blocking_redis: Redis
    #: For RQ.
    queue_redis: Redis
    postgres: Pool


def create_app(settings: Settings, engines: Engines | None = None) -> ASGIApp:
    """Return the ASGI application. `settings` must name both engines, unless their clients are given."""
    engines = engines or _engines(settings)
    append_redis, status_redis, blocking_redis, queue_redis, postgres = engines
    readiness = Readiness(blocking_redis, settings.database_url, accept_data_loss=settings.accept_data_loss)
    spans = start_tracing(settings, "api", SPANS_LOST.inc)
    appender = _appender(settings, append_redis, Waker(wake_queue(queue_redis)), readiness)
    authenticator = TracedAuthenticator(readiness, appender, spans) if spans else Authenticator(readiness, appender)
    bodies, tally = _bodies(settings), Tally()
    submissions = Submissions(authenticator, bodies, tally, FormerLanes(readiness, authenticator, status_redis))
    routes = _for_connectors(settings, engines, readiness, submissions) + _watching(settings, engines, readiness)
    routes += _documentation(routes)

    @asynccontextmanager
    async def lifespan(_app: Router) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(readiness.run()), asyncio.create_task(watch_loop())]
        await postgres.open(wait=False)
        with HandOver(tally, queue_redis):
            yield
        for task in tasks:
            task.cancel()
        for client in (postgres.close, append_redis.aclose, status_redis.aclose):
            await client()
        bodies.close()
        if spans:
            spans.close()
        finish_log()

    app = ErrorMiddleware(Routing(routes, lifespan), tally)
    return Traced(app, spans) if spans else app


def _for_connectors(
    settings: Settings, engines: Engines, readiness: Readiness, submissions: Submissions
) -> list[Route]:
    """Return the routes of the surfaces that this process serves."""
    routes: list[Route] = []
    if "data" in settings.surfaces:
        routes += (Route(kind.path, SubmissionEndpoint(submissions, kind), methods=["POST"]) for kind in KINDS.values())
        hooks = HookEndpoint(submissions, readiness, engines.status_redis, Keyring(settings.secrets_key))
        routes.append(Route("/api/hooks/{hook_id}", hooks, methods=["POST"]))
        statuses = RequestStatus(submissions.authenticator, engines.status_redis, engines.postgres)
        routes.append(Route("/api/requests/{request_id}", statuses, methods=["GET"]))
    if "management" in settings.surfaces:
        configurations = Configurations(
            submissions.authenticator, engines.postgres, submissions.bodies, datapool_address=settings.datapool_address
        )
        routes.append(Route("/api/connector/config", configurations, methods=["GET", "PUT"]))
    return routes


def _watching(settings: Settings, engines: Engines, readiness: Readiness) -> list[Route]:
    """Return the routes that tell how this process and the pipeline behind it are."""
    queue = wake_queue(engines.queue_redis)

    def look() -> RedisState:
        return look_at_redis(engines.blocking_redis, queue, readiness.known_lanes())

    applied = pipeline(engines.queue_redis, engines.postgres, settings.database_url)
    return [
        Route("/healthz", Healthz(), methods=["GET"]),
        Route("/healthz/pipeline", applied, methods=["GET"]),
        Route("/readyz", readyz(readiness), methods=["GET"]),
        Route("/metrics", Metrics(look, settings), methods=["GET"]),
    ]


def _bodies(settings: Settings) -> BodyReader:
    memory = MemoryBudget(settings.max_inflight_bytes)
    return BodyReader(memory, BodyThreads(), BodyProcesses(), idle_timeout=settings.body_timeout_seconds)


def _documentation(routes: list[Route]) -> list[Route]:
    """Return the routes that describe these routes, to machines and to people."""
    openapi = OpenApi(routes)
    page = Page(openapi.document)
    ways: dict[str, ASGIApp] = {"/openapi.json": openapi, "/": page, "/docs": page}
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in ways.items()]


def _engines(settings: Settings) -> Engines:
    """Return clients that together use REDIS_CONNECTIONS to each server and POSTGRES_CONNECTIONS.

    Appends have a connection of their own, so that the others never delay them.
    """
    url, statuses = settings.redis_url, settings.redis_connections // 2
    threads = settings.redis_connections - 1 - statuses
    blocking = connect_redis(url, connections=threads)
    return Engines(
        connect_redis_async(url, connections=1),
        connect_redis_async(url, connections=statuses),
        blocking,
        blocking if settings.queue_url == url else connect_redis(settings.queue_url, connections=threads),
        postgres_pool(settings.database_url, application="ingest api", connections=settings.postgres_connections),
    )


def _appender(settings: Settings, redis: AsyncRedis, waker: Waker, readiness: Readiness) -> Appender | ClusterAppender:
    limits = BacklogLimits(settings.max_backlog_bytes, settings.max_connector_backlog_bytes)
    replicas, lanes = settings.wait_replicas, readiness.all_lanes
    outage = AppendOutage()
    make = partial(Appender, limits=limits, wake=waker.wake, wait_replicas=replicas, lanes=lanes, outage=outage)
    return ClusterAppender(redis, make) if isinstance(redis, AsyncCluster) else make(redis)

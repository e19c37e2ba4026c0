"""Health of the process, of what it accepts, and of the pipeline behind it.

`/healthz`: this process is alive. `/readyz`: it can accept submissions; Postgres is not needed for that.
`/healthz/pipeline`: what was accepted is being applied. The routes are open to clients without a credential, so answers
hold no addresses and are computed at most once in a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout
from redis import Redis
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from ingest_api.conditions import OK, CachedCheck, Condition, Conditions, failed_if, run_check, without_redis
from ingest_api.context import RequestContext
from ingest_api.readiness import Readiness, unwritable
from shared.causes import cause_of, is_out_of_connections
from shared.postgres.connections import SHORT_TIMEOUT_SECONDS, connect_postgres
from shared.postgres.pool import Pool
from shared.postgres.queries import sql
from shared.redis.activity import last_sweep, living_workers
from shared.redis.scripts import Scripts

#: Time for which a result is used, in seconds.
_READY_SECONDS: Final = 1.0
_PIPELINE_SECONDS: Final = 2.0
#: Time to wait for a connection of the pool, in seconds.
_POOL_SECONDS: Final = 1.0
_SILENT_REDIS: Final = "Redis has not answered for two seconds."
_SILENT_POSTGRES: Final = "Postgres has not answered for two seconds."


class Healthz:
    """Answers 200 while the event loop runs."""

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one request."""
        await _answer(scope["context"], {"event_loop_turns": OK})


class Health:
    """Answers 200, or 503 if a condition of its checks fails."""

    def __init__(self, *checks: CachedCheck) -> None:
        self._checks = checks

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one request."""
        found = await asyncio.gather(*(check.read() for check in self._checks))
        await _answer(scope["context"], {name: one for conditions in found for name, one in conditions.items()})


async def _answer(context: RequestContext, conditions: Conditions) -> None:
    told = {name: condition.document() for name, condition in conditions.items()}
    if any(condition.state == "failed" for condition in conditions.values()):
        payload = {"status": "unavailable", "conditions": told}
        await context.answer(503, payload, {"Retry-After": "1"})
    else:
        await context.answer(200, {"status": "ok", "conditions": told})


def readyz(readiness: Readiness) -> Health:
    """Return the endpoint that tells whether this process can accept."""
    return Health(CachedCheck(readiness.conditions, unwritable(_SILENT_REDIS), _READY_SECONDS))


def pipeline(redis: Redis, pool: Pool, database_url: str) -> Health:
    """Return the endpoint that tells whether accepted submissions are being applied. `redis`: that of RQ."""
    work = partial(run_check, partial(_work_conditions, redis, Scripts(redis)))
    postgres = partial(_postgres_conditions, pool, partial(_ask_without_pool, database_url))
    return Health(
        CachedCheck(postgres, {"postgres_writable": Condition("failed", _SILENT_POSTGRES)}, _PIPELINE_SECONDS),
        CachedCheck(work, unusable(_SILENT_REDIS), _PIPELINE_SECONDS),
    )


def unusable(reason: str) -> Conditions:
    """Return the conditions of which Redis tells, while it can't be used."""
    return without_redis(reason, "redis_usable", "sweeper_acts", "workers_live", "lanes_move")


def _work_conditions(redis: Redis, scripts: Scripts) -> Conditions:
    try:
        stalled, workers = last_sweep(redis), living_workers(scripts)
    except RedisError as error:
        return unusable(cause_of(error))
    return {
        "redis_usable": OK,
        "sweeper_acts": failed_if("No sweeper has looked at the lanes lately." if stalled is None else None),
        "workers_live": failed_if(None if workers else "No worker is alive, or all of them hang."),
        "lanes_move": _lanes_condition(stalled),
    }


def _lanes_condition(stalled: list[int] | None) -> Condition:
    if stalled is None:
        return Condition("unknown", "Only a sweeper could tell.")
    lanes = ", ".join(map(str, stalled))
    return failed_if(lanes and f"Submissions wait in lanes that apply none: {lanes}.")


async def _postgres_conditions(pool: Pool, ask_without_pool: Callable[[], Condition]) -> Conditions:
    try:
        await pool.fetch(sql("select_server_settings"), {}, seconds=_POOL_SECONDS)
        condition = OK
    except PoolTimeout:
        condition = await run_check(ask_without_pool)
    except psycopg.Error as error:
        condition = _condition_of(error)
    return {"postgres_writable": condition}


def _ask_without_pool(database_url: str) -> Condition:
    """Find out why the pool has no connection: all are busy, the server gives no more, or it is away."""
    try:
        with connect_postgres(
            database_url, application="ingest api health", answer_timeout=SHORT_TIMEOUT_SECONDS
        ) as connection:
            connection.execute(sql("select_server_settings"))
            return OK
    except psycopg.Error as error:
        return _condition_of(error)


def _condition_of(error: psycopg.Error) -> Condition:
    if is_out_of_connections(error):
        return Condition("unknown", "Postgres has no connection left for this process.")
    return failed_if(cause_of(error))

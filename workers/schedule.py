"""Keeps the hourly retention job in RQ's schedule.

RQ keeps scheduled jobs in a registry of each queue, where its tools show them, and its scheduler moves due jobs into
the queue. The sweeper keeps no state of its own: if no next run is scheduled or queued, it schedules one. So a lost
Redis, a killed worker or an hour without sweepers needs no other repair, and an outage is followed by one run, not by
one per hour.

The one sweeper that acts calls RQ's scheduler twice a second, under RQ's own lock, which keeps out any other. Decision
12 says why RQ's other ways don't fit.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis import Redis
from rq import Queue
from rq.job import Retry
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

AGING_TASK: Final = "workers.tasks.age_out"
_PERIOD: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_JOB_PREFIX: Final = "age-"
#: Maximum time of the job, in seconds; it takes one or two. After that it hangs, and RQ ends it.
_JOB_TIMEOUT_SECONDS: Final = 120
#: Time that a job that failed for good stays visible in RQ's registry, in seconds.
_FAILURE_TTL_SECONDS: Final = 86_400
_RETRY_SECONDS: Final = (60, 300, 900)


class Schedule:
    """RQ's schedule of the queue, with the retention job in it."""

    def __init__(self, redis: Redis, queue: Queue) -> None:
        self._queue = queue
        self._scheduler = RQScheduler([queue], connection=redis, serializer=JSONSerializer, logging_level="WARNING")
        # It would make a client of its own, which nothing closes.
        self._scheduler._connection = redis  # type: ignore[assignment] # noqa: SLF001 - the type is wrong, and it has no other way

    def keep(self, now: datetime | None = None) -> None:
        """Move due jobs into the queue, and schedule the next run if there is none."""
        if self._scheduler.acquire_locks():  # type: ignore[no-untyped-call] # RQ's own lacks types
            self._scheduler.enqueue_scheduled_jobs()  # type: ignore[no-untyped-call] # RQ's own lacks types
        if not self._has_next_run():
            moment = next_run(now or datetime.now(UTC))
            self._queue.enqueue_at(moment, AGING_TASK, **_options())

    def _has_next_run(self) -> bool:
        """Return True if a run is scheduled or queued."""
        scheduled = self._queue.scheduled_job_registry.get_job_ids()
        return any(job_id.startswith(_JOB_PREFIX) for job_id in scheduled) or any(
            job_id.startswith(_JOB_PREFIX) for job_id in self._queue.get_job_ids()
        )


def next_run(now: datetime) -> datetime:
    """Return the start of the next hour."""
    return now + _PERIOD - (now - _EPOCH) % _PERIOD


def enqueue_rest(queue: Queue) -> None:
    """Enqueue the rest of what a run deletes, behind the jobs that wait."""
    queue.enqueue(AGING_TASK, rest=True, **_options())


def _options() -> dict[str, Any]:
    return {
        "job_id": f"{_JOB_PREFIX}{secrets.token_hex(8)}",
        "job_timeout": _JOB_TIMEOUT_SECONDS,
        "result_ttl": 0,
        "failure_ttl": _FAILURE_TTL_SECONDS,
        "retry": Retry(max=len(_RETRY_SECONDS), interval=list(_RETRY_SECONDS)),
        "description": "make partitions ahead, drop what is old",
    }

"""What runs by the clock: one chore, at the top of each hour, in RQ's schedule.

RQ keeps scheduled jobs in a registry of each queue, where its tools show them, and its scheduler moves the ones that
are due into the queue. Nothing is remembered here: a next run stands in the schedule or waits in the queue, else one is
put there; so a lost Redis, a killed worker or an hour without sweepers needs no other repair. Runs that an outage held
up are one run, not one for each hour.

Of RQ's own ways, this is the one that fits. `CronScheduler` is a process of its own of which there may be one, keeps
its clock in its memory alone, and writes its jobs with pickle, which our workers refuse to read. `Repeat` ends after a
number of times, or with a job that fails. `work(with_scheduler=True)` forks beside a worker a process that outlives
it when it is killed. So the scheduler is called by the one sweeper that acts, twice a second, under RQ's own lock,
which keeps out any other.
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
#: It takes a second or two; longer means that it hangs, and the job is ended from outside.
_JOB_TIMEOUT_SECONDS: Final = 120
#: One that failed for good stays visible in RQ's registry for a day.
_FAILURE_TTL_SECONDS: Final = 86_400
_RETRY_SECONDS: Final = (60, 300, 900)


class Schedule:
    """RQ's schedule of the queue, and the chore in it."""

    def __init__(self, redis: Redis, queue: Queue) -> None:
        self._queue = queue
        self._scheduler = RQScheduler([queue], connection=redis, serializer=JSONSerializer, logging_level="WARNING")

    def keep(self, now: datetime | None = None) -> None:
        """Moves what is due into the queue, and sees to it that there is a next run."""
        if self._scheduler.acquire_locks():  # type: ignore[no-untyped-call] # RQ's own lacks types
            self._scheduler.enqueue_scheduled_jobs()  # type: ignore[no-untyped-call] # likewise
        if not self._stands():
            moment = next_run(now or datetime.now(UTC))
            self._queue.enqueue_at(moment, AGING_TASK, **_options())

    def _stands(self) -> bool:
        """Whether a run is scheduled, or waits for a worker."""
        scheduled = self._queue.scheduled_job_registry.get_job_ids()
        return any(job_id.startswith(_JOB_PREFIX) for job_id in scheduled) or any(
            job_id.startswith(_JOB_PREFIX) for job_id in self._queue.get_job_ids()
        )


def next_run(now: datetime) -> datetime:
    """The top of the next hour."""
    return now + _PERIOD - (now - _EPOCH) % _PERIOD


def enqueue_rest(queue: Queue) -> None:
    """Puts what a run left to delete behind the jobs that wait by now."""
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

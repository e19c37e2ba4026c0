"""Wake-ups: RQ jobs that say "this lane has work". The lane's stream is the truth; a job is only a signal.

A job id is fresh for each wake-up, since a reused one loses wake-ups (RQ deletes the job's hash by its id when it
ends). The function is named as text, so that the API need not import the workers. JSON, never pickle.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

from redis import Redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer

from shared.redis.names import WAKE_QUEUE

DRAIN_TASK: Final = "workers.tasks.drain_lane"
#: A drain gives up its worker after 20 s and a slice, and the largest submission is a slice of ten minutes where
#: Postgres is slow; longer means that it hangs in a way that no timeout of its own ends, and RQ ends the job.
_JOB_TIMEOUT_SECONDS: Final = 900
#: A failed drain stays visible in RQ's registry until its lane works again, and never for longer: an outage of hours
#: fails thousands.
_FAILURE_TTL_SECONDS: Final = 600
#: Jobs at the head of the queue among which one of another lane is looked for.
_LOOKED_AT: Final = 64
_JOB_ID: Final = re.compile(r"drain-(\d+)-[0-9a-f]+")

#: A lease that waits for its job, or that its drain renews while it works. After a kill it runs out, the sweeper sees
#: that within half a second, and the lane moves again: within five in all, on a busy machine too.
LEASE_MS: Final = 2_000


def new_job_id(lane: int) -> str:
    """A job id that was never used; it also names its lane."""
    return f"drain-{lane:02d}-{secrets.token_hex(8)}"


def wake_queue(redis: Redis) -> Queue:
    """RQ's queue of wake-ups."""
    return Queue(WAKE_QUEUE, connection=redis, serializer=JSONSerializer)


def enqueue_drain(queue: Queue, lane: int, job_id: str) -> None:
    """Signals that a lane has work. The caller has claimed the lane's lease with this job id."""
    queue.enqueue_call(
        DRAIN_TASK,
        args=(lane,),
        job_id=job_id,
        timeout=_JOB_TIMEOUT_SECONDS,
        result_ttl=0,
        failure_ttl=_FAILURE_TTL_SECONDS,
        description=f"drain lane {lane}",
    )


def forget_failed_drains(queue: Queue, is_mended: Callable[[int], bool]) -> None:
    """Takes the failed jobs of lanes that work again out of the registry."""
    registry = queue.failed_job_registry
    for job_id in registry.get_job_ids(cleanup=False):
        lane = _lane_of(job_id)
        if lane is not None and is_mended(lane):
            try:
                registry.remove(job_id, delete_job=True)
            except NoSuchJobError:  # it has expired, its place in the registry has not
                registry.remove(job_id)


def queued_lanes(queue: Queue) -> set[int]:
    """Lanes of which a job stands in the queue."""
    return {lane for job_id in queue.get_job_ids() if (lane := _lane_of(job_id)) is not None}


def others_wait(queue: Queue, lane: int) -> bool:
    """Whether a job that is not this lane's stands in the queue; so many that not all are looked at are taken for that.

    A lane's own jobs are many where nobody swept for a while: each time its lease runs out, an append claims it anew.
    """
    first = queue.get_job_ids(0, _LOOKED_AT)
    return len(first) == _LOOKED_AT or any(_lane_of(job_id) != lane for job_id in first)


def _lane_of(job_id: str) -> int | None:
    match = _JOB_ID.fullmatch(job_id)
    return int(match[1]) if match else None

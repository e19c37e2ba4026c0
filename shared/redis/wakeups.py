"""Wake-ups: RQ jobs that say "this lane has work". The lane's stream is the truth; a job is only a signal.

Each wake-up has a new job id: a reused one loses wake-ups, because RQ deletes a job's hash by its id when the job ends.
The task is named as text so that the API does not import the workers. Jobs are JSON, never pickle.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue
from rq.serializers import JSONSerializer

from shared.redis.connections import UNAVAILABLE, is_wrong_type
from shared.redis.names import WAKE_QUEUE

log = structlog.get_logger()

DRAIN_TASK: Final = "workers.tasks.drain_lane"
#: Maximum time of a job in seconds: a drain leaves its worker after 20 s and one slice, and the largest submission is a
#: slice of ten minutes on a slow Postgres. A drain that takes longer hangs outside its own timeouts; RQ ends it.
JOB_TIMEOUT_SECONDS: Final = 900
#: Time that a failed drain stays in RQ's registry, in seconds, unless its lane recovers first: an outage of hours fails
#: thousands of them.
_FAILURE_TTL_SECONDS: Final = 600
#: Maximum number of jobs at the head of the queue that are searched for another lane's.
_SEARCHED_JOBS: Final = 64
_JOB_ID: Final = re.compile(r"drain-(\d+)-[0-9a-f]+")

#: Life of a lane's lease in milliseconds, while it waits for its job and between a drain's renewals. After a kill it
#: expires and the sweeper, which looks twice a second, wakes the lane: within five seconds, on a busy machine too.
LEASE_MS: Final = 2_000
#: Maximum pause of a lane after failures, in milliseconds. No lease lives longer: the sweeper shortens it.
LONGEST_PAUSE_MS: Final = 5_000


def new_job_id(lane: int) -> str:
    """Return a new job id, which also names its lane."""
    return f"drain-{lane:02d}-{secrets.token_hex(8)}"


def wake_queue(redis: Redis) -> Queue:
    """Return the RQ queue of wake-ups."""
    return Queue(WAKE_QUEUE, connection=redis, serializer=JSONSerializer)


def enqueue_drain(queue: Queue, lane: int, job_id: str) -> None:
    """Signal that a lane has work. The caller has claimed the lane's lease with this job id."""
    queue.enqueue_call(
        DRAIN_TASK,
        args=(lane,),
        job_id=job_id,
        timeout=JOB_TIMEOUT_SECONDS,
        result_ttl=0,
        failure_ttl=_FAILURE_TTL_SECONDS,
        description=f"drain lane {lane}",
    )


def forget_failed_drains(queue: Queue, has_recovered: Callable[[int], bool]) -> None:
    """Remove the failed jobs of recovered lanes from RQ's registry."""
    registry = queue.failed_job_registry
    for job_id in registry.get_job_ids(cleanup=False):
        lane = _lane_of(job_id)
        if lane is not None and has_recovered(lane):
            try:
                registry.remove(job_id, delete_job=True)
            except UNAVAILABLE:
                raise
            except Exception:  # noqa: BLE001 - it has expired, another process forgets it too, or it can't be read
                registry.remove(job_id)


def queued_lanes(queue: Queue) -> set[int]:
    """Return the lanes that have a job in the queue. A queue that can't be read is emptied: lanes are woken again."""
    try:
        job_ids = queue.get_job_ids()
    except (ResponseError, UnicodeDecodeError) as error:
        if isinstance(error, ResponseError) and not is_wrong_type(error):
            raise
        log.warning("queue_emptied", error=str(error))
        queue.connection.delete(queue.key)
        return set()
    return {lane for job_id in job_ids if (lane := _lane_of(job_id)) is not None}


def others_wait(queue: Queue, lane: int) -> bool:
    """Return True if another lane's job is in the queue, or if the queue is too long to search.

    A lane may have many jobs of its own if no sweeper runs: each time its lease expires, an append claims it again.
    """
    first = queue.get_job_ids(0, _SEARCHED_JOBS)
    return len(first) == _SEARCHED_JOBS or any(_lane_of(job_id) != lane for job_id in first)


def _lane_of(job_id: str) -> int | None:
    match = _JOB_ID.fullmatch(job_id)
    return int(match[1]) if match else None

"""Drains a lane: read, apply, until the lane is empty or another lane's turn has come.

A wake-up starts it; it leaves rows in Postgres and an empty lane (`lane_reader.py`, `slice_applier.py`). What can go
wrong, and what repairs it:

- The worker is killed. What it read stays pending; its lease expires; the sweeper wakes the lane, and the next drain
  reads the pending entries first. Entries that were committed and not settled have a receipt, and are only settled.
- Postgres is away, or another failure is not the data's. The slice stays pending, the lease becomes a pause, the job
  fails visibly, and the sweeper wakes the lane after the pause, which doubles up to a bound.
- Postgres does not answer, on a connection that looks sound. The connection is closed (`stalled_connection.py`).
- One entry can't be applied. Its slice is halved, as a slow one is, until it stands alone, and is dead-lettered.
- The lease expired during a slow slice. Two drains work on one lane; one of them finds the lane's row in Postgres
  locked, or its watermarks moved, and ends. An entry that the other drain settled is not settled twice.
- Redis lost its memory. Stream and group are created again from what Postgres knows.
"""

from __future__ import annotations

import contextlib
import time
from typing import Final

import structlog
from psycopg import errors
from redis.exceptions import RedisError

from shared.redis.names import lane_keys
from shared.redis.wakeups import LEASE_MS, LONGEST_PAUSE_MS, enqueue_drain, new_job_id
from workers.context import DrainContext
from workers.lane_reader import LaneReader, Work
from workers.lease import Lease
from workers.retry import letters_to_retry
from workers.slice_applier import SliceApplier
from workers.turn import Turn

log = structlog.get_logger()

#: Time to watch an empty lane before leaving it, in seconds: a steady trickle then costs no job per request.
_LINGER_SECONDS: Final = 2.0
#: Pause of a lane after a failure that is not the data's, in milliseconds; doubles up to the longest.
_PAUSE_MS: Final = 250
_FAILURES_REMEMBERED_SECONDS: Final = 600
#: Pause if another drain is writing to the lane, in milliseconds; then the sweeper wakes the lane again.
_BUSY_MS: Final = 1_000


class Drain:
    """One job's work on one lane."""

    def __init__(self, context: DrainContext, lane: int, job_id: str) -> None:
        self._context = context
        self._lane = lane
        self._keys = lane_keys(lane)
        self._lease = Lease(context.scripts, lane, job_id)
        self._turn = Turn(context, lane)
        self._reader = LaneReader(context, lane, self._turn)
        self._applier = SliceApplier(context, lane)
        self._outage = context.outages[lane]
        self._last_work = time.monotonic()

    def run(self) -> None:
        """Work until the lane is empty, the turn is over, or another drain has the lane.

        Raises psycopg.Error or RedisError if an engine can't be used now; the lane is paused then.
        """
        try:
            while self._lease.hold():
                if self._work() and self._lease.release():
                    return
                if self._turn.is_over():
                    self._pass_on()
                    return
        except errors.LockNotAvailable:
            log.info("lane_busy", lane=self._lane)
            self._lease.hand_over("paused", _BUSY_MS)
        except Exception as error:
            self._outage.report(error, lane=self._lane)
            with contextlib.suppress(RedisError):
                self._pause()
            raise

    def _work(self) -> bool:
        """Apply one slice of new submissions and one of dead letters. Return True if the lane may be left."""
        retrying = self._lease.retry_requested
        work = self._reader.next(may_wait=not retrying)
        if work.entries:
            self._apply(work)
        if retrying:
            self._retry()
        return not (work.entries or retrying) and self._may_leave()

    def _apply(self, work: Work) -> None:
        with self._lease.kept():
            self._applier.apply(work, meanwhile=self._reader.read_ahead)
        self._outage.over()
        self._last_work = time.monotonic()

    def _retry(self) -> None:
        with self._lease.kept():
            letters = letters_to_retry(self._context.connection(), self._lane, self._reader.bounds())
            self._applier.apply(Work(letters, are_letters=True))
        if not letters:
            self._context.redis.delete(self._keys.retry)

    def _may_leave(self) -> bool:
        return self._context.queue.count > 0 or time.monotonic() - self._last_work > _LINGER_SECONDS

    def _pass_on(self) -> None:
        """End this turn; a lane that still has work goes to the end of the queue."""
        if self._lease.release():
            return
        job_id = new_job_id(self._lane)
        if self._lease.hand_over(f"queued:{job_id}", LEASE_MS):
            enqueue_drain(self._context.queue, self._lane, job_id)

    def _pause(self) -> None:
        failures = int(self._context.redis.incr(self._keys.failures))
        self._context.redis.expire(self._keys.failures, _FAILURES_REMEMBERED_SECONDS)
        pause = min(_PAUSE_MS << min(failures - 1, 10), LONGEST_PAUSE_MS)
        self._lease.hand_over("paused", pause)

"""The functions that RQ calls in a worker; a job can name no others."""

from __future__ import annotations

from typing import Any

from rq import get_current_job
from rq.job import Job

from shared.postgres.partitions import KeepDays
from shared.redis.wakeups import DRAIN_TASK
from workers import retention
from workers.context import DrainContext
from workers.drain import Drain
from workers.schedule import AGING_TASK

ALLOWED = frozenset({DRAIN_TASK, AGING_TASK})

_context: DrainContext | None = None
_keep: KeepDays = {}


class ForbiddenTaskError(Exception):
    """A job names a function that is not ours: write access to Redis must not let a client run code here."""


class AllowedJob(Job):
    """A job that runs this project's tasks and nothing else (RQ runs any dotted path that it finds in Redis)."""

    @property
    def func(self) -> Any:
        """The function to call. Raises ForbiddenTaskError."""
        if self.func_name not in ALLOWED:
            raise ForbiddenTaskError(self.func_name)
        return super().func

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """Read the job from Redis, without its callbacks: they are functions too, and ours have none."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None


def use(context: DrainContext, keep: KeepDays) -> None:
    """Set the collaborators of this process's tasks. RQ passes only what is in the job."""
    # RQ calls functions by name, so this is the one place to pass something to them.
    global _context, _keep
    _context, _keep = context, keep


def drain_lane(lane: int) -> None:
    """Drain a lane until its turn is over."""
    job = get_current_job()
    if _context is None or job is None:
        raise RuntimeError("drain_lane runs only inside `python -m workers`.")
    Drain(_context, lane, job.id).run()


def age_out(*, rest: bool = False) -> None:
    """Create partitions ahead and drop old ones, or delete the `rest` of the old rows that a run left."""
    if _context is None:
        raise RuntimeError("age_out runs only inside `python -m workers`.")
    retention.age_out(_context, _keep, rest=rest)

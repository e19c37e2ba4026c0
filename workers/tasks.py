"""What RQ calls in a worker. The only functions that a job of ours may name."""

from __future__ import annotations

from typing import Any

from rq import get_current_job
from rq.job import Job

from shared.postgres.partitions import KeepDays
from shared.redis.wakeups import DRAIN_TASK
from workers import retention as aging
from workers.drain import Drain, DrainContext
from workers.schedule import AGING_TASK

ALLOWED = frozenset({DRAIN_TASK, AGING_TASK})

_tools: DrainContext | None = None
_keep: KeepDays = {}


class ForbiddenTaskError(Exception):
    """A job names a function that is not ours: whoever can write to Redis must not run code here."""


class AllowedJob(Job):
    """A job that runs this project's tasks and nothing else (RQ runs whatever dotted path stands in Redis)."""

    @property
    def func(self) -> Any:
        """The function to call."""
        if self.func_name not in ALLOWED:
            raise ForbiddenTaskError(self.func_name)
        return super().func

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """What Redis holds of the job, but for callbacks: they are functions too, and ours have none."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None


def use(tools: DrainContext, keep: KeepDays) -> None:
    """Gives the tasks of this process what they work with. RQ passes only what is in the job."""
    # RQ calls functions by name, so this is the one place to hand something over.
    global _tools, _keep
    _tools, _keep = tools, keep


def drain_lane(lane: int) -> None:
    """Drains a lane until its turn is over."""
    job = get_current_job()
    if _tools is None or job is None:
        raise RuntimeError("drain_lane runs only inside `python -m workers`.")
    Drain(_tools, lane, job.id).run()


def age_out(*, rest: bool = False) -> None:
    """Makes partitions ahead and drops what is old, or deletes the rest of what a run left."""
    if _tools is None:
        raise RuntimeError("age_out runs only inside `python -m workers`.")
    aging.age_out(_tools, _keep, rest=rest)

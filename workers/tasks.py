"""What RQ calls in a worker. The only functions that a job of ours may name."""

from __future__ import annotations

from typing import Any

from rq import get_current_job
from rq.job import Job

from shared.wakeup import DRAIN_TASK
from workers.drain import Drain, Tools

ALLOWED = frozenset({DRAIN_TASK})

_tools: Tools | None = None


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


def use(tools: Tools) -> None:
    """Gives the tasks of this process what they work with. RQ passes only what is in the job."""
    global _tools  # noqa: PLW0603 - RQ calls functions by name, so this is the one place to hand something over
    _tools = tools


def drain_lane(lane: int) -> None:
    """Drains a lane until its turn is over."""
    job = get_current_job()
    if _tools is None or job is None:
        raise RuntimeError("drain_lane runs only inside `python -m workers`.")
    Drain(_tools, lane, job.id).run()

"""What workers and the sweeper report of themselves in Redis, for `/healthz/pipeline` and operators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from redis import Redis

from shared.redis.names import SWEEP, WORKERS
from shared.redis.scripts import Scripts

#: Time for which a report counts, in milliseconds. A process reports once a second or more; a hung one does not.
_REPORT_LIFE_MS: Final = 5_000


def report_worker(scripts: Scripts, name: str) -> None:
    """Report that the worker `name` is alive."""
    scripts("report_worker", [WORKERS], [_REPORT_LIFE_MS, name])


def living_workers(scripts: Scripts) -> frozenset[str]:
    """Return the names of the workers that are alive and not hung."""
    return frozenset(
        name.decode(errors="replace") for name in scripts("report_worker", [WORKERS], [_REPORT_LIFE_MS, ""])
    )


def report_sweep(redis: Redis, stalled: Sequence[int]) -> None:
    """Report that all lanes were looked at, and which of them are stalled."""
    redis.set(SWEEP, ",".join(map(str, stalled)), px=_REPORT_LIFE_MS)


def last_sweep(redis: Redis) -> list[int] | None:
    """Return the lanes that the last sweep found stalled; None if no sweeper acts."""
    report: Any = redis.get(SWEEP)
    return None if report is None else [int(lane) for lane in re.findall(rb"\d{1,4}", report)]

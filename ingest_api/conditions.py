"""What health checks report: conditions, each with its state, found out at most once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

#: Maximum time that a client waits for a check, in seconds: those that ask give up after some seconds themselves.
_ANSWER_SECONDS: Final = 2.0
_THREADS: Final = ThreadPoolExecutor(3, thread_name_prefix="health")

Returned = TypeVar("Returned")


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether one thing is as it should be."""

    state: Literal["ok", "failed", "unknown"]
    #: Why it is not; a sentence without addresses, since clients without a credential read it.
    reason: str = ""

    def document(self) -> dict[str, str]:
        """Return it for JSON."""
        return {"state": self.state, "reason": self.reason} if self.reason else {"state": self.state}


Conditions = Mapping[str, Condition]
OK: Final = Condition("ok")


def failed_if(reason: str | None) -> Condition:
    """Return the condition of what is well unless there is a reason why it is not."""
    return Condition("failed", reason) if reason else OK


def without_redis(reason: str, failed: str, *unknown: str) -> Conditions:
    """Return the conditions of which Redis tells, while it can't be used."""
    return {failed: failed_if(reason), **dict.fromkeys(unknown, Condition("unknown", "Only Redis could tell."))}


async def run_check(check: Callable[[], Returned]) -> Returned:
    """Run a check that waits for an engine, in a thread of its own: other threads may be busy."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, check)


class CachedCheck:
    """Runs a check when asked, one at a time, and uses what it found for some seconds."""

    def __init__(self, check: Callable[[], Awaitable[Conditions]], late: Conditions, seconds: float) -> None:
        """`late`: the conditions while the check takes too long; `seconds`: for how long a result is used."""
        self._check = check
        self._late = late
        self._seconds = seconds
        self._running: asyncio.Task[Conditions] | None = None
        self._found: Conditions = {}
        self._use_until = 0.0

    async def read(self) -> Conditions:
        """Return the conditions within two seconds. Raises what the check raises."""
        loop = asyncio.get_running_loop()
        if self._running is None:
            if loop.time() < self._use_until:
                return self._found
            self._running = loop.create_task(self._run())
        task = self._running
        done, _ = await asyncio.wait({task}, timeout=_ANSWER_SECONDS)
        return task.result() if done else self._late

    async def _run(self) -> Conditions:
        try:
            self._found = await self._check()
            self._use_until = asyncio.get_running_loop().time() + self._seconds
            return self._found
        finally:
            self._running = None

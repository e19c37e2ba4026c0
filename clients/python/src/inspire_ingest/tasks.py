"""The shell for asyncio: runs steps in the event loop, and sends in background tasks."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import nullcontext
from typing import Any, TypeVar

import httpx

from . import calls
from .batches import LOG_LANE
from .core import Core
from .delivery import Steps, pump
from .exchange import Answer, Request
from .http import answered, request_arguments, unanswered
from .lanes import Lane
from .results import Unsent

T = TypeVar("T")


class Tasks:
    """Tasks of one event loop that share a core; steps run whole, so that no lock is needed."""

    def __init__(self, core: Core, http: httpx.AsyncClient) -> None:
        self.core = core
        self.lock = nullcontext()
        self._http = http
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin with heartbeats, and with what the outbox holds from before."""
        self._loop = asyncio.get_running_loop()
        if self.core.options.heartbeat_seconds:
            self._spawn("heartbeats", calls.heartbeats(self.core))
        for lane in [*self.core.lanes.values()]:
            self.send(lane)

    def send(self, lane: Lane) -> None:
        """See that a task sends what the lane has."""
        self._spawn(f"lane {lane.name}", pump(self.core, lane))

    async def put(self, lane: Lane, row: bytes) -> None:
        """Add a row, at once if it fits."""
        before = self.core.changes
        if not self.core.add(lane, row):
            await self.run(self.core.put(lane, row))
        elif self.core.changes != before:
            self._wake()

    def log(self, row: bytes) -> None:
        """Add a log entry from any thread, or drop it."""
        try:
            loop = self._loop or asyncio.get_running_loop()
            loop.call_soon_threadsafe(self._log, row)
        except RuntimeError:  # there is no loop yet, or it has ended
            self.core.dropped_entries += 1

    def _log(self, row: bytes) -> None:
        deque(self.core.log(row), maxlen=0)  # it neither sends nor waits
        self.send(self.core.lane(LOG_LANE))
        self._wake()

    async def run(self, steps: Steps[T]) -> T:
        """Run steps; other tasks go on during requests and waits."""
        answer: Answer | None = None
        while True:
            before = self.core.changes
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                if self.core.changes != before:
                    self._wake()
            if isinstance(step, Request):
                answer = await self._exchange(step)
            else:
                answer = None
                await self._wait(step.seconds)

    async def close(self, seconds: float) -> Unsent:
        """Send what waits, then end all tasks; return what is unsent."""
        await asyncio.sleep(0)  # entries that were logged just before are added now
        await self.run(self.core.close(seconds))
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._http.aclose()
        return self.core.finish()

    async def _exchange(self, request: Request) -> Answer:
        try:
            return answered(await self._http.request(**request_arguments(request)))
        except httpx.HTTPError as error:
            return unanswered(error)

    async def _wait(self, seconds: float | None) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _spawn(self, name: str, steps: Steps[Any]) -> None:
        if name not in self._running and not self.core.closing:
            self._running[name] = asyncio.ensure_future(self._work(steps))

    async def _work(self, steps: Steps[Any]) -> None:
        try:
            await self.run(steps)
        except Exception as error:  # noqa: BLE001 - the author's next call raises it
            self.core.fail(error)
            self._wake()

"""The shell for threads: runs steps under one lock, and sends in background threads."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx

from . import calls
from .batches import LOG_LANE
from .core import Core
from .delivery import Steps, pump
from .errors import IngestError
from .exchange import Answer, Request
from .http import answered, request_arguments, unanswered
from .lanes import Lane
from .results import Unsent

T = TypeVar("T")

#: Seconds for a sender to see that the connector has stopped; one whose request still runs is left to end by itself.
_JOIN_SECONDS = 1.0


class Threads:
    """Threads that share a core and its lock."""

    def __init__(self, core: Core, http: httpx.Client) -> None:
        self.core = core
        #: Python enters it in one step, which a signal can't split; it could split that of a Condition.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._http = http
        self._running: dict[str, threading.Thread] = {}

    def start(self) -> None:
        """Begin with heartbeats, and with what the outbox holds from before."""
        if self.core.options.heartbeat_seconds:
            self._spawn("heartbeats", calls.heartbeats(self.core))
        for lane in [*self.core.lanes.values()]:
            self.send(lane)

    def send(self, lane: Lane) -> None:
        """See that a thread sends what the lane has."""
        self._spawn(f"lane {lane.name}", pump(self.core, lane))

    def put(self, lane: Lane, row: bytes) -> None:
        """Add a row, at once if it fits."""
        if not self._add(lane, row):
            self.run(self.core.put(lane, row))

    def log(self, row: bytes) -> None:
        """Add a log entry, or drop it."""
        lane = self.core.lane(LOG_LANE)
        try:
            if self._add(lane, row):
                return
        except IngestError:
            self.core.dropped_entries += 1
        else:
            self.run(self.core.log(row))

    def _add(self, lane: Lane, row: bytes) -> bool:
        with self.lock:
            before = self.core.changes
            added = self.core.add(lane, row)
            if self.core.changes != before:
                self._changed.notify_all()
            return added

    def run(self, steps: Steps[T]) -> T:
        """Run steps in a thread of their own: Ctrl-C or SIGTERM in the main thread must not end them halfway."""
        outcome: Future[T] = Future()
        threading.Thread(target=self._resolve, args=[steps, outcome], daemon=True).start()
        return outcome.result()

    def _resolve(self, steps: Steps[T], outcome: Future[T]) -> None:
        try:
            outcome.set_result(self._run(steps))
        except Exception as error:  # noqa: BLE001 - the thread that waits raises it
            outcome.set_exception(error)

    def _run(self, steps: Steps[T]) -> T:
        """Run steps under the lock, which is free during requests and waits."""
        answer: Answer | None = None
        with self.lock:
            while True:
                before = self.core.changes
                try:
                    step = steps.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                finally:
                    if self.core.changes != before:
                        self._changed.notify_all()
                if isinstance(step, Request):
                    answer = self._exchange(step)
                else:
                    answer = None
                    self._changed.wait(step.seconds)

    def close(self, seconds: float) -> Unsent:
        """Send what waits, then end all threads; return what is unsent."""
        self.run(self.core.close(seconds))
        for thread in self._running.values():
            thread.join(_JOIN_SECONDS)
        with self.lock:
            unsent = self.core.finish()
        self._http.close()
        return unsent

    def _exchange(self, request: Request) -> Answer:
        self.lock.release()
        try:
            return answered(self._http.request(**request_arguments(request)))
        except httpx.HTTPError as error:
            return unanswered(error)
        finally:
            self.lock.acquire()

    def _spawn(self, name: str, steps: Steps[Any]) -> None:
        with self.lock:
            if name not in self._running and not self.core.closing:
                self._running[name] = threading.Thread(target=self._work, args=[steps], name=name, daemon=True)
                self._running[name].start()

    def _work(self, steps: Steps[Any]) -> None:
        try:
            self._run(steps)
        except Exception as error:  # noqa: BLE001 - the author's next call raises it
            with self.lock:
                self.core.fail(error)
                self._changed.notify_all()

"""One timer for what a connection waits for now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PhaseTimer:
    """Runs out once for a phase; starting the phase that is running already changes nothing.

    Phases begin and end with each request. So the loop's own timer stays, and is set again if it fires too early.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._phase = ""
        self._ends_at = 0.0
        self._expired: Callable[[], None]
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = 0.0

    def start(self, phase: str, seconds: float, expired: Callable[[], None]) -> None:
        """Call `expired` after `seconds`, unless another phase starts before."""
        if self._phase == phase:
            return
        self._phase, self._expired = phase, expired
        self._ends_at = self._loop.time() + seconds
        if self._handle is None or self._handle_at > self._ends_at:
            self._schedule()

    def stop(self) -> None:
        """Wait for nothing."""
        self._phase = ""

    def cancel(self) -> None:
        """Wait for nothing, and leave nothing in the loop."""
        self._phase = ""
        if self._handle is not None:
            self._handle.cancel()

    def _schedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle_at = self._ends_at
        self._handle = self._loop.call_at(self._handle_at, self._check)

    def _check(self) -> None:
        self._handle = None
        if self._phase and self._loop.time() < self._ends_at:
            self._schedule()
        elif self._phase:
            self._phase = ""
            self._expired()

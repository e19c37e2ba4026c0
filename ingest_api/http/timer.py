"""One timer for what a connection waits for now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PhaseTimer:
    """Runs out once for a phase; starting the phase that is running already changes nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._phase = ""
        self._handle: asyncio.TimerHandle | None = None

    def start(self, phase: str, seconds: float, expired: Callable[[], None]) -> None:
        """Call `expired` after `seconds`, unless another phase starts before."""
        if self._phase != phase:
            self.stop()
            self._phase = phase
            self._handle = self._loop.call_later(seconds, expired)

    def stop(self) -> None:
        """Wait for nothing."""
        self._phase = ""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

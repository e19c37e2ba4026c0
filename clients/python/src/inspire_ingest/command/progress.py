"""A line on the terminal that tells how far a push is, how fast, and how long it takes."""

from __future__ import annotations

import sys
import time
from typing import Callable

#: Interval of the line, in seconds.
_INTERVAL = 0.5


class Progress:
    """Shown on stderr if that is a terminal."""

    def __init__(self, *, shown: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._clock = clock
        self._started = self._last = clock()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a line."""
        now = self._clock()
        if now - self._last < _INTERVAL:
            return False
        self._last = now
        return True

    def show(self, *, accepted: int, rejected: int, share: float) -> None:
        """Show the line. `share`: how much is read; 0 if that is not known."""
        if self._shown:
            text = line(accepted, rejected, share, self.seconds)
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started


def line(accepted: int, rejected: int, share: float, seconds: float) -> str:
    """Return the text: rows, rate, what is left."""
    parts = [f"{accepted:,} rows", f"{accepted / max(seconds, 0.001):,.0f} rows/s"]
    if 0 < share < 1:
        parts = [f"{share:.0%}", *parts, f"{_told(seconds * (1 - share) / share)} left"]
    return " · ".join([*parts, *([f"{rejected:,} rejected"] if rejected else [])])


def _told(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"  # noqa: PLR2004 - of an hour

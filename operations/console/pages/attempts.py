"""Limit failed logins: per address and name, per address, and per name. Kept in this process' memory, within bounds."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final

#: Failures that are allowed within a window, for one address and name; for one address; for one name from anywhere.
#: The last is wide: else a stranger could lock an operator out.
_PAIR, _ADDRESS, _NAME = 5, 50, 200
_WINDOW_SECONDS: Final = 900.0
#: Maximum number of counters; the oldest goes first.
_COUNTERS: Final = 20_000


class Attempts:
    """Counts failed logins."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def begin(self, address: str, name: str) -> float:
        """Count an attempt as failed until `succeed` is called; return how many seconds to wait instead, 0: go on.

        It is counted before the password is checked: attempts at the same time can't pass a limit together.
        """
        with self._lock:
            now = self._clock()
            waits = [self._wait(key, limit, now) for key, limit in _counters(address, name)]
            if not any(waits):
                for key, _ in _counters(address, name):
                    self._count(key, now)
            return max(waits)

    def succeed(self, address: str, name: str) -> None:
        """Forget the failures of this address with this name; for others it was one failure less."""
        with self._lock:
            pair, *others = (key for key, _ in _counters(address, name))
            self._failures.pop(pair, None)
            for key in others:
                began, failures = self._failures.get(key, (0.0, 1))
                self._failures[key] = (began, failures - 1)

    def _wait(self, key: tuple[str, str], limit: int, now: float) -> float:
        began, failures = self._failures.get(key, (now, 0))
        left = began + _WINDOW_SECONDS - now
        return left if failures >= limit and left > 0 else 0.0

    def _count(self, key: tuple[str, str], now: float) -> None:
        began, failures = self._failures.get(key, (now, 0))
        fresh = now - began >= _WINDOW_SECONDS
        self._failures[key] = (now, 1) if fresh else (began, failures + 1)
        if len(self._failures) > _COUNTERS:
            self._failures.popitem(last=False)


def _counters(address: str, name: str) -> Iterator[tuple[tuple[str, str], int]]:
    yield (address, name), _PAIR
    yield (address, ""), _ADDRESS
    yield ("", name), _NAME

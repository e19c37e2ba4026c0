"""Limit failed logins. Kept in this process' memory, within bounds.

A browser that has logged in with a name before is counted for itself, so that no stranger can lock it out. Any other
one is counted for its address and the name, and for the name from anywhere. No address is locked as a whole: several
operators may share one, behind a proxy.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final

#: Failures that are allowed within a window, for one browser or address with one name; for one name from all browsers
#: that are not known.
_PAIR, _NAME = 5, 100
_WINDOW_SECONDS: Final = 900.0
#: Maximum number of counters; the oldest goes first. Passwords are not checked fast enough to fill it in a window.
_COUNTERS: Final = 80_000
#: An owner of IPv6 addresses has at least as many as these bits leave.
_PREFIX_BITS: Final = 64


class Attempts:
    """Counts failed logins."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._lock = Lock()

    def begin(self, source: str, name: str, *, is_known: bool = False) -> float:
        """Count an attempt as failed until `succeed` is called; return how many seconds to wait instead, 0: go on.

        `source` is a known browser or an address. The attempt is counted before the password is checked: attempts at
        the same time can't pass a limit together.
        """
        with self._lock:
            now = self._clock()
            counters = list(_counters(source, name, is_known=is_known))
            wait = max(self._wait(key, limit, now) for key, limit in counters)
            if not wait:
                for key, _ in counters:
                    self._count(key, now)
            return wait

    def succeed(self, source: str, name: str, *, is_known: bool = False) -> None:
        """Forget the failures of this source with this name; for others it was one failure less."""
        with self._lock:
            pair, *others = (key for key, _ in _counters(source, name, is_known=is_known))
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


def source_of(address: str) -> str:
    """Return what an address is counted as: one of IPv6 as its network, of which its owner has all.

    A server that listens on `::` sees IPv4 addresses within one network of IPv6: these are counted as what they are.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:_PREFIX_BITS]
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((found, _PREFIX_BITS), strict=False))


def _counters(source: str, name: str, *, is_known: bool) -> Iterator[tuple[tuple[str, str], int]]:
    yield (source, name), _PAIR
    if not is_known:
        yield ("", name), _NAME

"""The right to drain a lane: held while a drain works, given back or handed on when it ends.

A lease runs out two seconds after it was last renewed, so that a killed worker's lane moves again soon; a slice may
take longer, so a thread renews it meanwhile. The thread stops once the slice has taken so long that its worker must be
taken for hung: then the lane moves without it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from redis.exceptions import RedisError

from shared.redis.names import lane_keys
from shared.redis.scripts import Scripts
from shared.redis.wakeups import LEASE_MS

_RENEW_SECONDS: Final = 0.5
#: Longer than any one statement may take.
_HUNG_SECONDS: Final = 45.0


class Lease:
    """One job's lease of one lane."""

    def __init__(self, scripts: Scripts, lane: int, job_id: str) -> None:
        self._scripts = scripts
        self._keys = lane_keys(lane)
        self._job_id = job_id

    def hold(self) -> bool:
        """Takes or renews the lease; false where another drain has it."""
        return bool(self._scripts("acquire_lease", [self._keys.lease], [self._job_id, LEASE_MS]))

    def release(self) -> bool:
        """Gives the lease back; false where the lane still has work."""
        return bool(self._scripts("release_lease", [self._keys.stream, self._keys.lease], [self._job_id]))

    def hand_over(self, value: str, milliseconds: int) -> bool:
        """Replaces the lease by one that waits; false where it was another's by now."""
        return bool(self._scripts("hand_over_lease", [self._keys.lease], [self._job_id, value, milliseconds]))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps the lease for as long as the block takes, within reason."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(done,), name="lease", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            # No renewal may follow what the drain does with the lease next.
            done.set()
            keeper.join()

    def _keep(self, done: threading.Event) -> None:
        hung = time.monotonic() + _HUNG_SECONDS
        while not done.wait(_RENEW_SECONDS) and time.monotonic() < hung:
            with contextlib.suppress(RedisError):  # the drain will see for itself
                self.hold()

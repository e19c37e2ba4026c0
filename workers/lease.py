"""The right to drain a lane: held while a drain works, released or handed over when it ends.

A lease expires two seconds after it was last renewed, so that a killed worker's lane moves again soon. A slice may take
longer, so a thread renews the lease meanwhile. The thread stops once the slice has taken so long that the worker may be
hung; then another worker takes the lane, if its row in Postgres is free.
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
#: Maximum time a lease is renewed in the background, in seconds. Few slices may take longer (`write.py`); the row of
#: the lane in Postgres is locked meanwhile, so that other drains end.
_HUNG_SECONDS: Final = 45.0


class Lease:
    """One job's lease of one lane."""

    def __init__(self, scripts: Scripts, lane: int, job_id: str) -> None:
        self._scripts = scripts
        self._keys = lane_keys(lane)
        self._job_id = job_id
        #: Dead letters of the lane are to be retried, as of the last renewal.
        self.retry_requested = False

    def hold(self) -> bool:
        """Take or renew the lease. Return False if another drain has it."""
        held, retry = self._scripts("acquire_lease", [self._keys.lease, self._keys.retry], [self._job_id, LEASE_MS])
        self.retry_requested = bool(retry)
        return bool(held)

    def release(self) -> bool:
        """Give the lease back. Return False if the lane still has work."""
        keys = [self._keys.stream, self._keys.lease, self._keys.retry]
        return bool(self._scripts("release_lease", keys, [self._job_id]))

    def hand_over(self, value: str, milliseconds: int) -> bool:
        """Replace the lease by one that waits. Return False if another drain holds the lease."""
        return bool(self._scripts("hand_over_lease", [self._keys.lease], [self._job_id, value, milliseconds]))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease in the background during the block."""
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
            with contextlib.suppress(RedisError):  # the drain meets the same error at its next step
                self.hold()

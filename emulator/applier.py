"""Applies what is accepted, in a thread: reads the lane with the real script, folds, and settles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from redis import Redis

from emulator.memory import LANE, Memory
from shared.entry import Entry
from shared.kinds import KINDS
from shared.redis.activity import report_sweep, report_worker
from shared.redis.names import CONSUMER, GROUP, lane_keys
from shared.redis.scripts import Scripts
from shared.request_id import MAX_MILLISECONDS, MAX_SEQUENCE

#: Interval of its signs of life in seconds; `/healthz/pipeline` misses one that is five seconds old.
_REPORT_SECONDS: Final = 1.0
#: Maximum entries, rows and bytes of a slice.
_SLICE: Final = (100, 20_000, 8_388_608)


class Applier:
    """Stands for the workers and the sweeper."""

    def __init__(self, redis: Redis, memory: Memory, *, dies: Callable[[str], str | None], delay: float) -> None:
        """`dies`: the reason for which a submission to a path can't be applied; `delay`: seconds before a slice."""
        self._redis = redis
        self._memory = memory
        self._dies = dies
        self._delay = delay
        self._scripts = Scripts(redis)
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="applier", daemon=True)

    def start(self) -> None:
        """Start to apply."""
        self._thread.start()

    def stop(self) -> None:
        """End, without what still waits."""
        self._stopped.set()
        self._wanted.set()
        self._thread.join()

    def wake(self) -> None:
        """Apply what was accepted, soon."""
        self._wanted.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            report_worker(self._scripts, "emulator")
            report_sweep(self._redis, [])
            if self._wanted.wait(_REPORT_SECONDS) and not self._stopped.wait(self._delay):
                self._wanted.clear()
                while self._apply_slice():
                    pass

    def _apply_slice(self) -> bool:
        keys = lane_keys(LANE)
        arguments = [GROUP, CONSUMER, ">", *_SLICE, "", MAX_MILLISECONDS, MAX_SEQUENCE]
        found, _ = self._scripts("read_slice", [keys.stream], arguments)
        entries = [Entry.decode(entry_id, fields) for entry_id, fields in found]
        for entry in entries:
            self._memory.apply(entry, dies=self._dies(KINDS[entry.meta.kind].path))
        settled = [value for entry in entries for value in (entry.entry_id, entry.connector_id, entry.cost)]
        if entries:
            self._scripts("settle", [keys.stream, keys.backlog, keys.large], [GROUP, *settled])
        return bool(entries)

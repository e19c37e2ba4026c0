"""Drains a lane: read → fold → write → settle, until the lane is empty or another lane's turn has come.

What arrives is a wake-up; what leaves is rows in Postgres and an empty lane. While Postgres works on one slice, the
next one is read and folded; behind a small one more is let gather instead. What can go wrong, and who repairs it:

- we are killed: what we read stays pending in the consumer group; the lease runs out; the sweeper wakes the lane and
  the next drain reads the pending entries first. What was committed and not settled has a receipt, and is only settled.
- Postgres is away, or anything else fails that is not the data's fault: the slice stays pending, the lease turns into a
  pause, the job fails visibly, and the sweeper wakes the lane after the pause, which doubles up to a bound.
- Postgres says nothing, on a connection that looks sound: it is doubted, and given up (`silence.py`).
- one entry can't be applied: the slice is halved until the culprit stands alone; it goes to the dead letters, whole.
  A slice that takes too long is halved too.
- the lease ran out while we were slow: two drains work on one lane. One of them finds the lane's row in Postgres
  locked, or its watermarks moved, and leaves; an entry that the other settled gives back nothing twice.
- Redis lost its memory: stream and group are made anew from what Postgres knows.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import errors
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq import Queue

from shared.credentials.sync import forget_ready, load_lanes
from shared.entry import Entry
from shared.postgres.connections import Connection, is_transient
from shared.redis.names import CONSUMER, GROUP, lane_keys
from shared.redis.scripts import Scripts
from shared.redis.wakeups import LEASE_MS, enqueue_drain, forget_failed_drains, new_job_id, others_wait
from workers.fold import Slice, UnreadableEntryError, version_of
from workers.lease import Lease
from workers.stalled_connection import doubted
from workers.write import (
    PartColumns,
    Watermarks,
    applied_versions,
    columns_of,
    read_watermarks,
    write_dead_letter,
    write_slice,
)

log = structlog.get_logger()

#: A slice: merging thousands of rows in one transaction is what makes it fast; memory is bounded by the bytes.
SLICE_ENTRIES: Final = 1_000
SLICE_ROWS: Final = 20_000
SLICE_BYTES: Final = 8_388_608
#: A drain keeps its worker for so long at most, and for so long while another lane waits for one. The latter is what a
#: flooded lane costs its neighbours; the job that its next turn is takes 8 ms, and many times that on a slow disk.
_TURN_SECONDS: Final = 20.0
_TURN_SECONDS_WHEN_OTHERS_WAIT: Final = 0.25
#: While another lane waits, a slice is so much smaller: some 80 ms instead of 300.
_SMALLER_WHEN_OTHERS_WAIT: Final = 4
#: An empty lane is watched for so long, in steps: a steady trickle costs no job per request.
_LINGER_SECONDS: Final = 2.0
_LINGER_STEP_MS: Final = 50
#: A slice of fewer rows and bytes is followed by the next one only after so long. At 1,900 requests a second that saves
#: a third of the worker's CPU and a fifth of Postgres'; where all share a core, the 202's p99 falls from 25 ms to 16.
_SMALL_ROWS: Final = 1_000
_SMALL_BYTES: Final = 262_144
_GATHER_SECONDS: Final = 0.01
#: After a failure that is not the data's, the lane pauses: 0.25 s, doubling, 5 s at most.
_PAUSE_MS: Final = 250
_LONGEST_PAUSE_MS: Final = 5_000
_FAILURES_REMEMBERED_SECONDS: Final = 600
#: A slice that failed after so long may have failed for that: its halves take half as long.
_SLOW_SECONDS: Final = 25.0
#: Another drain is writing: it will be done by then, or the sweeper wakes the lane again.
_BUSY_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class DrainContext:
    """What a drain works with; one set per worker process."""

    redis: Redis
    scripts: Scripts
    queue: Queue
    #: The worker's connection, made anew where it was lost.
    connection: Callable[[], Connection]
    #: Whether the worker has been told to stop.
    stopping: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Work:
    """Entries to apply; folded and packed already where that was done ahead."""

    entries: list[Entry]
    result: Slice | None = None
    parts: list[PartColumns] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the bodies."""
        return sum(len(entry.body) for entry in self.entries)

    @property
    def is_small(self) -> bool:
        """Whether it is so little, by all measures, that the lane can't have held much more."""
        entries = len(self.entries) < SLICE_ENTRIES // _SMALLER_WHEN_OTHERS_WAIT
        return entries and self.bytes < _SMALL_BYTES and sum(entry.count for entry in self.entries) < _SMALL_ROWS


class Drain:
    """One job's work on one lane."""

    def __init__(self, tools: DrainContext, lane: int, job_id: str) -> None:
        self._tools = tools
        self._lane = lane
        self._job_id = job_id
        self._keys = lane_keys(lane)
        self._lease = Lease(tools.scripts, lane, job_id)
        self._started = time.monotonic()
        self._last_work = self._started
        self._last_was_small = False
        #: As this drain knows them; whoever else moves them ends it.
        self._watermarks: Watermarks | None = None
        #: What was read and prepared while Postgres worked. All that stood before it is settled by its turn.
        self._ahead: Work | None = None
        #: The last entry that was read and is not settled; what is new is read only while nothing else is pending.
        self._last_read = b""
        #: Of the last slice, most rows held the same state already: the next one is probably like it.
        self._mostly_unchanged = False

    def run(self) -> None:
        """Works until the lane is empty, the turn is over, or another drain has the lane. Raises on "not now"."""
        try:
            while self._lease.hold():
                self._gather()
                work, self._ahead = self._ahead or Work(self._read()), None
                if work.entries:
                    with self._lease.kept():
                        self._apply(work)
                    self._last_work, self._last_was_small = time.monotonic(), work.is_small
                if self._turn_is_over():
                    self._pass_on()
                    return
                if not work.entries and self._may_leave() and self._lease.release():
                    return
        except errors.LockNotAvailable:
            log.info("lane_busy", lane=self._lane)
            self._lease.hand_over("paused", _BUSY_MS)
        except Exception:
            with contextlib.suppress(RedisError):
                self._pause()
            raise

    def _gather(self) -> None:
        """Lets more come where little came last."""
        seconds = self._last_work + _GATHER_SECONDS - time.monotonic()
        if self._last_was_small and seconds > 0 and not self._others_wait() and not self._tools.stopping():
            time.sleep(seconds)  # so short that a lane or a signal that comes meanwhile can wait

    def _read(self) -> list[Entry]:
        """The next slice: what a killed drain left, else what is new, else what comes within a moment."""
        self._last_read = b""
        try:
            found = self._slice("0") or self._slice(">")
            if not found and self._waited_for_one():
                found = self._slice("0")
        except ResponseError as fault:
            if "NOGROUP" not in str(fault):
                raise
            log.warning("lane_lost", lane=self._lane)
            forget_ready(self._tools.redis, self._lane)
            load_lanes(self._tools.connection(), self._tools.redis, [self._lane])
            return []
        return self._decoded(found)

    def _decoded(self, found: list[Any]) -> list[Entry]:
        if found:
            self._last_read = found[-1][0]
        return [Entry.decode(entry_id, fields) for entry_id, fields in found]

    def _read_ahead(self, under_way: Work, watermarks: Watermarks) -> None:
        """Reads and prepares the next slice where one may wait, memory allows it, and this drain need not end."""
        with contextlib.suppress(RedisError):  # reading at its turn will meet it again
            if self._ahead or under_way.is_small or under_way.bytes > SLICE_BYTES or self._turn_is_over():
                return
            work = Work(self._decoded(self._slice(">")))
            self._ahead = self._prepared(work, watermarks) if work.entries else None

    def _prepared(self, work: Work, watermarks: Watermarks) -> Work:
        """Folded and packed; left for its turn where that takes a look at Postgres, too much memory, or fails."""
        if work.bytes > 2 * SLICE_BYTES or self._late(work.entries, watermarks):
            return work
        result = Slice(self._lane, work.entries)
        try:
            return Work(work.entries, result, [columns_of(part) for part in result.parts()])
        except UnreadableEntryError:
            return work

    def _slice(self, after: str) -> list[Any]:
        part = _SMALLER_WHEN_OTHERS_WAIT if self._others_wait() else 1
        bounds = [max(1, bound // part) for bound in (SLICE_ENTRIES, SLICE_ROWS, SLICE_BYTES)]
        arguments = [GROUP, CONSUMER, after, *bounds, self._last_read]
        return list(self._tools.scripts("read_slice", [self._keys.stream], arguments))

    def _waited_for_one(self) -> bool:
        """Whether one came within a moment; it is pending then, behind whatever else is."""
        if self._others_wait() or self._tools.stopping():
            return False
        redis, stream = self._tools.redis, self._keys.stream
        return bool(redis.xreadgroup(GROUP, CONSUMER, {stream: ">"}, count=1, block=_LINGER_STEP_MS))

    def _apply(self, work: Work) -> None:
        """Applies what was not applied before; settles all of it."""
        watermarks = self._watermarks = self._watermarks or read_watermarks(self._tools.connection(), self._lane)
        if late := self._late(work.entries, watermarks):
            fresh = self._without_applied(work.entries, late)
            left = {entry.entry_id for entry in fresh}
            if done := [entry for entry in work.entries if entry.entry_id not in left]:
                log.info("already_applied", lane=self._lane, entries=len(done))
                self._settle(done)
            work = Work(fresh)
        if work.entries:
            self._write(work, watermarks)

    def _late(self, entries: list[Entry], watermarks: Watermarks) -> list[Entry]:
        """Those that are not above all that was applied: delivered again, or a dead letter's retry."""
        return [entry for entry in entries if version_of(self._lane, entry) <= watermarks.applied]

    def _without_applied(self, entries: list[Entry], late: list[Entry]) -> list[Entry]:
        """The entries that have no receipt; of a dead letter that was retried twice, one."""
        applied = applied_versions(self._tools.connection(), self._lane, late)
        fresh: dict[int, Entry] = {}
        for entry in entries:
            version = version_of(self._lane, entry)
            if version not in applied:
                fresh.setdefault(version, entry)
        return list(fresh.values())

    def _write(self, work: Work, watermarks: Watermarks) -> None:
        """Writes entries, in one transaction where that works, else in halves; settles what was written."""
        began = time.monotonic()
        try:
            with doubted(self._tools.connection(), self._lane) as connection:
                written = write_slice(
                    connection,
                    work.result or Slice(self._lane, work.entries),
                    watermarks,
                    work.parts,
                    mostly_unchanged=self._mostly_unchanged,
                    meanwhile=lambda: self._read_ahead(work, watermarks),
                )
        except UnreadableEntryError as fault:
            self._split(work.entries, "unreadable", str(fault))
        except psycopg.Error as fault:
            slow = isinstance(fault, errors.QueryCanceled) or time.monotonic() - began > _SLOW_SECONDS
            if is_transient(fault) and not (slow and len(work.entries) > 1):
                raise
            self._split(work.entries, fault.sqlstate or type(fault).__name__, str(fault))
        else:
            self._watermarks = written.watermarks
            self._mostly_unchanged = written.rows * 2 < written.items
            self._settle(work.entries)

    def _split(self, entries: list[Entry], reason: str, detail: str) -> None:
        if len(entries) == 1:
            self._put_aside(entries[0], reason, detail)
            return
        half = len(entries) // 2
        for part in (entries[:half], entries[half:]):
            self._apply(Work(part))

    def _put_aside(self, entry: Entry, reason: str, detail: str) -> None:
        with doubted(self._tools.connection(), self._lane) as connection:
            watermarks = self._watermarks or read_watermarks(connection, self._lane)
            self._watermarks = write_dead_letter(
                connection, self._lane, entry, watermarks, reason=reason, detail=detail
            )
        log.error("dead_letter", lane=self._lane, connector_id=entry.connector_id, reason=reason)
        self._settle([entry])

    def _settle(self, entries: list[Entry]) -> None:
        settled = [value for entry in entries for value in (entry.entry_id, entry.connector_id, entry.cost)]
        self._tools.scripts("settle", [self._keys.stream, self._keys.backlog], [GROUP, *settled])
        if self._tools.redis.delete(self._keys.failures):
            forget_failed_drains(self._tools.queue, lambda lane: lane == self._lane)

    def _others_wait(self) -> bool:
        return others_wait(self._tools.queue, self._lane)

    def _turn_is_over(self) -> bool:
        seconds = time.monotonic() - self._started
        if self._tools.stopping() or seconds > _TURN_SECONDS:
            return True
        return seconds > _TURN_SECONDS_WHEN_OTHERS_WAIT and self._others_wait()

    def _may_leave(self) -> bool:
        return self._tools.queue.count > 0 or time.monotonic() - self._last_work > _LINGER_SECONDS

    def _pass_on(self) -> None:
        """Ends this turn; a lane that still has work goes to the end of the queue."""
        if self._lease.release():
            return
        job_id = new_job_id(self._lane)
        if self._lease.hand_over(f"queued:{job_id}", LEASE_MS):
            enqueue_drain(self._tools.queue, self._lane, job_id)

    def _pause(self) -> None:
        failures = int(self._tools.redis.incr(self._keys.failures))
        self._tools.redis.expire(self._keys.failures, _FAILURES_REMEMBERED_SECONDS)
        pause = min(_PAUSE_MS << min(failures - 1, 10), _LONGEST_PAUSE_MS)
        self._lease.hand_over("paused", pause)
        log.warning("lane_paused", lane=self._lane, failures=failures, milliseconds=pause)

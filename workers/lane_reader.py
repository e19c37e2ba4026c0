"""Reads a lane's stream slice by slice: entries left pending by a killed drain first, then new ones.

While Postgres writes one slice, the next one is read and packed. After a small slice the reader waits a moment, so
that a steady trickle is written in fewer transactions.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import RedisError, ResponseError

from shared.credentials.sync import forget_ready, load_lanes
from shared.entry import Entry
from shared.redis.cluster import node_of
from shared.redis.names import CONSUMER, GROUP, lane_keys
from shared.request_id import MAX_MILLISECONDS, MAX_SEQUENCE
from workers.columns import PartColumns, columns_of
from workers.context import DrainContext
from workers.decoding import UnreadableEntryError
from workers.fold import Slice, version_of
from workers.metrics import SLICE
from workers.turn import Turn

log = structlog.get_logger()

#: Maximum size of a slice, in entries, rows and bytes. Thousands of rows in one transaction are what makes writing
#: fast; the bytes bound the worker's memory. The entry that reaches a bound is still part of the slice.
SLICE_ENTRIES: Final = 1_000
SLICE_ROWS: Final = 20_000
SLICE_BYTES: Final = 8_388_608
#: Divisor of these sizes while another lane waits: a slice then takes some 80 ms instead of 300.
_SMALLER_WHEN_OTHERS_WAIT: Final = 4
#: Time to block for a new entry on an empty lane, in milliseconds.
_LINGER_STEP_MS: Final = 50
#: A slice is small below so many rows and bytes.
_SMALL_ROWS: Final = 1_000
_SMALL_BYTES: Final = 262_144
#: Pause after a small slice, in seconds; decision 18 has what it saves.
_GATHER_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Work:
    """Entries to apply, possibly folded and packed already."""

    entries: list[Entry]
    folded: Slice | None = None
    parts: list[PartColumns] | None = None
    #: The entries are dead letters that are retried; they are not in the stream.
    are_letters: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of the bodies."""
        return sum(len(entry.body) for entry in self.entries)

    @property
    def is_small(self) -> bool:
        """Return True if the slice is far from every bound, so that the lane probably holds no more."""
        entries = len(self.entries) < SLICE_ENTRIES // _SMALLER_WHEN_OTHERS_WAIT
        return entries and self.bytes < _SMALL_BYTES and sum(entry.count for entry in self.entries) < _SMALL_ROWS

    def late(self, lane: int, applied: int) -> list[Entry]:
        """Return the entries that are not newer than all that was applied: delivered again, or dead letters."""
        return [entry for entry in self.entries if version_of(lane, entry) <= applied]


class LaneReader:
    """Reads one lane for one drain, which holds the lane's lease."""

    def __init__(self, context: DrainContext, lane: int, turn: Turn) -> None:
        self._context = context
        self._lane = lane
        self._turn = turn
        self._stream = lane_keys(lane).stream
        self._previous = Work([])
        self._began = 0.0
        #: Read and packed while Postgres wrote `_previous`; all entries before it are settled when it is returned.
        self._ahead: Work | None = None
        #: Id of the last entry read and not settled. New entries are read only if nothing else is pending.
        self._last_read = b""

    def next(self, *, may_wait: bool) -> Work:
        """Return the next slice, empty if there is none. `may_wait`: block a moment for a new entry."""
        if self._previous.entries:
            SLICE.observe(time.monotonic() - self._began)
            if self._previous.is_small and not self._turn.must_hurry():
                time.sleep(_GATHER_SECONDS)  # so short that another lane or a signal can wait
        self._began = time.monotonic()
        self._previous, self._ahead = self._ahead or self._read(may_wait=may_wait), None
        return self._previous

    def read_ahead(self, applied: int) -> None:
        """Read and pack the slice after the one under way, if one may exist, memory allows it and the turn goes on."""
        if self._ahead or self._previous.is_small or self._previous.bytes > SLICE_BYTES or self._turn.is_over():
            return
        with contextlib.suppress(RedisError):  # the next read meets the same error
            work = self._decoded(self._entries(">"))
            self._ahead = self._packed(work, applied) if work.entries else None

    def bounds(self) -> tuple[int, int, int]:
        """Return the maximum entries, rows and bytes of the next slice."""
        divisor = _SMALLER_WHEN_OTHERS_WAIT if self._turn.others_wait() else 1
        return max(1, SLICE_ENTRIES // divisor), max(1, SLICE_ROWS // divisor), max(1, SLICE_BYTES // divisor)

    def _read(self, *, may_wait: bool) -> Work:
        self._last_read = b""
        try:
            found = self._entries("0") or self._entries(">")
            if not found and may_wait and self._wait_for_entry():
                found = self._entries("0")
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._recreate_lane()
            return Work([])
        return self._decoded(found)

    def _recreate_lane(self) -> None:
        """Load the lane again from Postgres after Redis lost its memory."""
        log.warning("lane_lost", lane=self._lane)
        forget_ready(self._context.redis, self._lane)
        load_lanes(self._context.connection(), self._context.redis, [self._lane])

    def _entries(self, after: str) -> list[Any]:
        arguments = [GROUP, CONSUMER, after, *self.bounds(), self._last_read, MAX_MILLISECONDS, MAX_SEQUENCE]
        entries, deleted = self._context.scripts("read_slice", [self._stream], arguments)
        if deleted:
            log.error("forged_entries_deleted", lane=self._lane, entry_ids=[entry_id.decode() for entry_id in deleted])
        return list(entries)

    def _wait_for_entry(self) -> bool:
        """Block briefly for a new entry. True if one arrived; it is pending then, behind any other pending entry."""
        if self._turn.must_hurry():
            return False
        redis, stream = node_of(self._context.redis, self._stream), self._stream
        return bool(redis.xreadgroup(GROUP, CONSUMER, {stream: ">"}, count=1, block=_LINGER_STEP_MS))

    def _decoded(self, found: list[Any]) -> Work:
        if found:
            self._last_read = found[-1][0]
        return Work([Entry.decode(entry_id, fields) for entry_id, fields in found])

    def _packed(self, work: Work, applied: int) -> Work:
        """Fold and pack, unless that needs a look at Postgres or too much memory, or fails."""
        unusual = work.late(self._lane, applied) or any(entry.is_old_retry for entry in work.entries)
        if unusual or work.bytes > 2 * SLICE_BYTES:
            return work
        folded = Slice(self._lane, work.entries)
        try:
            return Work(work.entries, folded, [columns_of(part) for part in folded.parts()])
        except UnreadableEntryError:
            return work

"""Applies slices of a lane: skip what is applied, fold, write in one transaction, settle.

An entry that can't be applied is found by halving its slice, and dead-lettered whole; the rest of the slice is applied.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Final

import psycopg
import structlog
from psycopg import errors

from shared.entry import Entry
from shared.postgres.errors import is_transient, reason_of, version_at_fault
from shared.redis.names import GROUP, lane_keys
from shared.redis.wakeups import forget_failed_drains
from workers.context import DrainContext
from workers.counting import count_applied, count_dead
from workers.decoding import UnreadableEntryError
from workers.fold import Slice, version_of
from workers.lane_reader import Work
from workers.stalled_connection import closed_if_stalled
from workers.write import Watermarks, find_applied, read_watermarks, write_dead_letter, write_slice

log = structlog.get_logger()

#: A slice that failed after this many seconds may have failed for its size: it is halved.
_SLOW_SECONDS: Final = 25.0


class SliceApplier:
    """Applies the slices of one lane for one drain, which holds the lane's lease."""

    def __init__(self, context: DrainContext, lane: int) -> None:
        self._context = context
        self._lane = lane
        self._keys = lane_keys(lane)
        #: Last watermarks read or written. If another drain moves them, our next write fails and the drain ends.
        self._watermarks: Watermarks | None = None
        #: Most rows of the last slice held the same state already; the next slice is probably like it.
        self._mostly_unchanged = False

    def apply(self, work: Work, meanwhile: Callable[[int], None] = lambda _applied: None) -> None:
        """Apply the entries that were not applied before, and settle all of them.

        `meanwhile` is called, with the highest applied version, while Postgres writes. Raises psycopg.Error if the
        failure is not the data's; the entries then stay pending.
        """
        watermarks = self._watermarks = self._watermarks or read_watermarks(self._context.connection(), self._lane)
        work = self._settle_done(work, watermarks)
        if work.entries:
            self._write(work, watermarks, meanwhile)

    def _settle_done(self, work: Work, watermarks: Watermarks) -> Work:
        """Settle the entries that have nothing to write; return the others."""
        late = work.late(self._lane, watermarks.applied)
        old_retries = [entry for entry in work.entries if entry.is_old_retry]
        if not (late or old_retries):
            return work
        versions = find_applied(self._context.connection(), self._lane, late)
        applied = [entry for entry in late if version_of(self._lane, entry) in versions]
        for event, entries in (("already_applied", applied), ("old_retries_discarded", old_retries)):
            if entries:
                log.info(event, lane=self._lane, entries=len(entries))
                self._settle(entries)
        done = {entry.entry_id for entry in (*applied, *old_retries)}
        left = [entry for entry in work.entries if entry.entry_id not in done]
        return Work(left, are_letters=work.are_letters) if done else work

    def _write(self, work: Work, watermarks: Watermarks, meanwhile: Callable[[int], None]) -> None:
        began = time.monotonic()
        result = work.folded or Slice(self._lane, work.entries)
        try:
            with closed_if_stalled(self._context.connection(), self._lane) as connection:
                written = write_slice(
                    connection,
                    result,
                    watermarks,
                    work.parts,
                    look_first=self._mostly_unchanged,
                    are_letters=work.are_letters,
                    meanwhile=lambda: meanwhile(watermarks.applied),
                )
        except UnreadableEntryError as error:
            self._split(work, "unreadable", str(error))
        except psycopg.Error as error:
            slow = isinstance(error, errors.QueryCanceled) or time.monotonic() - began > _SLOW_SECONDS
            if is_transient(error) and not (slow and (len(work.entries) > 1 or work.are_letters)):
                raise
            self._split(work, *reason_of(error), at_fault=version_at_fault(error))
        else:
            self._watermarks = written.watermarks
            self._mostly_unchanged = written.rows * 2 < written.items
            count_applied(self._context.tally, self._lane, result, written, work, began)
            self._context.trace(self._lane, work.entries, began, "")
            self._settle(work.entries)

    def _split(self, work: Work, reason: str, detail: str, at_fault: int | None = None) -> None:
        """Apply each half by itself, or what is before the entry at fault, it, and the rest.

        Dead-letter an entry that stands alone.
        """
        entries, half = work.entries, len(work.entries) // 2
        if not half:
            self._dead_letter(work, reason, detail)
            return
        cuts = [half]
        if at_fault is not None:
            place = next(index for index, entry in enumerate(entries) if version_of(self._lane, entry) == at_fault)
            cuts = [place, place + 1]
        for start, end in itertools.pairwise([0, *cuts, len(entries)]):
            if start < end:
                self.apply(Work(entries[start:end], are_letters=work.are_letters))

    def _dead_letter(self, work: Work, reason: str, detail: str) -> None:
        (entry,) = work.entries
        began = time.monotonic()
        with closed_if_stalled(self._context.connection(), self._lane) as connection:
            known = self._watermarks or read_watermarks(connection, self._lane)
            self._watermarks = write_dead_letter(
                connection, self._lane, entry, known, reason=reason, detail=detail, is_letter=work.are_letters
            )
        count_dead(self._context.tally, work)
        self._context.trace(self._lane, work.entries, began, reason)
        log.error("dead_letter", lane=self._lane, connector_id=entry.connector_id, reason=reason)
        self._settle(work.entries)

    def _settle(self, entries: list[Entry]) -> None:
        """Remove entries from the stream and the backlog. A dead letter is not there, which does no harm."""
        settled = [value for entry in entries for value in (entry.entry_id, entry.connector_id, entry.cost)]
        self._context.scripts("settle", [self._keys.stream, self._keys.backlog, self._keys.large], [GROUP, *settled])
        if self._context.redis.delete(self._keys.failures):
            forget_failed_drains(self._context.queue, lambda lane: lane == self._lane)

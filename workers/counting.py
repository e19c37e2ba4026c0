"""Counts what a drain has applied: in the metrics, and by connector for `shared/traffic.py`."""

from __future__ import annotations

import time

from shared.request_id import position_of_version
from shared.traffic import Tally
from workers import metrics
from workers.fold import Slice
from workers.lane_reader import Work
from workers.write import Written


def count_applied(tally: Tally, lane: int, result: Slice, written: Written, work: Work, began: float) -> None:
    """Count a slice that was committed and `began` on the monotonic clock.

    Letters have no lag: they waited for an operator.
    """
    metrics.TRANSACTION.observe(time.monotonic() - began)
    now = round(time.time() * 1000)
    all_received = all_superseded = all_removed = 0
    for version, receipt in result.receipts.items():
        counted = written.counted.get(version)
        superseded, removed = (counted["superseded"], counted["removed"]) if counted else (receipt.superseded, 0)
        lag_ms = 0 if work.are_letters else max(0, now - position_of_version(lane, version).milliseconds)
        if not work.are_letters:
            metrics.LAG.observe(lag_ms / 1000)
        tally.applied(receipt.connector_id, receipt.received - superseded, superseded, removed, lag_ms)
        all_received += receipt.received
        all_superseded += superseded
        all_removed += removed
    # Once a slice: the library's counters take a microsecond each time.
    metrics.ITEMS_APPLIED.inc(all_received - all_superseded)
    metrics.ITEMS_SUPERSEDED.inc(all_superseded)
    metrics.ITEMS_REMOVED.inc(all_removed)


def count_dead(tally: Tally, work: Work) -> None:
    """Count submissions that became dead letters; those that were letters already are counted."""
    for entry in () if work.are_letters else work.entries:
        tally.died(entry.connector_id, entry.count)
        metrics.DEAD_LETTERS.inc()

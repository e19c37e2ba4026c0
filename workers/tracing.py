"""Spans of workers: how long each submission waited in its lane, and the slice that wrote it. Used if traces are on.

A slice holds submissions of many traces, so its span is a trace of its own, and links to those of its submissions. If
only one of them is traced, it belongs to that trace.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.entry import Entry
from shared.process.tracing import Attributes, lane_name, messaging
from shared.request_id import position_of_entry

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from shared.process.spans import Spans


class SliceTracer:
    """Makes the spans of the slices that this process has applied."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def __call__(self, lane: int, entries: Sequence[Entry], began: float, reason: str) -> None:
        """Make the spans of a slice that `began` on the monotonic clock and is committed, or died of a reason."""
        ended_ns = time.time_ns()
        began_ns = ended_ns - int((time.monotonic() - began) * 1e9)
        applied = [self._apply(lane, entry, began_ns) for entry in entries if entry.meta.traceparent]
        if not applied:
            return
        attributes: Attributes = {
            "db.system.name": "postgresql",
            "db.operation.name": "COMMIT",
            "messaging.batch.message_count": len(entries),
            "messaging.destination.name": lane_name(lane),
        }
        alone = applied[0] if len(applied) == 1 else None
        written = self._spans.start("write slice", "CLIENT", alone, attributes, start_ns=began_ns, links=applied)
        for span in applied:
            if written.is_recording() and not alone:
                span.add_link(written.get_span_context())
            if reason:
                self._spans.fail(span, reason)
            span.end(ended_ns)
        written.end(ended_ns)

    def _apply(self, lane: int, entry: Entry, began_ns: int) -> Span:
        """Start the span of an entry's application, and make that of its wait."""
        position = position_of_entry(lane, entry.entry_id)
        parent, told = entry.meta.traceparent, {"ingest.request_id": position.request_id}
        accepted_ns = min(position.milliseconds * 1_000_000, began_ns)  # by the clock of Redis, which may be ahead
        wait = self._spans.start(f"wait {lane_name(lane)}", "INTERNAL", parent, told, start_ns=accepted_ns)
        wait.end(began_ns)
        attributes = {**messaging(lane, "apply", "process"), **told, "ingest.connector_id": entry.connector_id}
        return self._spans.start(f"apply {lane_name(lane)}", "CONSUMER", parent, attributes, start_ns=began_ns)

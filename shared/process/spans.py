"""Makes spans and sends them to a collector, without ever delaying or failing what they tell of.

A thread sends; while the collector is away, spans wait in a bounded queue, then are lost and counted. The library
reads the OTEL_* variables itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

#: Maximum number of spans that wait to be sent; some 2 KB each.
_MAX_WAITING: Final = 2_048
#: Maximum time in seconds that the end of a process waits for its last spans to be sent.
_CLOSE_SECONDS: Final = 2.0
_TRACEPARENT: Final = "traceparent"
#: Longest `traceparent` that is read: those of later versions may be longer than the 55 characters of version 00.
_MAX_TRACEPARENT: Final = 256

Kind = Literal["SERVER", "PRODUCER", "INTERNAL", "CONSUMER", "CLIENT"]


class Spans:
    """Makes the spans of one process."""

    def __init__(self, service: str, exporter: SpanExporter, count_lost: Callable[[int], object]) -> None:
        """Take what sends spans. `count_lost` is called with the number of those that it could not send."""
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
        self._provider.add_span_processor(_BoundedProcessor(exporter, count_lost))
        self._tracer = self._provider.get_tracer("ingest")
        self._propagator = TraceContextTextMapPropagator()

    def start(
        self,
        name: str,
        kind: Kind,
        parent: Span | str | None,
        attributes: Mapping[str, str | int],
        *,
        start_ns: int | None = None,
        links: Sequence[Span] = (),
    ) -> Span:
        """Start a span. `parent` may be a `traceparent`, which is ignored unless it is valid."""
        if isinstance(parent, str):
            given = {_TRACEPARENT: parent} if len(parent) <= _MAX_TRACEPARENT else {}
            context: Context | None = self._propagator.extract(given)
        else:
            context = None if parent is None else set_span_in_context(parent)
        return self._tracer.start_span(
            name, context, SpanKind[kind], attributes, [Link(one.get_span_context()) for one in links], start_ns
        )

    def traceparent(self, span: Span) -> str:
        """Return what makes other spans children of this one; nothing if it is not recorded."""
        if not span.is_recording():
            return ""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return carrier[_TRACEPARENT]

    @staticmethod
    def fail(span: Span, error_type: str) -> None:
        """Mark a span as failed, with a short name of what went wrong."""
        span.set_attribute("error.type", error_type)
        span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send what waits, in a bounded time."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class _BoundedProcessor(BatchSpanProcessor):
    """The library's queue and thread; refuses a span instead of dropping an older one, so that losses are counted."""

    def __init__(self, exporter: SpanExporter, count_lost: Callable[[int], object]) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._count_lost = count_lost
        super().__init__(_ReportingExporter(exporter, self._taken), max_queue_size=_MAX_WAITING)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that is to be sent."""
        if not span.context.trace_flags.sampled:
            return
        with self._lock:
            is_full = self._waiting >= _MAX_WAITING
            self._waiting += not is_full
        if is_full:
            self._count_lost(1)
        else:
            super().on_end(span)

    def _taken(self, spans: int, *, sent: bool) -> None:
        with self._lock:
            self._waiting -= spans
        if not sent:
            self._count_lost(spans)


class _ReportingExporter(SpanExporter):
    """Tells what became of each batch."""

    def __init__(self, exporter: SpanExporter, taken: Callable[..., None]) -> None:
        self._exporter = exporter
        self._taken = taken

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        sent = False
        try:
            result = self._exporter.export(spans)
            sent = result is SpanExportResult.SUCCESS
        finally:
            self._taken(len(spans), sent=sent)
        return result

    def shutdown(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

"""Spans: what becomes of a client's `traceparent`, of a slice of many traces, and of a collector that is away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.tracing import Traced
from shared.entry import Entry, Meta, encode_meta
from shared.process import tracing
from shared.process.settings import Settings
from shared.process.spans import Spans
from workers.tracing import SliceTracer

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Made:
    """Spans that are kept in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.lost: list[int] = []
        self.spans = Spans("ingest-test", self._exporter, self.lost.append)

    def ended(self) -> list[ReadableSpan]:
        self.spans.close()
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def made() -> Iterator[Made]:
    made = Made()
    yield made
    made.spans.close()


def entry(number: int, traceparent: str = "", connector: int = 7) -> Entry:
    meta = encode_meta(Meta("items", traceparent=traceparent))
    return Entry.decode(
        f"1700000000000-{number}".encode(), [b"c", b"%d" % connector, b"m", meta, b"n", b"1", b"b", b"{}"]
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "nonsense",
        PARENT.upper(),
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{PARENT}-more",
        f"{PARENT}, {PARENT}",
        PARENT[:-1],
        PARENT.replace("0af", "0\u0661f"),
        f"01{PARENT[2:]}-{'a' * 70_000}",
        "\0" * 55,
    ],
)
def test_a_traceparent_that_is_not_valid_is_ignored(made: Made, hostile: str) -> None:
    span = made.spans.start("POST", "SERVER", hostile, {})

    assert made.spans.traceparent(span)[3:35] not in ("", TRACE)


def test_a_trace_that_its_sender_does_not_record_is_not_recorded_here(made: Made) -> None:
    span = made.spans.start("POST", "SERVER", f"{PARENT[:-2]}00", {})
    span.end()

    assert made.spans.traceparent(span) == ""
    assert made.ended() == []


def test_entries_of_former_and_later_versions_are_read() -> None:
    fields = [b"c", b"7", b"n", b"1", b"b", b"{}", b"m"]

    former = Entry.decode(b"1-1", [*fields, b'{"kind":"items"}'])
    later = Entry.decode(b"1-1", [*fields, b'{"kind":"items","traceparent":"00-1","unknown":[1]}'])

    assert former.meta == Meta("items")
    assert later.meta == Meta("items", traceparent="00-1")
    assert encode_meta(former.meta) == b'{"kind":"items"}'


def test_a_slice_of_one_submission_belongs_to_its_trace(made: Made) -> None:
    SliceTracer(made.spans)(3, [entry(1, PARENT)], time.monotonic() - 1, "")

    wait, apply, write = made.ended()
    assert (wait.name, apply.name, write.name) == ("wait lane-03", "apply lane-03", "write slice")
    assert {span.context.trace_id for span in (wait, apply, write)} == {int(TRACE, 16)}
    assert write.parent == apply.context
    assert wait.end_time == apply.start_time == write.start_time


def test_a_slice_of_many_submissions_is_linked_with_each_of_them(made: Made) -> None:
    others = [entry(number, PARENT.replace("0af", f"{number:03}")) for number in (1, 2)]

    SliceTracer(made.spans)(3, [*others, entry(3)], time.monotonic(), "")

    *each, write = made.ended()
    applied = [span for span in each if span.name.startswith("apply")]
    assert write.parent is None
    assert [link.context for link in write.links] == [span.context for span in applied]
    assert [span.links[0].context for span in applied] == [write.context] * 2
    assert write.attributes
    assert write.attributes["messaging.batch.message_count"] == 3


def test_a_dead_letter_shows_its_reason(made: Made) -> None:
    SliceTracer(made.spans)(3, [entry(1, PARENT)], time.monotonic(), "unreadable")

    (apply,) = (span for span in made.ended() if span.name.startswith("apply"))
    assert not apply.status.is_ok
    assert apply.attributes
    assert apply.attributes["error.type"] == "unreadable"


def test_a_slice_without_traces_makes_no_span(made: Made) -> None:
    SliceTracer(made.spans)(3, [entry(1), entry(2)], time.monotonic(), "")

    assert made.ended() == []


def serve(made: Made, path: str, *headers: str, status: int = 202, method: str = "POST") -> None:
    """Serve a request with an application that answers as it is told."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        context = scope["context"] = RequestContext(scope, send, request_id="req_1", status=status)
        if status == 503:
            context.refusal = ApiError(ErrorCode.NOT_READY).refusal("req_1", None, "none")

    async def unused(*_: object) -> Any:
        raise AssertionError

    given = [(b"traceparent", header.encode()) for header in headers]
    scope = {"type": "http", "method": method, "scheme": "http", "path": path, "headers": given}
    asyncio.run(Traced(app, made.spans)(scope, unused, unused))


def test_a_request_continues_the_trace_of_its_sender(made: Made) -> None:
    serve(made, "/datapool/api/ingest", PARENT)

    (span,) = made.ended()
    assert span.context.trace_id == int(TRACE, 16)
    assert span.attributes
    assert span.attributes["ingest.request_id"] == "req_1"
    assert span.status.is_unset


def test_a_repeated_traceparent_is_ignored(made: Made) -> None:
    serve(made, "/api/ingest", PARENT, PARENT)

    (span,) = made.ended()
    assert span.parent is None


def test_only_our_own_failures_are_failures_in_a_trace(made: Made) -> None:
    serve(made, "/api/ingest", status=503)

    (span,) = made.ended()
    assert not span.status.is_ok
    assert not span.status.is_unset
    assert span.attributes
    assert span.attributes["error.type"] == "not_ready"


def test_what_a_client_makes_up_is_bounded_and_checks_of_health_have_no_spans(made: Made) -> None:
    serve(made, f"/api/{'x' * 60_000}", method="BREW")
    serve(made, "/healthz")

    (span,) = made.ended()
    assert span.name == "_OTHER"
    assert span.attributes
    assert len(str(span.attributes["url.path"])) == 256


class Hanging(SpanExporter):
    """A collector that takes a batch and does not answer."""

    def __init__(self) -> None:
        self.answer = threading.Event()

    def export(self, _spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.answer.wait(30)
        return SpanExportResult.FAILURE


def test_spans_that_a_collector_does_not_take_are_bounded_and_counted() -> None:
    lost: list[int] = []
    collector = Hanging()
    spans = Spans("ingest-test", collector, lost.append)

    for _ in range(5_000):
        spans.start("POST", "SERVER", None, {}).end()
    spans.close()  # returns although the collector does not
    refused = sum(lost)
    collector.answer.set()

    assert refused == 5_000 - 2_048
    deadline = time.monotonic() + 30
    while sum(lost) < 5_000:
        assert time.monotonic() < deadline, sum(lost)
        time.sleep(0.01)


def test_nothing_is_made_unless_traces_are_on() -> None:
    assert tracing.start_tracing(Settings(), "api", print) is None
    tracing.require_tracing(Settings())


def test_a_missing_extra_stops_the_start_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _name: None)

    with pytest.raises(SystemExit, match=r"needs the extra `otel`: pip install"):
        tracing.require_tracing(Settings(otel_traces_exporter="otlp"))

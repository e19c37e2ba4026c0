"""With OTEL_TRACES_EXPORTER, one trace shows a submission from its request to its commit, across the processes."""

from __future__ import annotations

import re
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.client import JSON, NO_TLS, Connector, assert_accepted, batch, item
from tests.support.collector import Collected, Collector
from tests.support.processes import free_port, wait_until
from tests.support.stack import Api, Stack

SECRET = "no-span-shows-this-value"


class Traced(NamedTuple):
    collector: Collector
    api: Api
    start_worker: Callable[[], None]


@pytest.fixture(scope="module")
def traced(workerless: Stack) -> Iterator[Traced]:
    """An API process with traces, and a worker with traces once a test starts it."""
    with Collector() as collector, ExitStack() as processes:
        api = processes.enter_context(workerless.api(**collector.settings))
        started: list[object] = []

        def start_worker() -> None:
            if not started:
                started.append(processes.enter_context(workerless.worker(**collector.settings)))

        yield Traced(collector, api, start_worker)


def traceparent(trace_id: str = "", parent_id: str = "00f067aa0ba902b7", flags: str = "01") -> tuple[str, str]:
    trace_id = trace_id or secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{parent_id}-{flags}"


def submit(api: Api, connector: Connector, header: str, *items: dict[str, Any]) -> str:
    """Submit under a trace, and return the request id."""
    with connector.connection(api.url) as connection:
        body = batch(*items)
        return assert_accepted(
            connection.post("/api/ingest", content=body, headers={**JSON, "traceparent": header}), items=len(items)
        )


def trace_of(collector: Collector, trace_id: str, spans: int) -> dict[str, Collected]:
    """Wait until a trace has so many spans; return them by the first word of their names."""
    wait_until(f"{trace_id} has {spans} spans", lambda: len(collector.of(trace_id)) >= spans)
    return {span.name.split()[0]: span for span in collector.of(trace_id)}


# First, since it needs every submission for its own worker.
def test_a_collector_that_is_away_harms_nothing_and_its_loss_is_counted(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    away = {**Collector().close().settings, "METRICS_PORT": free_port(), "OTEL_EXPORTER_OTLP_TIMEOUT": 1}
    with workerless.api(**away) as api, workerless.worker(**away) as worker:
        worker.says("metrics_served")
        submit(api, connector, traceparent()[1], item("agent-1"))
        wait_until("it is applied", lambda: workerless.fields(connector, "agent-1") == {})
        for url in (api.url, f"http://127.0.0.1:{away['METRICS_PORT']}"):
            wait_until("the loss is counted", partial(lost_spans, url))
        for process in (api, worker):
            process.send(signal.SIGTERM)
        assert worker.ends() == 0
        api.ends()


def test_one_trace_shows_a_submission_from_the_request_to_the_commit(
    traced: Traced, workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    traced.start_worker()
    trace_id, header = traceparent()

    request_id = submit(traced.api, connector, header, item("agent-1", note=SECRET))
    spans = trace_of(traced.collector, trace_id, 5)

    request, append, wait, apply, write = (spans[name] for name in ("POST", "append", "wait", "apply", "write"))
    assert (request.name, request.parent_id) == ("POST /api/ingest", "00f067aa0ba902b7")
    assert append.parent_id == request.span_id
    assert wait.parent_id == apply.parent_id == append.span_id
    assert write.parent_id == apply.span_id
    assert {span.service for span in (request, append)} == {"ingest-api"}
    assert {span.service for span in (wait, apply, write)} == {"ingest-worker"}
    assert {span.attributes["ingest.request_id"] for span in (request, append, wait, apply)} == {request_id}
    assert request.attributes["http.response.status_code"] == 202
    assert write.attributes["db.system.name"] == "postgresql"
    assert wait.start <= wait.end == apply.start <= apply.end == write.end
    key_id, secret = connector.credential.split("_")[1:]
    assert not any(text in repr(traced.collector.spans) for text in (SECRET, "agent-1", key_id, secret))


def test_a_slice_of_many_submissions_is_linked_with_their_traces(
    traced: Traced, workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    traced.start_worker()
    headers = [traceparent() for _ in range(3)]
    with workerless.items_locked():
        submit(traced.api, connector, "not a trace", item("first"))
        wait_until("the worker is held in its transaction", workerless.held_writers)
        for _, header in headers:
            submit(traced.api, connector, header, item("many"))

    applied = [trace_of(traced.collector, trace_id, 4)["apply"] for trace_id, _ in headers]

    ((slice_trace, slice_span),) = {link for span in applied for link in span.links}
    write = trace_of(traced.collector, slice_trace, 1)["write"]
    assert (write.span_id, write.parent_id) == (slice_span, "")
    assert sorted(write.links) == sorted((span.trace_id, span.span_id) for span in applied)
    assert write.attributes["messaging.batch.message_count"] == 3


def lost_spans(url: str) -> float:
    """Return what a process counts."""
    text = httpx.get(f"{url}/metrics", headers={"Accept": "text/plain"}, verify=NO_TLS, trust_env=False).text
    found = re.search(r"^ingest_spans_lost_total (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])

"""Metrics of the API, and `GET /metrics`.

Prometheus gets its text format, which it requests with `Accept`; other clients get JSON, as on every route. Several
processes on one port share their counts through files (prometheus-client's multi-process mode). The state of the lanes
is read from Redis at each scrape, so every process reports all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext
from shared.process.settings import Settings
from shared.redis.lane_status import RedisState

#: Variable of prometheus-client, read when it is imported: the folder in which processes of one port share counts.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_own: Final = CollectorRegistry()
REQUESTS: Final = Counter(
    "ingest_requests",
    "Requests answered; `code` is empty unless the answer is an error.",
    ["route", "status", "code"],
    registry=_own,
)
REQUEST_SECONDS: Final = Histogram(
    "ingest_request_seconds", "Time from a request's headers to its answer.", ["route"], registry=_own, buckets=_BUCKETS
)
BODY_BYTES: Final = Counter("ingest_body_bytes", "Bytes of bodies received, before decompression.", registry=_own)
BODY_PROCESS_FAILURES: Final = Counter(
    "ingest_body_process_failures", "Processes for large bodies that ended or hung with a body.", registry=_own
)
APPEND_FAILURES: Final = Counter(
    "ingest_append_failures", "Calls of the append script without a usable answer from Redis.", registry=_own
)
WAKE_UP_FAILURES: Final = Counter(
    "ingest_wake_up_failures", "Wake-ups that Redis rejected and that were left to the sweeper.", registry=_own
)
LOG_LINES_LOST: Final = Counter(
    "ingest_log_lines_lost", "Lines of the log that could not be written to stdout or stderr.", registry=_own
)
SPANS_LOST: Final = Counter("ingest_spans_lost", "Spans of traces that the collector did not get.", registry=_own)
LOOP_LAG: Final = Histogram(
    "ingest_loop_lag_seconds", "How late the event loop calls what is due.", registry=_own, buckets=_BUCKETS
)
INFLIGHT_BYTES: Final = Gauge(
    "ingest_inflight_bytes", "Bytes of bodies held in memory.", registry=_own, multiprocess_mode="livesum"
)


class LaneCollector:
    """Reads the state of the lanes from Redis at each scrape."""

    def __init__(self, look: Callable[[], RedisState], backlog_limit: int) -> None:
        self._look = look
        self._backlog_limit = backlog_limit

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of all lanes; only `ingest_redis_up` while Redis is away."""
        try:
            state = self._look()
        except RedisError:
            yield GaugeMetricFamily("ingest_redis_up", "Whether Redis answers.", 0)
            return
        yield GaugeMetricFamily("ingest_redis_up", "Whether Redis answers.", 1)
        yield from _node_gauges(state)
        yield from _lane_gauges(state)
        backlog = sum(lane.bytes for lane in state.lanes)
        yield GaugeMetricFamily("ingest_backlog_bytes", "Bytes that wait to be applied, of all lanes.", backlog)
        yield GaugeMetricFamily(
            "ingest_backlog_limit_bytes", "`MAX_BACKLOG_BYTES`: with so many, submissions get 503.", self._backlog_limit
        )
        yield GaugeMetricFamily("ingest_queued_jobs", "Wake-ups waiting for a worker.", state.queued_jobs)
        yield GaugeMetricFamily("ingest_failed_jobs", "Failed drains in RQ's registry.", state.failed_jobs)
        yield CounterMetricFamily(
            "ingest_credential_corrections",
            "Credentials in Redis that differed from Postgres and were corrected.",
            state.corrections,
        )
        living = len(state.living)
        yield GaugeMetricFamily("ingest_workers", "Worker processes.", living + len(state.frozen))
        yield GaugeMetricFamily("ingest_workers_alive", "Worker processes that are neither frozen nor hung.", living)
        yield GaugeMetricFamily("ingest_sweeper_up", "Whether a sweeper is active.", int(state.sweeper))


class Metrics:
    """The endpoint."""

    def __init__(self, look: Callable[[], RedisState], settings: Settings) -> None:
        """`look` reads the state of lanes and workers."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        if settings.web_concurrency > 1:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call] # untyped in the library
        else:
            self._registry.register(_own)
        self._registry.register(LaneCollector(look, settings.max_backlog_bytes))
        # Scraping needs no credential, so only one scrape runs at a time.
        self._scraping = asyncio.Lock()

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one scrape."""
        context: RequestContext = scope["context"]
        accept = (context.header(b"accept") or b"").decode("latin-1")
        if "text/plain" in accept or "openmetrics" in accept:
            encode, content_type = prometheus_client.exposition.choose_encoder(accept)
            async with self._scraping:
                text = await asyncio.to_thread(encode, self._registry)
            await context.answer_text(text, content_type)
        else:
            async with self._scraping:
                samples = await asyncio.to_thread(self._samples)
            await context.answer(200, {"status": "ok", "requestId": "", "metrics": samples})

    def _samples(self) -> list[dict[str, Any]]:
        return [
            {"name": sample.name, "labels": sample.labels, "value": sample.value}
            for family in self._registry.collect()
            for sample in family.samples
        ]


def count_request(context: RequestContext, seconds: float) -> None:
    """Count one answered request."""
    code = context.refusal.code if context.refusal else ""
    requests, request_seconds = _labelled(context.route, context.status, code)
    requests.inc()
    request_seconds.observe(seconds)
    BODY_BYTES.inc(context.received_bytes)


@lru_cache(maxsize=1024)  # the library's own lookup of labels takes twenty times as long
def _labelled(route: str, status: int, code: str) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, str(status), code), REQUEST_SECONDS.labels(route)


def _node_gauges(state: RedisState) -> Iterator[Metric]:
    """Yield which nodes of a cluster answer, and with them their lanes."""
    nodes = GaugeMetricFamily("ingest_redis_node_up", "Whether a node of the cluster answers.", labels=["node"])
    lanes = GaugeMetricFamily("ingest_lane_up", "Whether the node that has the lane answers.", labels=["lane"])
    for node in state.nodes:
        nodes.add_metric([node.address], node.error is None)
        for lane in node.lanes:
            lanes.add_metric([str(lane)], node.error is None)
    if state.nodes:
        yield from (nodes, lanes)


def _lane_gauges(state: RedisState) -> Iterator[Metric]:
    entries = GaugeMetricFamily("ingest_lane_entries", "Submissions waiting to be applied.", labels=["lane"])
    backlog = GaugeMetricFamily("ingest_lane_bytes", "Bytes of the submissions waiting to be applied.", labels=["lane"])
    oldest = GaugeMetricFamily(
        "ingest_lane_oldest_seconds", "Age of the oldest submission waiting to be applied.", labels=["lane"]
    )
    for lane in state.lanes:
        label = [str(lane.number)]
        entries.add_metric(label, lane.entries)
        backlog.add_metric(label, lane.bytes)
        oldest.add_metric(label, lane.oldest_age_seconds or 0)
    yield from (entries, backlog, oldest)

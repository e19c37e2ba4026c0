"""What workers and the sweeper tell Prometheus."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from redis import Redis

from operations.connectors import Connectors
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.partitions import TABLES
from shared.process.metrics import serve_metrics
from shared.process.settings import Settings
from tests.integration.lane_tools import Lane
from workers import metrics
from workers.drain import Drain
from workers.engine_metrics import EngineCollector
from workers.retention import age_out


def value(name: str, registry: CollectorRegistry = metrics.WORKER, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


def test_a_drain_counts_what_it_applied_and_why_it_paused(lane: Lane) -> None:
    names = ("ingest_items_applied_total", "ingest_items_superseded_total", "ingest_dead_letters_total")
    before = [value(name) for name in names]
    lags, turns = value("ingest_lag_seconds_count"), value("ingest_lane_turns_total")
    paused = value("ingest_lane_pauses_total", cause="postgres")
    lane.append({"id": "a", "fields": {"n": 1}}, {"id": "a", "fields": {"n": 2}})
    lane.drain_once()
    lane.append(raw=b"{")
    lane.drain_once()

    assert [value(name) - then for name, then in zip(names, before, strict=True)] == [1, 1, 1]
    assert value("ingest_lag_seconds_count") == lags + 1
    assert value("ingest_lane_turns_total") >= turns + 2
    assert value("ingest_transaction_seconds_count") > 0

    def away() -> Connection:
        raise psycopg.OperationalError("away")

    lane.append({"id": "b"})
    with pytest.raises(psycopg.OperationalError):
        Drain(lane.context(away), lane.number, "job").run()
    assert value("ingest_lane_pauses_total", cause="postgres") == paused + 1


def test_retention_tells_when_it_last_succeeded(lane: Lane) -> None:
    done = value("ingest_retention_runs_total", outcome="done")

    age_out(lane.context(), dict.fromkeys(("audit", *(table.name for table in TABLES)), 7))

    assert value("ingest_retention_runs_total", outcome="done") == done + 1
    assert value("ingest_retention_last_success_seconds") > 1e9


def test_the_sweeper_tells_of_engines_and_of_silent_connectors(lane: Lane, connectors: Connectors) -> None:
    connectors.create("never heard of")
    connectors.disable(connectors.create("disabled").connector_id)
    lane.append({"id": "a"})
    lane.connection.execute("UPDATE connectors SET created_at = now() - interval '1 hour'")
    registry = CollectorRegistry()
    registry.register(EngineCollector(lane.redis, lambda: lane.connection, 300))

    states = ("seen", "quiet", "never", "disabled")
    assert [value("ingest_connectors", registry, state=state) for state in states] == [1, 0, 1, 1]
    assert [value(f"ingest_{engine}_up", registry) for engine in ("redis", "postgres")] == [1, 1]
    assert value("ingest_redis_memory_bytes", registry) > 100_000


def test_the_sweeper_tells_that_both_engines_are_away() -> None:
    registry = CollectorRegistry()
    registry.register(EngineCollector(Redis(port=1), lambda: connect_postgres(_AWAY, application="test"), 300))

    text = generate_latest(registry).decode()

    assert "ingest_redis_up 0.0" in text
    assert "ingest_postgres_up 0.0" in text


_AWAY = "postgresql://ingest@127.0.0.1:1/ingest"


def test_processes_of_one_machine_take_one_port_after_the_other(settings: Settings) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        registry = CollectorRegistry()

        serve_metrics(replace(settings, metrics_port=port), registry)

    for candidate in range(port + 1, port + 64):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{candidate}/metrics", timeout=5) as answer:
                assert b"process_resident_memory_bytes" in answer.read()
                return
        except OSError:
            continue
    raise AssertionError("no port serves the metrics")

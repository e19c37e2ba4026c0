"""What the sweeper finds out about the engines and the connectors each time its metrics are read."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis import Redis
from redis.exceptions import RedisError

from shared.causes import NotNowError
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.numbers import copied_lanes
from shared.redis.primaries import ask_each
from shared.redis.signs_of_life import read_signs, with_signs

_STATES: Final = ("seen", "quiet", "never", "disabled")


class EngineCollector(Collector):
    """Asks both engines, one scrape at a time."""

    def __init__(self, redis: Redis, connection: Callable[[], Connection], quiet_after_seconds: int) -> None:
        """`connection`: not that of another thread."""
        self._redis = redis
        self._connection = connection
        self._quiet_after_seconds = quiet_after_seconds
        self._scraping = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield what is known: of an engine that is away, only that."""
        with self._scraping:
            yield from self._redis_gauges()
            yield from self._postgres_gauges()

    def _redis_gauges(self) -> Iterator[Metric]:
        answers = ask_each(self._redis, (), lambda node, _: _look_at_server(node))
        yield GaugeMetricFamily("ingest_redis_up", "Whether Redis answers.", int(any(one.told for one in answers)))
        labels = ["node"] if answers[0].node else []  # an only server has none
        took = GaugeMetricFamily("ingest_redis_answer_seconds", "Time that Redis took for an answer.", labels=labels)
        used = GaugeMetricFamily("ingest_redis_memory_bytes", "Memory that Redis uses.", labels=labels)
        limit = GaugeMetricFamily(
            "ingest_redis_memory_limit_bytes", "Memory that Redis may use; 0: unlimited.", labels=labels
        )
        for node, (seconds, memory) in ((one.node, told) for one in answers for told in one.told):
            label = [node] if node else []
            took.add_metric(label, seconds)
            used.add_metric(label, memory["used_memory"])
            limit.add_metric(label, memory["maxmemory"])
        yield from (took, used, limit)

    def _postgres_gauges(self) -> Iterator[Metric]:
        began = time.monotonic()
        try:
            connection = self._connection()
            connection.execute(sql("select_time"))
            seconds = time.monotonic() - began
            states = self._states(connection)
            letters = connection.execute(sql("count_waiting_letters")).fetchall()[0]["letters"]
        except (psycopg.Error, NotNowError):
            yield GaugeMetricFamily("ingest_postgres_up", "Whether Postgres answers.", 0)
            return
        yield GaugeMetricFamily("ingest_postgres_up", "Whether Postgres answers.", 1)
        yield GaugeMetricFamily("ingest_postgres_answer_seconds", "Time that Postgres took for an answer.", seconds)
        yield GaugeMetricFamily("ingest_dead_letters_kept", "Dead letters that are kept, up to 100,000.", letters)
        connectors = GaugeMetricFamily(
            "ingest_connectors", "Connectors, by `state`: seen, quiet, never (seen) or disabled.", labels=["state"]
        )
        for state in _STATES:
            connectors.add_metric([state], states[state])
        yield connectors

    def _states(self, connection: Connection) -> Counter[str]:
        """Count connectors; while Redis is away, by what Postgres knows."""
        rows = connection.execute(sql("select_connectors"), {"connector_id": None}).fetchall()
        try:
            signs = read_signs(self._redis, copied_lanes(self._redis))
        except RedisError:
            signs = {}
        with_signs(rows, signs, self._quiet_after_seconds)
        return Counter("disabled" if not row["enabled"] else row["silence"] or "seen" for row in rows)


def _look_at_server(node: Redis) -> tuple[float, Any]:
    """Return how long a server took for an answer, and what it tells of its memory."""
    began = time.monotonic()
    memory = node.info("memory")
    return time.monotonic() - began, memory

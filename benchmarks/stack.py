"""The real system for a benchmark: engines, installations on them, and our own processes.

An installation is a database and a Redis database of their own, migrated, with connectors that may send as fast as they
can. Several of them share the engines, so that what they differ in can be measured in turn.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from redis import Redis
from rq import Worker

from benchmarks.measure import BenchmarkError
from benchmarks.processes import Process, free_port, python, running, wait_until_answers
from operations.local.engines import Engines, engines
from shared.credentials.credential import new_credential
from shared.credentials.sync import load_lanes
from shared.postgres import migrations
from shared.postgres.connections import connect_postgres
from shared.postgres.queries import sql
from shared.redis.connections import connect_redis
from shared.redis.names import SWEEPER, lane_keys
from shared.request_id import position_of_request

LANES: Final = 16
_MB: Final = 1 << 20
#: Room for what a subject puts before the workers; Valkey has 1 GB.
_LIMITS: Final = {"MAX_BACKLOG_BYTES": str(800 * _MB), "MAX_CONNECTOR_BACKLOG_BYTES": str(800 * _MB)}
_RATE: Final = 1_000_000
_UP_SECONDS: Final = 60
_DRAINED_SECONDS: Final = 240

Credential = tuple[int, str]


@contextlib.contextmanager
def running_engines() -> Iterator[Engines]:
    """Engines in a temporary folder; their durable settings are those of everywhere."""
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder, engines(Path(folder) / "data") as found:
        yield found


@dataclass
class Installation:
    """One installation. `number` is that of its databases."""

    engines: Engines
    number: int = 0
    connectors: int = 1
    lanes: int = LANES
    credentials: list[Credential] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    port: int = 0
    name: str = "ingest_api + workers"

    def __post_init__(self) -> None:
        """Migrates and makes the connectors."""
        database_name = f"bench_{self.number}"
        with psycopg.connect(self.engines.database_url, autocommit=True) as maintenance:
            maintenance.execute(f"CREATE DATABASE {database_name}")
        self.database_url: str = self.engines.database_url.replace("/ingest?", f"/{database_name}?")
        self.redis_url: str = f"{self.engines.redis_url}?db={self.number}"
        self.redis: Redis = connect_redis(self.redis_url)
        self.connection = connect_postgres(self.database_url, application="benchmark")
        self.connection.execute("SET statement_timeout = 0")
        migrations.migrate(self.connection, lanes=self.lanes)
        self.credentials = self._make_connectors()
        load_lanes(self.connection, self.redis, range(self.lanes))

    def close(self) -> None:
        """Ends our own connections."""
        self.connection.close()
        self.redis.close()

    def _make_connectors(self) -> list[Credential]:
        """By hand rather than one by one: ten thousand take a second."""
        made = []
        with self.connection.transaction():
            for number in range(self.connectors):
                lane = number % self.lanes
                values: dict[str, Any] = {"name": f"benchmark {number}", "rate": _RATE, "burst": _RATE, "lane": lane}
                row = self.connection.execute(sql("insert_connector"), values).fetchall()[0]
                credential = new_credential(lane=lane, lanes=self.lanes)
                values = {"key_id": credential.key_id, "digest": credential.digest, **row}
                self.connection.execute(sql("upsert_credential"), values)
                made.append((int(row["connector_id"]), credential.text))
        return made

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def process(self, name: str, *module: str, core: int | None = None, **environ: str) -> Iterator[Process]:
        """A process of ours on this installation."""
        urls = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "LOG_FORMAT": "json"}
        quiet = {"LOG_LEVEL": "warning"} if name != "api" else {}  # the API's line a request is part of its work
        with running(name, python(*module), {**urls, **quiet, **environ}, core=core) as started:
            self.processes[name] = started
            try:
                yield started
            finally:
                del self.processes[name]

    @contextlib.contextmanager
    def api(self, *, core: int | None = None, **environ: str) -> Iterator[Process]:
        """An API that is ready."""
        self.port = free_port()
        with self.process("api", "ingest_api", core=core, PORT=str(self.port), **_LIMITS, **environ) as started:
            wait_until_answers(f"{self.url}/readyz", started)
            yield started

    @contextlib.contextmanager
    def workers(self, count: int = 1, *, core: int | None = None) -> Iterator[list[Process]]:
        """Workers and the sweeper, which may still be about to start."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.process("sweeper", "workers.sweep", core=core))
            yield [
                stack.enter_context(self.process(f"worker {number}", "workers", core=core))
                for number in range(1, count + 1)
            ]

    @contextlib.contextmanager
    def ready_workers(self, count: int = 1, *, core: int | None = None) -> Iterator[list[Process]]:
        """Workers that have started, and the sweeper: their start takes no time from what is measured next."""
        with self.workers(count, core=core) as started:
            deadline = time.monotonic() + _UP_SECONDS
            while Worker.count(connection=self.redis) < count or not self.redis.exists(SWEEPER):
                for process in list(self.processes.values()):
                    process.check()
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"The workers did not come up in {_UP_SECONDS} s.")
                time.sleep(0.02)  # they tell nobody
            yield started

    def forget(self) -> None:
        """Empties Redis, as if it had lost its memory, and lets the API in again; for a time without workers."""
        self.redis.flushdb()
        load_lanes(self.connection, self.redis, range(self.lanes))

    def pending(self) -> int:
        """Entries that wait in all lanes."""
        pipeline = self.redis.pipeline(transaction=False)
        for lane in range(self.lanes):
            pipeline.xlen(lane_keys(lane).stream)
        return sum(pipeline.execute())

    def positions(self) -> list[bytes]:
        """The last entry of each lane that a worker has read."""
        pipeline = self.redis.pipeline(transaction=False)
        for lane in range(self.lanes):
            pipeline.xinfo_groups(lane_keys(lane).stream)
        return [groups[0]["last-delivered-id"] for groups in pipeline.execute()]

    def wait_until_drained(self, *, seconds: float = _DRAINED_SECONDS) -> float:
        """Waits until nothing waits in any lane; the moment when that was seen."""
        deadline = time.monotonic() + seconds
        while self.pending():
            for process in list(self.processes.values()):
                process.check()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.pending():,} entries still wait after {seconds:g} s.")
            time.sleep(0.005)  # what is measured tells nobody when it is done
        return time.monotonic()

    def applied_items(self) -> int:
        """Items of all submissions that were applied."""
        return int(self.rows("SELECT coalesce(sum(received), 0)::bigint AS n FROM receipts")[0]["n"])

    def applied_requests(self, asked: list[tuple[int, str]]) -> set[str]:
        """Which of some requests, as connector and request id, were applied."""
        positions = {
            (connector, position.version): request
            for connector, request in asked
            if (position := position_of_request(request))
        }
        found = self.connection.execute(
            "SELECT connector_id, version FROM receipts "
            "JOIN unnest(%s::bigint[], %s::bigint[]) AS asked (connector_id, version) USING (connector_id, version)",
            [[connector for connector, _ in positions], [version for _, version in positions]],
        ).fetchall()
        return {positions[row["connector_id"], row["version"]] for row in found}

    def wal_bytes(self) -> int:
        """Bytes of write-ahead log that Postgres has written so far."""
        return int(self.rows("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS n")[0]["n"])

    def aof_bytes(self) -> int:
        """Size of Valkey's append-only file: what is appended, until it is rewritten."""
        return int(self.redis.info("persistence")["aof_current_size"])

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """What a statement of a benchmark gives."""
        return self.connection.execute(statement.encode()).fetchall()


@contextlib.contextmanager
def installation(found: Engines, *, number: int = 0, connectors: int = 1) -> Iterator[Installation]:
    """A new installation on engines that run."""
    made = Installation(found, number, connectors)
    try:
        yield made
    finally:
        made.close()

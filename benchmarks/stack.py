"""The product under measurement: engines, installations on them, and their processes.

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
#: Limit of the backlog that a subject builds up; Valkey has 1 GB.
_LIMITS: Final = {"MAX_BACKLOG_BYTES": str(800 * _MB), "MAX_CONNECTOR_BACKLOG_BYTES": str(800 * _MB)}
_RATE: Final = 1_000_000
_UP_SECONDS: Final = 60
_DRAINED_SECONDS: Final = 240

Credential = tuple[int, str]


@contextlib.contextmanager
def running_engines() -> Iterator[Engines]:
    """Run engines in a temporary folder, with the durable settings of production."""
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder, engines(Path(folder) / "data") as found:
        yield found


@dataclass
class Installation:
    """An installation; `number` is that of its databases."""

    engines: Engines
    number: int = 0
    connectors: int = 1
    lanes: int = LANES
    credentials: list[Credential] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    port: int = 0
    name: str = "ingest_api + workers"

    def __post_init__(self) -> None:
        """Migrate the database and create the connectors."""
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
        """Close the connections of the benchmark."""
        self.connection.close()
        self.redis.close()

    def _make_connectors(self) -> list[Credential]:
        """Insert all connectors at once: ten thousand take a second."""
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
        """Address of its API."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def process(self, name: str, *module: str, core: int | None = None, **environ: str) -> Iterator[Process]:
        """Run a process of the product on this installation."""
        urls = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "LOG_FORMAT": "json"}
        quiet = {"LOG_LEVEL": "warning"} if name != "api" else {}  # the API's log is part of its work
        with running(name, python(*module), {**urls, **quiet, **environ}, core=core) as started:
            self.processes[name] = started
            try:
                yield started
            finally:
                del self.processes[name]

    @contextlib.contextmanager
    def api(self, *, core: int | None = None, **environ: str) -> Iterator[Process]:
        """Run an API that is ready."""
        self.port = free_port()
        with self.process("api", "ingest_api", core=core, PORT=str(self.port), **{**_LIMITS, **environ}) as started:
            wait_until_answers(f"{self.url}/readyz", started)
            yield started

    @contextlib.contextmanager
    def workers(self, count: int = 1, *, core: int | None = None) -> Iterator[list[Process]]:
        """Run workers and the sweeper, which may not be ready yet."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.process("sweeper", "workers.sweep", core=core))
            yield [
                stack.enter_context(self.process(f"worker {number}", "workers", core=core))
                for number in range(1, count + 1)
            ]

    @contextlib.contextmanager
    def ready_workers(self, count: int = 1, *, core: int | None = None) -> Iterator[list[Process]]:
        """Run workers and the sweeper that are ready: their start is not part of the measurement."""
        with self.workers(count, core=core) as started:
            deadline = time.monotonic() + _UP_SECONDS
            while Worker.count(connection=self.redis) < count or not self.redis.exists(SWEEPER):
                for process in list(self.processes.values()):
                    process.check()
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"The workers did not start within {_UP_SECONDS} s.")
                time.sleep(0.02)  # workers report no event to wait for
            yield started

    def forget(self) -> None:
        """Empty Redis and load the credentials again, while no worker runs."""
        self.redis.flushdb()
        load_lanes(self.connection, self.redis, range(self.lanes))

    def pending(self) -> int:
        """Count the entries of all lanes."""
        pipeline = self.redis.pipeline(transaction=False)
        for lane in range(self.lanes):
            pipeline.xlen(lane_keys(lane).stream)
        return sum(pipeline.execute())

    def positions(self) -> list[bytes]:
        """Return the last entry of each lane that a worker has read."""
        pipeline = self.redis.pipeline(transaction=False)
        for lane in range(self.lanes):
            pipeline.xinfo_groups(lane_keys(lane).stream)
        return [groups[0]["last-delivered-id"] for groups in pipeline.execute()]

    def wait_until_drained(self, *, seconds: float = _DRAINED_SECONDS) -> float:
        """Wait until all lanes are empty; return the moment when they were."""
        deadline = time.monotonic() + seconds
        while self.pending():
            for process in list(self.processes.values()):
                process.check()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.pending():,} entries still wait after {seconds:g} s.")
            time.sleep(0.005)  # workers report no event to wait for
        return time.monotonic()

    def applied_items(self) -> int:
        """Count the items of all applied submissions."""
        return int(self.rows("SELECT coalesce(sum(received), 0)::bigint AS n FROM receipts")[0]["n"])

    def applied_requests(self, asked: list[tuple[int, str]]) -> set[str]:
        """Return the ids of those requests, given as connector and request id, that were applied."""
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
        """Return the bytes of write-ahead log that Postgres has written so far."""
        return int(self.rows("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS n")[0]["n"])

    def aof_bytes(self) -> int:
        """Return the size of Valkey's append-only file."""
        return int(self.redis.info("persistence")["aof_current_size"])

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """Return the first value of a statement."""
        return self.connection.execute(statement.encode()).fetchall()


@contextlib.contextmanager
def installation(found: Engines, *, number: int = 0, connectors: int = 1) -> Iterator[Installation]:
    """Make an installation on running engines."""
    made = Installation(found, number, connectors)
    try:
        yield made
    finally:
        made.close()

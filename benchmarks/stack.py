"""The real system for a benchmark: engines, and processes of ours on one core while the rest has the other."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from benchmarks.measure import BenchmarkError
from shared import database, migrations, redis_connection
from shared.connectors import Connectors
from shared.loading import load_lanes, unready_lanes
from shared.local.engines import engines

LANES = 16
_UP_SECONDS = 20


@dataclass(frozen=True)
class Stack:
    """Engines and one connector that may send as fast as it can."""

    database_url: str
    redis_url: str
    redis: Redis
    connection: database.Connection
    connector_id: int
    credential: str

    @contextlib.contextmanager
    def process(self, *command: str, core: int, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process of ours, pinned to one core where the system can; ended at the end of the block."""
        urls = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        pinned = pinned_to(core)
        with subprocess.Popen(
            [*pinned, sys.executable, "-m", *command],
            env={**os.environ, **urls, "LOG_FORMAT": "json", **environ},
            stdout=subprocess.DEVNULL,
        ) as started:
            try:
                yield started
            finally:
                started.terminate()
                started.wait(20)


def pinned_to(core: int) -> list[str]:
    """The beginning of a command line that keeps a process on one core."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "-c", str(cores[core])] if len(cores) > core else []


@contextlib.contextmanager
def running_engines() -> Iterator[Stack]:
    """Engines in a temporary folder, migrated, with one connector; their durable settings are those of everywhere."""
    with (
        tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder,
        engines(Path(folder) / "data") as found,
        redis_connection.connect(found.redis_url) as redis,
        database.connect(found.database_url, application="benchmark") as connection,
    ):
        migrations.migrate(connection, lanes=LANES)
        made = Connectors(connection, redis).create("benchmark", rate=1_000_000, burst=1_000_000)
        load_lanes(connection, redis, unready_lanes(redis, LANES))
        yield Stack(
            str(found.database_url),
            str(found.redis_url),
            redis,
            connection,
            made.connector_id,
            made.credential.text,
        )


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answers(url: str, statuses: Sequence[int] = (200,)) -> None:
    """Waits for a server to come up."""
    deadline = time.monotonic() + _UP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback
            if answer.status in statuses:
                return
        time.sleep(0.05)  # a server has no event to wait for
    raise BenchmarkError(f"{url} did not come up in {_UP_SECONDS} s.")

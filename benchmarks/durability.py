"""durability: what a 202 costs that waits for the disks of replicas: `WAIT_REPLICAS` of 0, 1 and 2."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from redis import Redis

from benchmarks.charts import Bar, Chart
from benchmarks.driver import send_all
from benchmarks.load import Job, Outcome
from benchmarks.measure import BenchmarkError, Effort, Figure, Say, percentile
from benchmarks.processes import free_port
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines
from operations.local.valkey import Valkey

_REPLICAS: Final = (0, 1, 2)
_CONNECTIONS: Final = 64
_SECONDS: Final = 4
#: Requests a second of the second load, which leaves the machine idle most of the time.
_IDLE_RATE: Final = 50
_COPY_SECONDS: Final = 30
_STORY: Final = f"""One API process and its load on two cores, without workers; a primary and two replicas on the same
disk, each with `appendfsync always`. A request has one item. The highest rate is that of {_CONNECTIONS} connections, of
which a group shares one wait; the latencies are those at {_IDLE_RATE} requests a second, each of which waits alone."""


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure the highest rate, and the latency of a 202, with each number of replicas in turn."""
    found: dict[str, list[float]] = {}
    with running_engines() as engines, _replicas(engines.redis_url), installation(engines) as ours:
        for number in range(1, effort.rounds + 1):
            for replicas in _REPLICAS:
                ours.forget()
                with ours.api(WAIT_REPLICAS=str(replicas)):
                    rate, idle = _rate(ours, effort), _load(ours, effort, _IDLE_RATE)
                found.setdefault(f"durability_{replicas}_rate", []).append(rate)
                for share in (0.5, 0.99):
                    name = f"durability_{replicas}_p{share * 100:.0f}_ms"
                    found.setdefault(name, []).append(percentile(idle.latencies, share))
                say(f"round {number} of {effort.rounds}, {replicas} replicas: {rate:,.0f} requests/s")
    return _section({name: Figure.of(values) for name, values in found.items()})


def _rate(ours: Installation, effort: Effort) -> float:
    began = time.monotonic()
    outcome = _load(ours, effort, None)
    return len(outcome.latencies) / (time.monotonic() - began)


def _load(ours: Installation, effort: Effort, rate: float | None) -> Outcome:
    seconds = effort.seconds(_SECONDS)
    job = Job(ours.port, ours.credentials, _CONNECTIONS, rate=rate, seconds=seconds, ids=10_000, batch=1)
    outcome = send_all(ours, job)
    if set(outcome.statuses) != {202}:
        raise BenchmarkError(f"Not all requests were accepted: {outcome.statuses}.")
    return outcome


@contextlib.contextmanager
def _replicas(url: str) -> Iterator[None]:
    """Run two replicas of a server that listens on a socket only, and wait for their copies."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ingest-replicas-") as folder, contextlib.ExitStack() as running:
        with Redis.from_url(url) as primary:
            primary.config_set("port", port)
        for name in ("first", "second"):
            (Path(folder) / name).mkdir()
            replica = Valkey(Path(folder) / name)
            replica.start()
            running.callback(replica.stop)
            with Redis.from_url(replica.url) as client:
                client.replicaof("127.0.0.1", port)
                _wait_for_copy(client)
        yield


def _wait_for_copy(client: Redis) -> None:
    deadline = time.monotonic() + _COPY_SECONDS
    while True:
        told: Any = client.info("replication")
        if told["master_link_status"] == "up":
            return
        if time.monotonic() > deadline:
            raise BenchmarkError(f"The replica had no copy within {_COPY_SECONDS} s.")
        time.sleep(0.02)  # a replica reports no event to wait for


def _section(figures: dict[str, Figure]) -> Section:
    section = Section("durability: 202s that wait for replicas", _STORY, figures=figures)
    rows, bars = [], []
    for replicas in _REPLICAS:
        rate, p50, p99 = (figures[f"durability_{replicas}_{name}"] for name in ("rate", "p50_ms", "p99_ms"))
        rows.append([str(replicas), rate.text(",.0f"), p50.text(".2f"), p99.text(".2f")])
        bars.append(Bar(f"{replicas} replicas", rate))
    section.tables = [Table(["`WAIT_REPLICAS`", "requests/s", "202, p50, ms", "202, p99, ms"], rows)]
    section.charts = [Chart("durability: requests a second", "requests/s", [bars], ",.0f")]
    return section

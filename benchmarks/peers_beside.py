"""peers: the same contract in the stacks that a team would use instead, under the same load and on the same table.

Each run has engines of its own, started fresh with the same durable settings. The load is balanced (see `driver`): what
is measured is how many items a second are applied while as many are accepted.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg

from benchmarks import bodies
from benchmarks.charts import Bar, Chart
from benchmarks.driver import LEAD_SECONDS, SMALLEST_LEAD, System, drive
from benchmarks.end_to_end import CONNECTIONS, CONNECTORS, IDS, WORKERS, job_for, whole
from benchmarks.measure import BenchmarkError, Effort, Say, in_turn, percentile
from benchmarks.peers import PEERS, Peer
from benchmarks.processes import free_port, running, wait_until_answers
from benchmarks.report import Section, Table
from benchmarks.stack import installation, running_engines

_WARM_SECONDS: Final = 3
_SECONDS: Final = 8
_OURS: Final = "ingest_api + workers"
_STORY: Final = f"""{CONNECTORS} connectors with {IDS:,} ids each, batches of {bodies.BATCH} in which every item has
changed, {CONNECTIONS} connections; one API process and {WORKERS} workers (or as many worker processes), everything on
this machine, engines started fresh with the same settings for each run. The generator may be {LEAD_SECONDS} seconds'
work ahead of what is applied, {SMALLEST_LEAD:,} items at least; items applied a second over {_SECONDS} s, after
{_WARM_SECONDS} s. How each peer is written, and why, is documented in its folder below `benchmarks/peers/`."""


def missing() -> list[str]:
    """Return what the peers need that no lock file installs."""
    return list(dict.fromkeys(need.rstrip(".") for peer in PEERS if (need := peer.missing())))


def measure(effort: Effort, say: Say) -> Section:
    """Measure a row for each peer."""
    for peer in PEERS:
        say(f"prepares {peer.title}")
        peer.prepare()
    latencies: dict[str, list[float]] = {}
    runs = {_OURS: lambda: _run_ours(effort, latencies)}
    for peer in PEERS:
        runs[peer.title] = lambda peer=peer: _run_peer(peer, effort, latencies)  # type: ignore[misc]
    found = in_turn(runs, effort.rounds, say, "items/s")
    section = Section("peers: the same contract on other stacks", _STORY)
    table = Table(["system", "items/s", "ours is so many times as fast", "202 p50, ms", "202 p99, ms"])
    for name, figure in found.items():
        times = [f"{percentile(latencies[name], share):,.1f}" for share in (0.5, 0.99)]
        table.rows.append([name, figure.text(), f"{found[_OURS].over(figure):,.1f}", *times])
    for peer in PEERS:
        section.figures[f"peers_{peer.name}_ratio"] = found[_OURS].ratio(found[peer.title])
    promises = Table(["system", "what its 202 is worth"])
    promises.rows.append([_OURS, "Fsynced before the answer; survives the death of any process, applied exactly once."])
    promises.rows += [[peer.title, peer.durability] for peer in PEERS]
    section.tables = [table, promises]
    section.charts = [Chart("peers", "items/s", [[Bar(name, figure)] for name, figure in found.items()])]
    return section


def _run_ours(effort: Effort, latencies: dict[str, list[float]]) -> float:
    with running_engines() as engines, installation(engines, connectors=CONNECTORS) as ours, whole(ours):
        return _applied_rate(ours, effort, latencies)


def _run_peer(peer: Peer, effort: Effort, latencies: dict[str, list[float]]) -> float:
    with running_peer(peer) as system:
        return _applied_rate(system, effort, latencies)


def _applied_rate(system: System, effort: Effort, latencies: dict[str, list[float]]) -> float:
    warm = effort.seconds(_WARM_SECONDS)
    course = drive(system, job_for(system, warm + effort.seconds(_SECONDS)), balanced=True)
    if course.refused():
        raise BenchmarkError(f"{system.name} answered {course.outcome.statuses}.")
    latencies.setdefault(system.name, []).extend(course.outcome.latencies)
    return course.applied_rate(warm, course.points[-1][0])


@dataclass
class RunningPeer:
    """A peer, for the driver."""

    peer: Peer
    name: str
    port: int
    credentials: list[tuple[int, str]]
    connection: psycopg.Connection[tuple[object, ...]]

    def applied_items(self) -> int:
        """Count the items of all applied submissions."""
        return self.peer.applied_items(self.connection)

    def applied_requests(self, asked: list[tuple[int, str]]) -> set[str]:
        """Return the ids of those requests that were applied."""
        names = [request for _, request in asked]
        found = self.connection.execute("SELECT id FROM peers.requests WHERE id = ANY(%s)", [names]).fetchall()
        return {str(row[0]) for row in found}


@contextlib.contextmanager
def running_peer(peer: Peer) -> Iterator[RunningPeer]:
    """Run a peer on engines of its own; it has answered a 202."""
    port = free_port()
    with running_engines() as engines, contextlib.ExitStack() as stack:
        peer.create_schema(engines.database_url)
        credentials = peer.credentials(engines.database_url, CONNECTORS)
        started = [
            stack.enter_context(running(f"{peer.name}-{one.name}", one.argv, one.environ, cwd=one.cwd))
            for one in peer.processes(engines.database_url, engines.redis_url, port, WORKERS)
        ]
        connection = stack.enter_context(psycopg.connect(engines.database_url, autocommit=True))
        system = RunningPeer(peer, peer.title, port, credentials, connection)
        wait_until_answers(_first_request(system), started[0], status=202)
        _wait_until_applied(system)
        yield system


def _first_request(system: RunningPeer) -> urllib.request.Request:
    body = json.dumps({"stream": "warm", "items": [bodies.item(0)]}).encode()
    headers = {"Authorization": f"Bearer {system.credentials[0][1]}", "Content-Type": "application/json"}
    return urllib.request.Request(f"http://127.0.0.1:{system.port}/api/ingest", body, headers)


def _wait_until_applied(system: RunningPeer, seconds: float = 60) -> None:
    """Wait until the workers run: they have applied what was sent."""
    deadline = time.monotonic() + seconds
    while not system.applied_items():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{system.name} applied nothing in {seconds:g} s.")
        time.sleep(0.05)  # Postgres does not report when a row is there

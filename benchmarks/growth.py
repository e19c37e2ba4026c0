"""growth: how speed and memory change with rows, connectors, workers and API processes.

Each kind of growth has its installations side by side on the same engines, measured in turn. Rows are filled in by SQL:
how they came there makes no difference to what is measured afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from benchmarks import bodies, wrk
from benchmarks.accept import API_CORE, OTHER_CORE
from benchmarks.charts import Bar, Chart
from benchmarks.drain import drain, fill_lanes
from benchmarks.end_to_end import CONNECTORS
from benchmarks.load import Job
from benchmarks.measure import Effort, Figure, Say, in_turn
from benchmarks.processes import memory_mb, memory_of_all_mb, tree
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines
from operations.local.engines import Engines

_ROWS: Final = (100_000, 1_000_000, 10_000_000)
_CONNECTORS: Final = (10, 1_000, 10_000)
_WORKERS: Final = (1, 2, 4)
_PROCESSES: Final = (1, 2)
_DRAINED_ITEMS: Final = 200_000
#: Number of items if batches are small, or several workers run.
_FEWER_ITEMS: Final = 100_000
_SMALL_BATCH: Final = 20
_ACCEPT_SECONDS: Final = 2
_ACCEPT_ITEMS: Final = 10
_STORY: Final = f"""Drain: one worker (or as many as the row says), {_DRAINED_ITEMS:,} items that wait
({_FEWER_ITEMS:,} in the second and third table). Accept: wrk with 64 connections, {_ACCEPT_ITEMS} items a request, one
API process on one core and everything else on the other; nothing is pinned where there are several. The rows were
there before (scaled down: by a statement of SQL, not through the API); the batches that are drained lie in places
drawn at random from all of them. With many connectors, each sends batches of {_SMALL_BATCH}. What several workers
drain comes from {CONNECTORS} connectors. Memory is what is resident: the highest of the API's processes together and
of the largest worker, of Valkey, and of PostgreSQL's processes together with what they share counted once; both
engines serve all rows of a table."""
_FILL: Final = """
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT {connector}, 'agents', 'agent-' || lpad(number::text, 8, '0'), 'Alice Smith',
    '{{"state": "Ready", "queue": "Sales", "calls": 10, "talkSeconds": 1000000, "rate": 0.75, "skill": "german",
       "team": "Blue", "away": false}}',
    '{{"site": "Londonderry"}}', 0, now()
FROM generate_series(0, {last}) AS number
"""


def missing() -> list[str]:
    """Return what must be installed by hand."""
    return [found] if (found := wrk.missing()) else []


@dataclass
class _Point:
    """The measurements at one size."""

    ours: Installation
    memory: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, megabytes: float) -> None:
        """Record a reading of memory."""
        self.memory.setdefault(name, []).append(megabytes)

    def note_engines(self) -> None:
        """Record the current memory of the engines."""
        self.note("Valkey", memory_mb(self.ours.engines.valkey.pid))
        self.note("PostgreSQL", memory_of_all_mb(self.ours.engines.postgres.pid))

    def cells(self) -> list[str]:
        """Return the highest reading of each process."""
        return [
            f"{max(self.memory[name]):,.0f}" if name in self.memory else ""
            for name in ("API", "worker", "Valkey", "PostgreSQL")
        ]


_MEMORY_HEAD: Final = ["API, MB", "worker, MB", "Valkey, MB", "PostgreSQL, MB"]


def measure(effort: Effort, say: Say) -> Section:
    """Measure a table and a chart for each kind of growth."""
    section = Section("growth: rows, connectors, workers, API processes", _STORY)
    for part in (_rows, _connectors, _processes):
        with running_engines() as engines:
            part(section, engines, effort, say)
    return section


def _rows(section: Section, engines: Engines, effort: Effort, say: Say) -> None:
    points = {}
    with contextlib.ExitStack() as stack:
        for number, full in enumerate(_ROWS):
            rows = effort.count(full)
            ours = stack.enter_context(installation(engines, number=number))
            say(f"inserts {rows:,} rows")
            _fill_in(ours, rows)
            points[f"{rows:,} rows"] = (_Point(ours), _drain_job(effort, rows))
        drained, accepted = _measure_points(points, effort, say)
    smallest, *_, largest = drained
    section.figures["growth_rows_ratio"] = drained[largest].ratio(drained[smallest])
    _show(section, "rows in the table", {name: point for name, (point, _) in points.items()}, drained, accepted)


def _fill_in(ours: Installation, rows: int) -> None:
    """Insert rows and build the key once over all of them, which is many times faster than row by row."""
    ours.connection.execute("ALTER TABLE items DROP CONSTRAINT items_pkey")
    ours.connection.execute(_FILL.format(connector=ours.credentials[0][0], last=rows - 1).encode())
    ours.connection.execute("ALTER TABLE items ADD PRIMARY KEY (connector_id, stream, id)")
    ours.connection.execute("VACUUM (ANALYZE) items")
    ours.connection.execute("CHECKPOINT")


def _drain_job(effort: Effort, ids: int, items: int = _DRAINED_ITEMS) -> Job:
    batches = effort.count(items) // bodies.BATCH
    return Job(0, [], requests=batches, ids=ids, batches=batches)


def _connectors(section: Section, engines: Engines, effort: Effort, say: Say) -> None:
    points = {}
    with contextlib.ExitStack() as stack:
        for number, full in enumerate(_CONNECTORS):
            connectors = full if full < 100 else effort.count(full)  # noqa: PLR2004 - few enough
            say(f"creates {connectors:,} connectors")
            ours = stack.enter_context(installation(engines, number=number, connectors=connectors))
            requests = effort.count(_FEWER_ITEMS) // _SMALL_BATCH
            job = Job(0, [], requests=requests, ids=_DRAINED_ITEMS // 10, batch=_SMALL_BATCH, batches=requests)
            points[f"{connectors:,} connectors"] = (_Point(ours), job)
        drained, accepted = _measure_points(points, effort, say)
    _show(section, "connectors", {name: point for name, (point, _) in points.items()}, drained, accepted)


def _measure_points(
    points: dict[str, tuple[_Point, Job]], effort: Effort, say: Say
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Measure drain and accept at each point, alternately."""
    drains = {name: _drain_run(point, job) for name, (point, job) in points.items()}
    drained = in_turn(drains, effort.rounds, lambda line: say(f"drain, {line}"), "items/s")
    accepts = {name: _accept_run(point, effort) for name, (point, _) in points.items()}
    accepted = in_turn(accepts, effort.rounds, lambda line: say(f"accept, {line}"), "requests/s")
    return drained, accepted


def _drain_run(point: _Point, job: Job, workers: int = 1) -> Callable[[], float]:
    stamp = bodies.FIRST_STAMP

    def run() -> float:
        nonlocal stamp
        stamp += 10_000  # more than a run's requests: every item changes
        fill_lanes(point.ours, msgspec.structs.replace(job, first_stamp=stamp))
        drained = drain(point.ours, workers)
        point.note("worker", max(drained.worker_mb))
        point.note_engines()
        return drained.items_a_second

    return run


def _accept_run(point: _Point, effort: Effort, processes: int = 1) -> Callable[[], float]:
    ours = point.ours
    body = bodies.fill(bodies.cut(bodies.batch(0, _ACCEPT_ITEMS)), bodies.FIRST_STAMP)
    core, other = (API_CORE, OTHER_CORE) if processes == 1 else (None, None)

    def run() -> float:
        ours.forget()
        with ours.api(core=core, WEB_CONCURRENCY=str(processes)) as api, ours.ready_workers(core=other):
            rate = wrk.requests_a_second(
                f"{ours.url}/api/ingest",
                body,
                [text for _, text in ours.credentials],
                seconds=effort.seconds(_ACCEPT_SECONDS),
                core=other,
            )
            point.note("API", sum(memory_mb(pid, "VmHWM") for pid in tree(api.pid)))
        ours.forget()
        return rate

    return run


def _processes(section: Section, engines: Engines, effort: Effort, say: Say) -> None:
    with installation(engines, connectors=CONNECTORS) as ours:
        drains = {_count(number, "worker"): (_Point(ours), number) for number in _WORKERS}
        accepts = {_count(number, "API process"): (_Point(ours), number) for number in _PROCESSES}
        job = _drain_job(effort, CONNECTORS * 10_000, _FEWER_ITEMS)
        runs = {name: _drain_run(point, job, workers) for name, (point, workers) in drains.items()}
        drained = in_turn(runs, effort.rounds, lambda line: say(f"drain, {line}"), "items/s")
        runs = {name: _accept_run(point, effort, number) for name, (point, number) in accepts.items()}
        accepted = in_turn(runs, effort.rounds, lambda line: say(f"accept, {line}"), "requests/s")
    points = {name: point for name, (point, _) in (drains | accepts).items()}
    _show(section, "processes", points, drained, accepted)


def _show(
    section: Section,
    what: str,
    points: dict[str, _Point],
    drained: dict[str, Figure],
    accepted: dict[str, Figure],
) -> None:
    """Add a table of all figures, and charts of the rates."""
    table = Table([what, "drain, items/s", "accept, requests/s", *_MEMORY_HEAD])
    for name, point in points.items():
        cells = [found[name].text() if name in found else "" for found in (drained, accepted)]
        table.rows.append([name, *cells, *point.cells()])
    section.tables.append(table)
    section.charts.append(Chart(f"growth: {what}, drain", "items/s", _bars(drained)))
    section.charts.append(Chart(f"growth: {what}, accept", "requests/s", _bars(accepted)))


def _bars(found: dict[str, Figure]) -> list[list[Bar]]:
    return [[Bar(name, figure) for name, figure in found.items()]]


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"

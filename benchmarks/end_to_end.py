"""end to end: the rate at which one machine accepts and applies items at the same time, indefinitely.

The highest rate at which the backlog does not grow is searched in steps at a fixed rate, beginning with what a balanced
load reaches; then that rate is sustained for a minute. If the backlog grows after all, the rate is lowered by a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks import bodies
from benchmarks.charts import Bar, Chart
from benchmarks.driver import Course, System, drive
from benchmarks.load import Job
from benchmarks.measure import BenchmarkError, Effort, Figure, Say, percentile
from benchmarks.processes import cpu_seconds
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines

CONNECTORS: Final = 20
CONNECTIONS: Final = 40
WORKERS: Final = 2
#: Ids of each connector.
IDS: Final = 10_000
_SAMPLE_SECONDS: Final = 0.05
_BALANCED_SECONDS: Final = 10
_STEP_SECONDS: Final = 8
_SUSTAINED_SECONDS: Final = 60
_STEPS: Final = 4
_ATTEMPTS: Final = 3
#: A step holds if the backlog grows by less than this part of the rate, which is what a fit over seconds can tell.
_GROWTH: Final = 0.03
_KEPT_UP: Final = 0.97
_STORY: Final = f"""{CONNECTORS} connectors with {IDS:,} ids each, batches of {bodies.BATCH} in which every item has
changed, {CONNECTIONS} connections; one API process, {WORKERS} workers, the sweeper, both engines and the load
generator on this machine. The rate was looked for in {_STEPS} steps of {_STEP_SECONDS} s and then sustained for
{_SUSTAINED_SECONDS} s, of which the table shows the thirds. 202-to-applied is from the 202 until the receipt can be
read in Postgres, sampled every {_SAMPLE_SECONDS * 1000:.0f} ms."""


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Search the rate, sustain it, and measure what it costs."""
    with running_engines() as engines, installation(engines, connectors=CONNECTORS) as ours, whole(ours):
        rate = _highest_rate(ours, effort, say)
        course, costs, rate = _sustain(ours, rate, effort, say)
    section = Section("end to end: accepted and applied at the same time", _STORY)
    section.tables = [_throughput(course, rate, section), _cpu(course, costs), _bytes(course, costs)]
    names = {"202_p50_ms": "202, p50", "202_p99_ms": "202, p99"}
    names |= {"applied_p50_ms": "202 to applied, p50", "applied_p99_ms": "202 to applied, p99"}
    bars = [Bar(label, section.figures[f"end_to_end_{name}"]) for name, label in names.items()]
    title = f"end to end at {section.figures['end_to_end_rate'].median:,.0f} items/s"
    section.charts = [Chart(f"{title}: latencies", "ms", [bars[:2], bars[2:]], ",.1f")]
    return section


@contextlib.contextmanager
def whole(ours: Installation, *, workers: int = WORKERS, processes: int = 1) -> Iterator[None]:
    """Run the API and the workers of an installation."""
    with ours.api(WEB_CONCURRENCY=str(processes)), ours.ready_workers(workers):
        yield


def job_for(system: System, seconds: float, *, rate: float | None = None, sample_every: float | None = None) -> Job:
    """Return the same load for every system: at a fixed rate, or balanced by the driver."""
    return Job(
        system.port,
        system.credentials,
        CONNECTIONS,
        rate=rate,
        seconds=seconds,
        gated=rate is None,
        ids=IDS,
        sample_every=sample_every,
    )


def _highest_rate(ours: Installation, effort: Effort, say: Say) -> float:
    """Return the highest rate in requests per second."""
    seconds = effort.seconds(_BALANCED_SECONDS)
    reached = drive(ours, job_for(ours, seconds), balanced=True).applied_rate(seconds * 0.3, seconds) / bodies.BATCH
    if not reached:
        raise BenchmarkError(f"Nothing was applied within {seconds:g} s: the machine is too busy.")
    say(f"a balanced load reaches {reached * bodies.BATCH:,.0f} items/s")
    low, high = reached * 0.6, reached * 1.15
    for _ in range(1 if effort.quick else _STEPS):
        ours.wait_until_drained()
        rate = (low + high) / 2
        course = drive(ours, job_for(ours, effort.seconds(_STEP_SECONDS), rate=rate))
        good = holds(course, rate * bodies.BATCH)
        low, high = (rate, high) if good else (low, rate)
        result = "holds" if good else "too much"
        say(f"{rate * bodies.BATCH:,.0f} items/s: {result}, backlog {course.backlog_growth():+,.0f} items/s")
    return low


def holds(course: Course, rate: float) -> bool:
    """Return whether a system kept up with `rate` items per second: all accepted, and no backlog that grew."""
    begin = course.points[-1][0] * 0.3
    kept_up = course.accepted_rate() >= rate * _KEPT_UP and not course.refused()
    return kept_up and course.backlog_growth(begin) <= rate * _GROWTH


@dataclass
class _Costs:
    """Resources that the sustained run used."""

    cpu: dict[str, float]
    wal: int
    aof: int = 0


class _Appended:
    """Bytes that Valkey appends to its file, which a rewrite shrinks: the sum of its growth between looks."""

    def __init__(self, ours: Installation) -> None:
        self._ours = ours
        self._size = ours.aof_bytes()
        self.bytes = 0

    def look(self) -> None:
        """Add the growth since the last look."""
        size = self._ours.aof_bytes()
        self.bytes += max(0, size - self._size)
        self._size = size


def _sustain(ours: Installation, rate: float, effort: Effort, say: Say) -> tuple[Course, _Costs, float]:
    """Sustain the rate, lowered by a step each time that the backlog grows."""
    for _ in range(_ATTEMPTS):
        ours.wait_until_drained()
        begun = _used(ours)
        job = job_for(ours, effort.seconds(_SUSTAINED_SECONDS), rate=rate, sample_every=_SAMPLE_SECONDS)
        appended = _Appended(ours)
        course = drive(ours, job, at_each_look=appended.look)
        ours.wait_until_drained()
        appended.look()
        ended = _used(ours)
        say(f"{rate * bodies.BATCH:,.0f} items/s sustained, backlog {course.backlog_growth():+,.0f} items/s")
        if holds(course, rate * bodies.BATCH) or effort.quick:
            cpu = {name: ended.cpu[name] - begun.cpu[name] for name in begun.cpu}
            cpu["load generator"] = course.outcome.cpu_seconds
            return course, _Costs(cpu, ended.wal - begun.wal, appended.bytes), rate
        rate *= 0.92
    raise BenchmarkError("No rate was found at which the backlog does not grow: the machine is too busy.")


def _used(ours: Installation) -> _Costs:
    """Return the current counters."""
    pids = {name: process.pid for name, process in ours.processes.items()}
    pids |= {"PostgreSQL": ours.engines.postgres.pid, "Valkey": ours.engines.valkey.pid}
    return _Costs({name: cpu_seconds(pid) for name, pid in pids.items()}, ours.wal_bytes())


def _throughput(course: Course, rate: float, section: Section) -> Table:
    """Return rates and latencies of each third of the run."""
    length = course.points[-1][0]
    thirds = [(length * part / 3, length * (part + 1) / 3) for part in range(3)]
    applied = Figure.of(course.applied_rate(*third) for third in thirds)
    table = Table(["sustained", "median of thirds (lowest to highest)"])
    table.rows += [["items applied/s", applied.text()], ["requests/s offered", f"{rate:,.1f}"]]
    section.figures["end_to_end_rate"] = applied
    latencies = _in_thirds([(number, value) for number, value in enumerate(course.outcome.latencies)])
    after = _in_thirds(course.applied_after)
    for name, label, parts in (("202", "202", latencies), ("applied", "202 to applied", after)):
        for share in (0.5, 0.99):
            figure = Figure.of(percentile(part, share) for part in parts)
            section.figures[f"end_to_end_{name}_p{share * 100:.0f}_ms"] = figure
            table.rows.append([f"{label}, p{share * 100:.0f}, ms", figure.text(",.1f")])
    table.rows.append(["samples of 202 to applied", f"{len(course.applied_after):,}"])
    return table


def _in_thirds(values: list[tuple[float, float]]) -> list[list[float]]:
    """Return the second member of each pair, by time, in three parts of equal number."""
    ordered = [value for _, value in sorted(values)]
    size = max(1, -(-len(ordered) // 3))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)] or [[]]


def _cpu(course: Course, costs: _Costs) -> Table:
    millions = _items(course) / 1e6
    rows = [[name, f"{seconds / millions:,.2f}"] for name, seconds in costs.cpu.items()]
    rows.append(["all", f"{sum(costs.cpu.values()) / millions:,.2f}"])
    return Table(["process", "CPU seconds a million items"], rows)


def _bytes(course: Course, costs: _Costs) -> Table:
    size = len(bodies.batch(0)) / bodies.BATCH
    rows = [["body", f"{size:,.0f}"]]
    rows += [["WAL", f"{costs.wal / _items(course):,.0f}"], ["AOF", f"{costs.aof / _items(course):,.0f}"]]
    return Table(["written", "bytes an item"], rows)


def _items(course: Course) -> int:
    return course.outcome.statuses.get(202, 0) * bodies.BATCH

"""Drives a system with the load generator, and measures when the accepted items are applied.

The load has a fixed rate, or is `balanced`: the generator may be ahead of what was applied by about two seconds' work,
so that accepting and applying share the machine as at the highest rate at which the backlog does not grow. Postgres is
polled for sampled requests until they are applied.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from benchmarks.load import Job, Outcome, Told
from benchmarks.measure import BenchmarkError, slope
from benchmarks.processes import ROOT, on_core, python

#: Interval in seconds at which Postgres is polled for what was applied; shorter if the load waits for it.
_TICK_SECONDS: Final = 0.5
_BALANCED_TICK_SECONDS: Final = 0.1
#: Lead of a balanced load: for a slow system in items, enough for one that merges its backlog to find something to
#: merge; for a fast one in seconds of its work.
SMALLEST_LEAD: Final = 20_000
LEAD_SECONDS: Final = 2
_END_SECONDS: Final = 90


class System(Protocol):
    """A system under load: the product or a peer."""

    name: str
    port: int
    credentials: list[tuple[int, str]]

    def applied_items(self) -> int:
        """Count the items of all applied submissions."""

    def applied_requests(self, asked: list[tuple[int, str]]) -> set[str]:
        """Return the ids of those requests, given as connector and request id, that were applied."""


@dataclass
class Course:
    """The measurements of a load."""

    #: Seconds since the start, items accepted, items applied.
    points: list[tuple[float, int, int]] = field(default_factory=list)
    #: When each sampled request was accepted, and milliseconds from its 202 until it was found applied.
    applied_after: list[tuple[float, float]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def applied_rate(self, begin: float, end: float) -> float:
        """Return the items per second that were applied between two moments."""
        part = [point for point in self.points if begin <= point[0] <= end]
        if len(part) < 2:  # noqa: PLR2004 - a rate needs two points
            return 0.0
        return (part[-1][2] - part[0][2]) / (part[-1][0] - part[0][0])

    def accepted_rate(self) -> float:
        """Return the items per second that were accepted, from the first point to the last."""
        first, last = self.points[0], self.points[-1]
        return (last[1] - first[1]) / max(last[0] - first[0], 1e-9)

    def backlog_growth(self, begin: float = 0.0) -> float:
        """Return the growth of the backlog in items per second."""
        return slope([(moment, accepted - applied) for moment, accepted, applied in self.points if moment >= begin])

    def refused(self) -> int:
        """Count the answers other than 202."""
        return sum(count for status, count in self.outcome.statuses.items() if status != 202)  # noqa: PLR2004 - accepted


class Load:
    """A running load generator."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.accepted = 0
        self.samples: list[tuple[int, str, float, float]] = []
        self.outcome: Outcome | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        decoder = msgspec.json.Decoder(Told)
        for line in self._process.stdout or ():
            told = decoder.decode(line)
            if told.sample:
                self.samples.append(told.sample)
            if told.accepted is not None:
                self.accepted = told.accepted
            self.outcome = told.outcome or self.outcome

    def allow(self, items: int) -> None:
        """Allow the generator to send `items` items in all."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"%d\n" % items)
                self._process.stdin.flush()

    def runs(self) -> bool:
        """Return whether the generator runs. Raises BenchmarkError if it failed."""
        if self.outcome:
            return False
        if self._process.poll() is not None:
            self._reader.join()
            if self.outcome is None:
                raise BenchmarkError(f"The load generator failed with {self._process.returncode}: see above.")
        return self.outcome is None


@contextlib.contextmanager
def load(job: Job, *, core: int | None = None) -> Iterator[Load]:
    """Run a load generator within the block."""
    with tempfile.NamedTemporaryFile(prefix="bench-job-", suffix=".json") as file, on_core(core):
        file.write(msgspec.json.encode(job))
        file.flush()
        command = python("benchmarks.load", file.name)
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                yield Load(process)
            finally:
                process.kill()


def send_all(system: System, job: Job, *, core: int | None = None) -> Outcome:
    """Send the requests of a job, all of which must be accepted, without measuring."""
    with load(job, core=core) as generator:
        while generator.runs():
            time.sleep(0.01)  # the generator reports when it is done
        outcome = generator.outcome or Outcome()
    if set(outcome.statuses) != {202}:
        raise BenchmarkError(f"{system.name} answered {outcome.statuses}; every request should be accepted.")
    return outcome


def drive(
    system: System,
    job: Job,
    *,
    balanced: bool = False,
    poll_ms: float = 10,
    at_each_look: Callable[[], None] = lambda: None,
) -> Course:
    """Run a job to its end and measure; `at_each_look` may measure more."""
    watch = _Watch(system, balanced=balanced, at_each_look=at_each_look)
    with load(job) as generator:
        deadline = time.monotonic() + (job.seconds or 0) + _END_SECONDS
        while generator.runs():
            watch.tick(generator)
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{system.name} did not answer all requests in time.")
            time.sleep(poll_ms / 1000)  # Postgres does not report when a row is there
        watch.tick(generator, last=True)
        _look_for_the_rest(watch, generator, poll_ms)
        watch.course.outcome = generator.outcome or Outcome()
    if not watch.course.points:
        raise BenchmarkError(f"{system.name} accepted nothing: {watch.course.outcome.statuses}.")
    return watch.course


def _look_for_the_rest(watch: _Watch, generator: Load, poll_ms: float) -> None:
    """Wait for the samples that are not applied when the load ends: they have the longest latencies."""
    deadline = time.monotonic() + _END_SECONDS / 3
    while watch.look_for_samples(generator) and time.monotonic() < deadline:
        time.sleep(poll_ms / 1000)  # Postgres does not report when a row is there


class _Watch:
    """Measures while a load runs."""

    def __init__(self, system: System, *, balanced: bool, at_each_look: Callable[[], None]) -> None:
        self._at_each_look = at_each_look
        self._system = system
        self._balanced = balanced
        self._started: float | None = None
        self._due = 0.0
        self._before = system.applied_items()
        self._seen = 0
        self._asked: dict[str, tuple[int, float]] = {}
        self.course = Course()

    def tick(self, generator: Load, *, last: bool = False) -> None:
        """Look for the samples, and when due for what was applied."""
        self.look_for_samples(generator)
        now = time.monotonic()
        if now < self._due and not last:
            return
        self._due = now + (_BALANCED_TICK_SECONDS if self._balanced else _TICK_SECONDS)
        self._at_each_look()
        accepted, applied = generator.accepted, self._system.applied_items() - self._before
        if self._balanced:
            generator.allow(applied + self._lead())
        if accepted and self._started is None:
            self._started = now
        if self._started is not None:
            self.course.points.append((now - self._started, accepted, applied))

    def _lead(self) -> int:
        """Return the lead in items, from the rate of the last seconds."""
        now = self.course.points[-1][0] if self.course.points else 0.0
        return max(SMALLEST_LEAD, int(self.course.applied_rate(now - LEAD_SECONDS, now) * LEAD_SECONDS))

    def look_for_samples(self, generator: Load) -> int:
        """Record which samples are applied; return how many are not."""
        fresh = generator.samples[self._seen :]
        self._seen += len(fresh)
        self._asked |= {request: (connector, accepted) for connector, request, _, accepted in fresh}
        if self._asked:
            found = self._system.applied_requests([(asked[0], name) for name, asked in self._asked.items()])
            now = time.monotonic()
            for request in found:
                accepted = self._asked.pop(request)[1]
                self.course.applied_after.append((accepted, max(0.0, now - accepted) * 1000))
        return len(self._asked)

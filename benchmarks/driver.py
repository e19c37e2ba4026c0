"""Drives a system with the load generator and watches what becomes of what was accepted.

Two ways to load: at a fixed rate, or `balanced`: the generator may be ahead of what was applied by about two seconds'
work, no more, so that accepting and applying share the machine as they would at the highest rate at which the backlog
does not grow. Sampled requests are looked for in Postgres until they are there.
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

#: How often Postgres is asked what was applied; more often where the load waits for that.
_TICK_SECONDS: Final = 0.5
_BALANCED_TICK_SECONDS: Final = 0.1
#: How far a balanced load is ahead: of a slow system so many items, which is enough for one that merges what waits to
#: find something to merge; of a fast one so many seconds' work.
SMALLEST_LEAD: Final = 20_000
LEAD_SECONDS: Final = 2
_END_SECONDS: Final = 90


class System(Protocol):
    """What is loaded: ours or a peer."""

    name: str
    port: int
    credentials: list[tuple[int, str]]

    def applied_items(self) -> int:
        """Items of all submissions that were applied."""

    def applied_requests(self, asked: list[tuple[int, str]]) -> set[str]:
        """Which of some requests, as connector and request id, were applied."""


@dataclass
class Course:
    """What was seen while a load ran."""

    #: Seconds since the start, items accepted, items applied.
    points: list[tuple[float, int, int]] = field(default_factory=list)
    #: When each sampled request was accepted, and milliseconds from its 202 until it was found applied.
    applied_after: list[tuple[float, float]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def applied_rate(self, begin: float, end: float) -> float:
        """Items a second that were applied between two moments."""
        part = [point for point in self.points if begin <= point[0] <= end]
        if len(part) < 2:  # noqa: PLR2004 - a rate needs two points
            return 0.0
        return (part[-1][2] - part[0][2]) / (part[-1][0] - part[0][0])

    def accepted_rate(self) -> float:
        """Items a second that were accepted, from the first point to the last."""
        first, last = self.points[0], self.points[-1]
        return (last[1] - first[1]) / max(last[0] - first[0], 1e-9)

    def backlog_growth(self, begin: float = 0.0) -> float:
        """Items a second by which what was accepted and not applied grew."""
        return slope([(moment, accepted - applied) for moment, accepted, applied in self.points if moment >= begin])

    def refused(self) -> int:
        """Answers that were no 202."""
        return sum(count for status, count in self.outcome.statuses.items() if status != 202)  # noqa: PLR2004 - accepted


class Load:
    """A generator at work."""

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
        """Lets it send so many items in all."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"%d\n" % items)
                self._process.stdin.flush()

    def runs(self) -> bool:
        """Whether it is at work. Raises BenchmarkError if it failed."""
        if self.outcome:
            return False
        if self._process.poll() is not None:
            self._reader.join()
            if self.outcome is None:
                raise BenchmarkError(f"The load generator failed with {self._process.returncode}: see above.")
        return self.outcome is None


@contextlib.contextmanager
def load(job: Job, *, core: int | None = None) -> Iterator[Load]:
    """A generator for the block."""
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
    """Sends a job's requests and watches nothing; every one of them must be accepted."""
    with load(job, core=core) as generator:
        while generator.runs():
            time.sleep(0.01)  # it tells when it is done
        outcome = generator.outcome or Outcome()
    if set(outcome.statuses) != {202}:
        raise BenchmarkError(f"{system.name} answered {outcome.statuses} where every request should be accepted.")
    return outcome


def drive(
    system: System,
    job: Job,
    *,
    balanced: bool = False,
    poll_ms: float = 10,
    at_each_look: Callable[[], None] = lambda: None,
) -> Course:
    """Runs a job to its end and watches; `at_each_look` may watch more."""
    watch = _Watch(system, balanced=balanced, at_each_look=at_each_look)
    with load(job) as generator:
        deadline = time.monotonic() + (job.seconds or 0) + _END_SECONDS
        while generator.runs():
            watch.tick(generator)
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{system.name} did not answer all requests in time.")
            time.sleep(poll_ms / 1000)  # Postgres tells nobody when a row is there
        watch.tick(generator, last=True)
        _look_for_the_rest(watch, generator, poll_ms)
        watch.course.outcome = generator.outcome or Outcome()
    if not watch.course.points:
        raise BenchmarkError(f"{system.name} accepted nothing: {watch.course.outcome.statuses}.")
    return watch.course


def _look_for_the_rest(watch: _Watch, generator: Load, poll_ms: float) -> None:
    """Samples that are not applied yet when the load ends have the longest latencies: they must not be left out."""
    deadline = time.monotonic() + _END_SECONDS / 3
    while watch.look_for_samples(generator) and time.monotonic() < deadline:
        time.sleep(poll_ms / 1000)  # likewise


class _Watch:
    """What is looked at while a load runs."""

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
        """A look at the samples, and from time to time at what was applied."""
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
        """How far ahead, as the last seconds went."""
        now = self.course.points[-1][0] if self.course.points else 0.0
        return max(SMALLEST_LEAD, int(self.course.applied_rate(now - LEAD_SECONDS, now) * LEAD_SECONDS))

    def look_for_samples(self, generator: Load) -> int:
        """Notes which samples are applied by now; how many are not."""
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

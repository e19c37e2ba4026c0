"""latency: of an idle system with one request per second, to the 202 and from there until it is applied."""

from __future__ import annotations

from typing import Final

import msgspec

from benchmarks.charts import Bar, Chart
from benchmarks.driver import drive
from benchmarks.end_to_end import whole
from benchmarks.load import Job
from benchmarks.measure import Effort, Figure, Say, percentile
from benchmarks.report import Section, Table
from benchmarks.stack import installation, running_engines

_SECONDS: Final = 25
#: Interval in milliseconds at which Postgres is polled for a sample: a latency can be that much too long.
_POLL_MS: Final = 1
#: Duration in seconds of a load before the measurement, which opens connections and fills caches.
_WARM_SECONDS: Final = 4
_STORY: Final = f"""One API process, two workers, the sweeper; one request of one item a second, {_SECONDS} s a round.
Applied is when the receipt can be read in Postgres, which is asked every {_POLL_MS} ms."""


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure percentiles of both latencies in each round."""
    found: dict[str, list[float]] = {}
    with running_engines() as engines, installation(engines) as ours, whole(ours):
        job = Job(ours.port, ours.credentials, 1, rate=1, seconds=_WARM_SECONDS, batch=1, sample_every=0.01)
        drive(ours, job, poll_ms=_POLL_MS)
        for number in range(1, effort.rounds + 1):
            course = drive(ours, msgspec.structs.replace(job, seconds=effort.seconds(_SECONDS)), poll_ms=_POLL_MS)
            after = [milliseconds for _, milliseconds in course.applied_after]
            for name, values in (("202", course.outcome.latencies), ("applied", after)):
                for share in (0.5, 0.99):
                    found.setdefault(f"latency_{name}_p{share * 100:.0f}_ms", []).append(percentile(values, share))
            say(f"round {number} of {effort.rounds}: applied p50 {found['latency_applied_p50_ms'][-1]:.1f} ms")
    return _section({name: Figure.of(values) for name, values in found.items()})


def _section(figures: dict[str, Figure]) -> Section:
    section = Section("latency: an idle system, one request a second", _STORY, figures=figures)
    labels = {"202_p50": "202, p50", "202_p99": "202, p99"}
    labels |= {"applied_p50": "202 to applied, p50", "applied_p99": "202 to applied, p99"}
    bars = [Bar(label, figures[f"latency_{name}_ms"]) for name, label in labels.items()]
    section.tables = [Table(["", "ms"], [[bar.label, bar.figure.text(".2f")] for bar in bars])]
    section.charts = [Chart("latency of an idle system", "ms", [bars[:2], bars[2:]], ".2f")]
    return section

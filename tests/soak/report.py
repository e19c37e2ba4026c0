"""The report of a soak: a table, and the sentences that fail the run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from tests.soak.findings import Balance, Findings
from tests.soak.pulse import Pulse


@dataclass
class Row:
    """All occurrences of a fault."""

    times: int = 0
    #: Occurrences whose effect was seen.
    effective: int = 0
    seen: str = ""
    #: Seconds of each: its duration, and the time after it until everything accepted before its end was applied.
    lasted: list[float] = field(default_factory=list)
    recovered: list[float] = field(default_factory=list)


@dataclass
class Report:
    """The result of a run."""

    title: str
    rows: dict[str, Row] = field(default_factory=dict)
    tally: dict[str, int] = field(default_factory=dict)
    balances: dict[str, Balance] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    moved_again: list[tuple[str, float]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    owed: dict[str, int] = field(default_factory=dict)
    #: Seconds of 202s on a cluster: in quiet times, and on lanes of other nodes than the one that a fault hit.
    quiet: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    #: Sentences, each of which fails the run.
    failures: list[str] = field(default_factory=list)

    def take(self, findings: Findings) -> None:
        """Add the findings of a verification."""
        self.counts |= findings.counts
        self.failures += findings.examples

    def take_pulses(self, pulses: Sequence[Pulse]) -> None:
        """Add what was measured beside faults of nodes."""
        self.quiet = [seconds for pulse in pulses for seconds in pulse.quiet]
        self.beside = [seconds for pulse in pulses for seconds in pulse.beside]
        if pulses:
            self.counts["refused beside a node that fails"] = sum(pulse.refused_beside for pulse in pulses)

    def table(self) -> Table:
        """Return the report as a table for people."""
        table = Table(title=self.title, title_justify="left")
        table.add_column("what")
        table.add_column("count", justify="right")
        table.add_column("seen")
        for name, count in self.owed.items():
            table.add_row(name, f"{count:,}", "")
        table.add_section()
        for name, count in sorted(self.tally.items()):
            table.add_row(f"answer: {name}", f"{count:,}", "")
        table.add_section()
        for name, balance in self.balances.items():
            parts = f"{balance.applied:,} applied + {balance.superseded:,} superseded + {balance.dead:,} dead"
            dropped = f" + {balance.dropped:,} dropped" if balance.dropped else ""
            table.add_row(f"{name}: accepted", f"{balance.accepted:,}",
                          f"= {parts}{dropped}; {balance.without_answer:,} accepted without an answer")  # fmt: skip
        table.add_section()
        for name, row in self.rows.items():
            table.add_row(f"fault: {name}", str(row.times), f"{_timing(row)}; {row.seen or 'no effect seen'}")
        table.add_section()
        for what, seconds in _by_name(self.moved_again).items():
            table.add_row(f"lane moves again: {what}", str(len(seconds)), f"after {_spread(seconds)}")
        for what, seconds in self._latencies().items():
            if len(seconds) > 1:
                middle, high = _percentiles(seconds)
                ratio = f", {high / _percentiles(self.quiet)[1]:.1f} times quiet" if seconds is self.beside else ""
                table.add_row(what, f"{len(seconds):,}", f"p50 {middle:.1f} ms, p99 {high:.1f} ms{ratio}")
        table.add_section()
        for name, count in self.counts.items():
            table.add_row(name, f"{count:,}", "" if count else "as required")
        return table

    def _latencies(self) -> dict[str, list[float]]:
        return {
            "202 to applied, undisturbed": self.latencies,
            "202 on a lane, undisturbed": self.quiet,
            "202 on a lane of another node than the one that fails": self.beside,
        }


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


def unexcused_answers(tally: dict[str, int]) -> list[str]:
    """Return answers that no fault excuses. A request in the moment of a rotation may get a 401."""
    good = ("accepted", "replayed", "no answer", "not connected", "401 ", "503 ", "dead letters")
    return [f"{count} answers: {what}" for what, count in tally.items() if not what.startswith(good)]


def not_exercised(report: Report, poisons: int) -> list[str]:
    """Return what every run has to contain, and this one did not."""
    wanted = {
        "accepted submissions": report.tally.get("accepted", 0),
        "repeats under an Idempotency-Key": report.tally.get("replayed", 0),
        "entries that can't be applied": poisons,
        "signed webhooks": report.owed["signed webhooks"],
        "faults": len(report.rows),
        "items read meanwhile": report.owed["items read meanwhile"],
        "superseded items": sum(balance.superseded for balance in report.balances.values()),
        # An operator may have dropped the only one.
        "dead letters": sum(balance.dead + balance.dropped for balance in report.balances.values()),
    }
    return [f"The run saw no {what}." for what, count in wanted.items() if not count]


def _by_name(pairs: list[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s, {max(seconds):.1f} s at most"


def _timing(row: Row) -> str:
    return f"lasted {_spread(row.lasted)}; recovered after {_spread(row.recovered)}"

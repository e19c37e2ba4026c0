"""Targets, compared with the last complete measurements; a shortened run does not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.measure import Figure


@dataclass(frozen=True)
class Target:
    """A bound of one figure."""

    what: str
    figure: str
    bound: float
    unit: str = ""
    at_least: bool = True

    def row(self, figures: Mapping[str, Figure]) -> list[str]:
        """Return the row of the target: name, bound, measured value, and whether it was reached."""
        sign = "≥" if self.at_least else "≤"
        target = f"{sign} {self.bound:g}{self.unit}"
        found = figures.get(self.figure)
        if found is None:
            return [self.what, target, "not measured", ""]
        reached = found.median >= self.bound if self.at_least else found.median <= self.bound
        return [self.what, target, f"{_spelled(found.median)}{self.unit}", "reached" if reached else "**missed**"]


TARGETS: Final = (
    Target("accept, 1 item, against the bare floor", "accept_1_ratio", 0.75),
    Target("accept, 100 items, against the bare floor", "accept_100_ratio", 0.50),
    Target("accept p99 at half of the highest rate", "accept_p99_ms", 15, " ms", at_least=False),
    Target("drain, one worker, against the same upsert in plain SQL", "drain_ratio", 0.90),
    Target("end to end against FastAPI + Celery + SQLAlchemy, times as fast", "peers_fastapi_celery_ratio", 10),
    Target("end to end against Fastify + BullMQ + pg, times as fast", "peers_fastify_bullmq_ratio", 2),
    Target("idle 202-to-applied, p50", "latency_applied_p50_ms", 10, " ms", at_least=False),
    Target("idle 202-to-applied, p99", "latency_applied_p99_ms", 50, " ms", at_least=False),
    Target("drain at 10 million rows against 100 thousand", "growth_rows_ratio", 0.75),
    Target("re-sending unchanged items against changed ones, times as fast", "unchanged_speed_ratio", 1.3),
    Target(
        "re-sending unchanged items against changed ones, part of the WAL", "unchanged_wal_ratio", 0.25, at_least=False
    ),
    Target("API memory, sixteen 30 MB bodies in flight", "memory_api_peak_mb", 700, " MB", at_least=False),
    Target("the console's largest page, 10,000 connectors", "console_page_bytes", 50_000, " bytes", at_least=False),
    Target("the console's slowest page, median", "console_median_ms", 100, " ms", at_least=False),
    Target("API memory, idle", "memory_api_idle_mb", 80, " MB", at_least=False),
    Target("worker memory, any load", "memory_worker_peak_mb", 300, " MB", at_least=False),
)


def target_table(figures: Mapping[str, Figure]) -> str:
    """Return the table of targets as Markdown."""
    rows = [["what", "target", "measured", ""], ["---", "---:", "---:", "---"]]
    rows += [target.row(figures) for target in TARGETS]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _spelled(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - three digits suffice

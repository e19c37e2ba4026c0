"""What every subject shares: rounds in turn, medians with their spread, a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ROUNDS = 3


class BenchmarkError(Exception):
    """Something that the benchmark needs is not there; the message is a sentence."""


@dataclass
class Table:
    """Figures beside their floor."""

    title: str
    unit: str
    rows: list[tuple[str, list[float], float]] = field(default_factory=list)

    def text(self) -> str:
        """As Markdown."""
        lines = [
            f"**{self.title}**",
            "",
            f"| | {self.unit}, median (lowest to highest) | of the floor |",
            "|---|---|---|",
        ]
        lines += [
            f"| {name} | {statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f}) | {ratio:.2f} |"
            for name, found, ratio in self.rows
        ]
        return "\n".join(lines)


def side_by_side(table: Table, subjects: Mapping[str, Callable[[], float]], *, floor: str) -> None:
    """Measures the subjects in turn, `ROUNDS` times, and adds them to the table. A first round only warms up."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(ROUNDS + 1):
        for name, measure in subjects.items():
            figure = measure()
            if number:
                found[name].append(figure)
    base = statistics.median(found[floor])
    table.rows += [(name, figures, statistics.median(figures) / base) for name, figures in found.items()]

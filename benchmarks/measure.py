"""Measuring: how much, in alternating rounds, and figures with their median and spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Say = Callable[[str], None]


class BenchmarkError(Exception):
    """A requirement of the benchmark is missing or failed; the message is a sentence."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: everything, or with QUICK=1 just enough to see that it works."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """Number of times that each figure is measured, alternating with those beside it."""
        return 1 if self.quick else 3

    def seconds(self, full: float, least: float = 3) -> float:
        """Return the duration of one measurement, at least `least` seconds."""
        return max(least, full / 6) if self.quick else full

    def count(self, full: int) -> int:
        """Return the amount of work of one measurement."""
        return max(1, full // 10) if self.quick else full


@dataclass(frozen=True)
class Figure:
    """A measured quantity: the median of its rounds, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """Make a figure of the values of the rounds."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def text(self, spell: str = ",.0f") -> str:
        """Return the median, and the spread if there is one."""
        if self.low == self.high:
            return format(self.median, spell)
        return f"{self.median:{spell}} ({self.low:{spell}} to {self.high:{spell}})"

    def over(self, floor: Figure) -> float:
        """Return the ratio of the medians."""
        return self.median / floor.median if floor.median else float("nan")

    def ratio(self, floor: Figure) -> Figure:
        """Return the ratio of the medians, with the spread of this figure."""
        return Figure(self.over(floor), self.low / floor.median, self.high / floor.median)


def in_turn(runs: Mapping[str, Callable[[], float]], rounds: int, say: Say, unit: str) -> dict[str, Figure]:
    """Measure each run once in a round, so that a disturbance of the machine affects all of them."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            figure = run()
            found[name].append(figure)
            say(f"round {number} of {rounds}, {name}: {figure:,.{0 if figure > 100 else 1}f} {unit}")  # noqa: PLR2004 - small figures need a decimal
    return {name: Figure.of(values) for name, values in found.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values are, by nearest rank."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[min(len(ordered), max(1, int(rank))) - 1]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the growth of the second value with the first, by least squares."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two points
        return 0.0
    x_mean = statistics.fmean(x for x, _ in points)
    y_mean = statistics.fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread if spread else 0.0

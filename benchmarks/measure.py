"""What every subject shares: how much is measured, rounds in turn, figures with their median and spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Say = Callable[[str], None]


class BenchmarkError(Exception):
    """Something that the benchmark needs is not there, or did not behave; the message is a sentence."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: all, or with QUICK=1 just enough to see that everything works."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often each figure is taken, in turn with those beside it."""
        return 1 if self.quick else 3

    def seconds(self, full: float, least: float = 3) -> float:
        """How long one measurement takes; less than `least` would show nothing."""
        return max(least, full / 6) if self.quick else full

    def count(self, full: int) -> int:
        """How much work one measurement is given."""
        return max(1, full // 10) if self.quick else full


@dataclass(frozen=True)
class Figure:
    """One measured quantity: its median, and how far its rounds lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        """From what the rounds came to."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def text(self, spell: str = ",.0f") -> str:
        """The median, and the spread where there is one."""
        if self.low == self.high:
            return format(self.median, spell)
        return f"{self.median:{spell}} ({self.low:{spell}} to {self.high:{spell}})"

    def over(self, floor: Figure) -> float:
        """Ratio of the medians."""
        return self.median / floor.median if floor.median else float("nan")

    def ratio(self, floor: Figure) -> Figure:
        """Ratio of the medians, with the spread of this one."""
        return Figure(self.over(floor), self.low / floor.median, self.high / floor.median)


def in_turn(runs: Mapping[str, Callable[[], float]], rounds: int, say: Say, unit: str) -> dict[str, Figure]:
    """Takes each run's figure once a round, so that whatever disturbs the machine disturbs all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            figure = run()
            found[name].append(figure)
            say(f"round {number} of {rounds}, {name}: {figure:,.{0 if figure > 100 else 1}f} {unit}")  # noqa: PLR2004 - so few want a tenth
    return {name: Figure.of(values) for name, values in found.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie: the nearest rank, so that it is one of them."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[min(len(ordered), max(1, int(rank))) - 1]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How fast the second value grows with the first: least squares."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two points
        return 0.0
    x_mean = statistics.fmean(x for x, _ in points)
    y_mean = statistics.fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread if spread else 0.0

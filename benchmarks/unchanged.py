"""unchanged: speed of the drain and WAL for items that are sent again unchanged, beside items that have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks import bodies
from benchmarks.charts import Bar, Chart
from benchmarks.drain import drain, fill_lanes
from benchmarks.load import Job
from benchmarks.measure import Effort, Figure, Say, in_turn
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines

_ITEMS: Final = 200_000
_STORY: Final = f"""One connector sends {_ITEMS:,} items in batches of {bodies.BATCH}, in the order of their ids, as a
poller does that reads a table: in turn with every item changed, and once more as they were. One worker drains a loaded
lane. No checkpoint is forced in between."""


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure both rows."""
    items = effort.count(_ITEMS)
    wal: dict[str, list[float]] = {"changed": [], "unchanged": []}
    with running_engines() as engines, installation(engines) as ours:
        passes = _Passes(ours, items)
        for _ in range(2):  # so that the rows exist and the first images of their pages are written
            passes.send(changed=True)
        runs = {name: _run(passes, wal, items, changed=name == "changed") for name in wal}
        rates = in_turn(runs, effort.rounds, say, "items/s")
    bytes_an_item = {name: Figure.of(values) for name, values in wal.items()}
    section = Section("unchanged: items sent again as they were", _STORY)
    section.figures = {
        "unchanged_speed_ratio": rates["unchanged"].ratio(rates["changed"]),
        "unchanged_wal_ratio": bytes_an_item["unchanged"].ratio(bytes_an_item["changed"]),
    }
    rows = [[name, rates[name].text(), bytes_an_item[name].text(",.1f")] for name in wal]
    section.tables = [Table(["items", "items/s", "WAL, bytes an item"], rows)]
    section.charts = [
        Chart("drain of items sent again", "items/s", [[Bar(name, rates[name]) for name in wal]]),
        Chart("WAL of items sent again", "bytes an item", [[Bar(name, bytes_an_item[name]) for name in wal]], ",.1f"),
    ]
    return section


class _Passes:
    """Sends all items in each pass; a pass changes all of them, or none."""

    def __init__(self, ours: Installation, items: int) -> None:
        self._ours = ours
        self._items = items
        self._stamp = bodies.FIRST_STAMP

    def send(self, *, changed: bool) -> tuple[float, int]:
        """Measure one pass: items per second, and bytes of WAL."""
        self._stamp += changed
        batches = self._items // bodies.BATCH
        job = Job(0, [], requests=batches, ids=self._items, batches=batches, first_stamp=self._stamp, changing=False)
        fill_lanes(self._ours, job)
        drained = drain(self._ours)
        return drained.items_a_second, drained.wal_bytes


def _run(passes: _Passes, wal: dict[str, list[float]], items: int, *, changed: bool) -> Callable[[], float]:
    def run() -> float:
        rate, written = passes.send(changed=changed)
        wal["changed" if changed else "unchanged"].append(written / items)
        return rate

    return run

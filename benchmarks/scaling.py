"""`python -m benchmarks.scaling`: compute `docs/scaling.md` from the costs that `make bench` measured.

Each need is a rate times a measured cost. Nothing of it was run on more than one machine: the page says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.report import FOLDER, Section, Table, read_sections

PAGE: Final = FOLDER.parent / "docs" / "scaling.md"
#: Items in a request, as `end_to_end` sends them.
_BATCH: Final = 100
_RATES: Final = (10_000, 100_000, 1_000_000)
#: Part of a core, process or disk that is planned for: beyond it, waiting times grow steeply.
_HEADROOM: Final = 0.6
#: A large server, for the walls: its cores, and what its disk writes in a second, in bytes.
_CORES: Final = 32
_DISK_BYTES: Final = 1_000_000_000
_MIN_LANES: Final = 16
_MAX_LANES: Final = 1023
_MICRO: Final = 1e-6
_MB: Final = 1e6


@dataclass(frozen=True)
class Costs:
    """What was measured."""

    #: Items a second of one process.
    api: float
    worker: float
    #: Requests of one item a second of one API process.
    api_single: float
    #: Seconds of CPU an item in Redis, whose commands run in one thread.
    redis: float
    #: Seconds of CPU an item in Postgres: if each item is written as a row of its own, and as workers fold them.
    row: float
    folded: float
    #: Bytes an item.
    body: float
    aof: float
    wal: float
    #: Part of a worker's rate that is left if the table is large.
    large: float


def costs(sections: Mapping[str, Section]) -> Costs:
    """Return the costs in the results. Raises KeyError if a section lacks one."""
    rates = {name: one.median for section in sections.values() for name, one in section.figures.items()}
    cpu = _column(sections["end_to_end"], "CPU seconds a million items")
    written = _column(sections["end_to_end"], "bytes an item")
    return Costs(
        api=rates["accept_100_rate"] * _BATCH,
        worker=rates["drain_rate"],
        api_single=rates["accept_1_rate"],
        redis=cpu["Valkey"] * _MICRO,
        row=rates["drain_ratio"] / rates["drain_rate"],
        folded=cpu["PostgreSQL"] * _MICRO,
        body=written["body"],
        aof=written["AOF"],
        wal=_column(sections["unchanged"], "WAL, bytes an item")["changed"],
        large=rates["growth_rows_ratio"],
    )


def _column(section: Section, title: str) -> dict[str, float]:
    """Return the numbers of a column by the first cell of their rows."""
    table = next(table for table in section.tables if title in table.head)
    place = table.head.index(title)
    return {row[0]: float(row[place].split()[0].replace(",", "")) for row in table.rows}


def planned(need: float) -> int:
    """Return how many processes, cores or servers cover a need with headroom."""
    return max(1, math.ceil(need / _HEADROOM))


def lanes(workers: int) -> int:
    """Return a number of lanes of which that many workers find enough at work: twice as many, a power of two."""
    return min(_MAX_LANES, max(_MIN_LANES, 1 << math.ceil(math.log2(2 * workers))))


def walls(found: Costs) -> list[tuple[float, str, str]]:
    """Return the rate at which each part ends, what ends, and what moves it; the nearest first."""
    return sorted(
        [
            (
                _HEADROOM / found.redis,
                "The one thread of a Redis server",
                "A Redis Cluster: lanes spread over its nodes.",
            ),
            (
                _HEADROOM * _CORES / found.row,
                f"The {_CORES} cores of one Postgres primary",
                "A larger server; then tables distributed by `connector_id`, or a second installation.",
            ),
            (
                _HEADROOM * _DISK_BYTES / found.wal,
                f"A disk of {_DISK_BYTES / _MB:,.0f} MB/s under Postgres' log",
                "The log on a disk of its own; then as above.",
            ),
            (
                _HEADROOM * _MAX_LANES * found.worker,
                f"{_MAX_LANES:,} lanes, each with a worker",
                "A second installation.",
            ),
        ]
    )


def page(found: Costs) -> str:
    """Return the text of docs/scaling.md."""
    first, second, *_ = walls(found)
    return f"""# Scaling

Computed by `python -m benchmarks.scaling` from [benchmarks/results.md](../benchmarks/results.md): a rate times what an
item cost there, with {_HEADROOM:.0%} of each core, process and disk planned for. The costs were measured on one machine
of two cores; what lies beyond it is arithmetic, which no larger installation has confirmed. Items come in batches of
{_BATCH}, with {found.body:.0f} bytes each, and each changes its row.

## What one process does

{_processes(found).markdown()}

Sweepers cost next to nothing: two of them, wherever they find room.

## What a rate needs

{_needs(found).markdown()}

- **Batches.** An API process takes {found.api / found.api_single:.0f} times as many items in batches of {_BATCH} as in
  requests of one. What a request of one item costs Redis is not measured apart.
- **Folding.** The cores of Postgres count every item as a row of its own. Workers fold states of one item that wait
  together: with 200,000 ids under full load, an item cost {found.folded / found.row:.0%} of that.
- **Large tables.** With ten million rows, a worker applies {found.large:.0%} of what it does with a hundred thousand.
- **Disks.** Pages of the tables come on top of Postgres' log, at checkpoints; so do what standbys copy and backups.

## Walls

{_walls(found).markdown()}

The first wall is {_lower(first[1])}, at {first[0]:,.0f} items a second.
The second is {_lower(second[1])}, at {second[0]:,.0f}.

One wall no machine moves: a connector's submissions are applied in order, by one worker at a time, so a connector ends
at {_HEADROOM * found.worker:,.0f} items a second. Split a larger source into several connectors.
"""


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _processes(found: Costs) -> Table:
    return Table(
        ["one", "items/s at most", "planned", "bounded by"],
        [
            ["API process, batches", *_both(found.api), "Python's one thread"],
            ["API process, requests of one item", *_both(found.api_single), "the same"],
            ["worker", *_both(found.worker), "waiting for its transaction in Postgres"],
            ["Redis server", *_both(1 / found.redis), "its one thread"],
            ["core of Postgres", *_both(1 / found.row), "inserting and updating rows"],
        ],
    )


def _both(rate: float) -> list[str]:
    return [f"{rate:,.0f}", f"{rate * _HEADROOM:,.0f}"]


def _needs(found: Costs) -> Table:
    table = Table(["", *(f"{rate:,} items/s" for rate in _RATES)])
    workers = [planned(rate / found.worker) for rate in _RATES]
    rows: dict[str, list[float]] = {
        "API processes": [planned(rate / found.api) for rate in _RATES],
        "API processes, if requests have one item": [planned(rate / found.api_single) for rate in _RATES],
        "workers": [*workers],
        "lanes": [lanes(count) for count in workers],
        "Redis servers": [planned(rate * found.redis) for rate in _RATES],
        "Redis, MB/s synced to disk, in all": [rate * found.aof / _MB for rate in _RATES],
        "cores of Postgres": [planned(rate * found.row) for rate in _RATES],
        "Postgres, MB/s of log": [rate * found.wal / _MB for rate in _RATES],
        "network into the API, Mbit/s": [rate * found.body * 8 / _MB for rate in _RATES],
    }
    table.rows = [[name, *(f"{number:,.0f}" for number in numbers)] for name, numbers in rows.items()]
    return table


def _walls(found: Costs) -> Table:
    rows = [[f"{rate:,.0f}", what, then] for rate, what, then in walls(found)]
    return Table(["items/s", "what ends", "what moves it"], rows)


def write(path: Path = PAGE) -> None:
    """Write the page from the newest results."""
    path.write_text(page(costs(read_sections(FOLDER / "results.json"))))


if __name__ == "__main__":
    write()

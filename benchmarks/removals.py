"""removals: speed of deletions and retains beside upserts of as many items, and a retain in a large table.

`ROWS=10000000` sets the rows of the table, `IDS=1000000` those that the large retain names.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg

from benchmarks import bodies
from benchmarks.charts import Bar, Chart
from benchmarks.drain import drain
from benchmarks.measure import BenchmarkError, Effort, Figure, Say, in_turn, percentile
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines

_ITEMS: Final = 200_000
_ROWS: Final = 1_000_000
_IDS: Final = 200_000
#: Of the ids that the large retain does not name, one for so many that it names.
_REMOVED_ONE_IN: Final = 10
_CONNECTORS: Final = 2
_STORY: Final = f"""One connector has {_ITEMS:,} items. One worker drains, from a loaded lane and in turn: all of them
changed, in batches of {bodies.BATCH}; all of them deleted, in batches as large; a retain of all ids; a retain of every
other id. The rows are put back before each run. Then, in a table of so many rows as the second table says, a retain of
as many ids as it says, beside as many items that have changed, while a second worker applies what another lane's
connector sends, one item after the other."""
_FIELDS: Final = json.dumps(bodies.item(0, bodies.FIRST_STAMP)["fields"])
_PUT_BACK: Final = f"""
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT %s, %s, 'agent-' || lpad(number::text, 8, '0'), 'Alice Smith', '{_FIELDS}'::jsonb, '{{"site":"Londonderry"}}', 1,
       now()
FROM generate_series(0, %s - 1) AS number
ON CONFLICT DO NOTHING
"""  # noqa: S608 - of a constant


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure the speeds, then the large retain."""
    rows = int(os.environ.get("ROWS", effort.count(_ROWS)))
    ids = int(os.environ.get("IDS", effort.count(_IDS)))
    with running_engines() as engines, installation(engines, connectors=_CONNECTORS) as ours:
        one = _Stream(ours, effort.count(_ITEMS))
        rates = in_turn({name: one.run(make) for name, make in _LOADS.items()}, effort.rounds, say, "items/s")
        large = _Large(ours, rows, ids, say)
        found = {"retain": large.run("retain"), "changed items": large.run("changed items")}
    section = Section("removals: deletions and retains beside upserts", _STORY)
    floor = rates["changed"]
    section.figures = {"removals_delete_ratio": rates["deleted"].ratio(floor)}
    section.figures["removals_retain_ratio"] = rates["retained, half removed"].ratio(floor)
    section.figures["removals_worker_mb"] = Figure.of([found["retain"].worker_mb])
    speeds = [[name, figure.text(), f"{figure.over(floor):.2f}"] for name, figure in rates.items()]
    section.tables = [
        Table(["what", "items/s", "of upserts"], speeds),
        Table(["what", "rows", "ids", "s", "worker, MB", "other lane: p50, ms", "slowest, ms"], [
            [name, f"{rows:,}", f"{ids:,}", *one_run.cells()] for name, one_run in found.items()
        ]),
    ]  # fmt: skip
    section.charts = [Chart("removals", "items/s", [[Bar(name, figure) for name, figure in rates.items()]])]
    return section


def _ids(count: int) -> list[str]:
    return [f"agent-{number:08d}" for number in range(count)]


def _changed(count: int) -> Iterator[tuple[str, bytes]]:
    stamp = time.time_ns() // 1_000_000 % 8_000_000 + bodies.FIRST_STAMP
    for first in range(0, count, bodies.BATCH):
        yield "/api/ingest", bodies.fill(bodies.cut(bodies.batch(first)), stamp)


def _deleted(count: int) -> Iterator[tuple[str, bytes]]:
    names = _ids(count)
    for first in range(0, count, bodies.BATCH):
        items = [{"id": name, "deleted": True} for name in names[first : first + bodies.BATCH]]
        yield "/api/ingest", json.dumps({"stream": "agents", "items": items}).encode()


def _retained(ids: list[str]) -> Iterator[tuple[str, bytes]]:
    body = {"stream": "agents", "ids": ids, "atMost": len(ids) + 1}
    yield "/api/ingest/retain", json.dumps(body, separators=(",", ":")).encode()


_Load = Callable[[int], Iterator[tuple[str, bytes]]]
_LOADS: Final[dict[str, _Load]] = {
    "changed": _changed,
    "deleted": _deleted,
    "retained, none removed": lambda count: _retained(_ids(count)),
    "retained, half removed": lambda count: _retained(_ids(count)[::2]),
}


def _post(ours: Installation, credential: str, path: str, body: bytes) -> str:
    """Submit, and return the request id."""
    headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
    request = urllib.request.Request(ours.url + path, data=body, headers=headers)  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
        return str(json.load(answer)["requestId"])


def _wait(ours: Installation, credential: str, request_id: str) -> str:
    """Return the state of a request, once it is final or after 30 s."""
    url = f"{ours.url}/api/requests/{request_id}?wait=30"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {credential}"})  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
        return str(json.load(answer)["state"])


def _execute(ours: Installation, statement: str, *values: object) -> None:
    """Execute a statement that may take long, or must be in no transaction."""
    with psycopg.connect(ours.database_url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


def _tidy(ours: Installation) -> None:
    _execute(ours, "VACUUM ANALYZE items")
    _execute(ours, "CHECKPOINT")


class _Stream:
    """The items of one connector, which are put back before each run."""

    def __init__(self, ours: Installation, items: int) -> None:
        self._ours = ours
        self._items = items

    def run(self, make: _Load) -> Callable[[], float]:
        """Return what measures a load: items per second, of all that are there."""

        def run() -> float:
            ours, (connector_id, credential) = self._ours, self._ours.credentials[0]
            _execute(ours, _PUT_BACK, connector_id, "agents", self._items)
            with ours.api():
                for path, body in make(self._items):
                    _post(ours, credential, path, body)
            _tidy(ours)
            before, started = ours.applied_items(), drain(ours)
            return started.items_a_second * self._items / (ours.applied_items() - before)

        return run


@dataclass
class _Run:
    """A submission of many ids or items in a large table."""

    seconds: float = 0.0
    worker_mb: float = 0.0
    #: Of what another lane's connector sent meanwhile, from the 202 until it was applied.
    beside: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        return [f"{one:,.1f}" for one in (self.seconds, self.worker_mb)] + [
            f"{1000 * percentile(self.beside, share):,.0f}" for share in (0.5, 1.0)
        ]


class _Large:
    """A table of many rows, of which one stream has a few more than the ids of the retain."""

    def __init__(self, ours: Installation, rows: int, ids: int, say: Say) -> None:
        self._ours, self._ids, self._say = ours, ids, say
        self._credential = ours.credentials[0][1]
        self._other = ours.credentials[1][1]  # each connector has a lane of its own
        self._there = ids + ids // _REMOVED_ONE_IN
        say(f"{rows:,} rows are written")
        for stream in range(max(1, (rows - self._there) // self._there)):
            self._put_back(f"stream-{stream}")

    def _put_back(self, stream: str = "agents") -> None:
        _execute(self._ours, _PUT_BACK, self._ours.credentials[0][0], stream, self._there)

    def run(self, what: str) -> _Run:
        """Measure a retain of all ids, or as many items in one body or more."""
        ours, found = self._ours, _Run()
        self._put_back()
        _tidy(ours)
        with ours.api(), ours.ready_workers(2) as workers, self._sending_beside(found):
            loads = _retained(_ids(self._ids)) if what == "retain" else _whole(self._ids)
            sent = [_post(ours, self._credential, path, body) for path, body in loads]
            started = time.monotonic()
            while (state := _wait(ours, self._credential, sent[-1])) == "queued":
                self._say(f"{what}: {time.monotonic() - started:.0f} s")
            found.seconds = time.monotonic() - started
            found.worker_mb = max(one.memory_mb("VmHWM") for one in workers)
        if state != "applied":
            raise BenchmarkError(f"The {what} was not applied, but is {state}.")
        self._say(f"{what} of {self._ids:,}: {' · '.join(found.cells())}")
        return found

    @contextmanager
    def _sending_beside(self, found: _Run) -> Iterator[None]:
        stop = threading.Event()

        def send() -> None:
            for number in range(1 << 62):
                if stop.wait(0.02):
                    return
                body = json.dumps({"stream": "beside", "items": [bodies.item(0, number)]}).encode()
                request_id, accepted = _post(self._ours, self._other, "/api/ingest", body), time.monotonic()
                _wait(self._ours, self._other, request_id)
                found.beside.append(time.monotonic() - accepted)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _whole(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield bodies of 100,000 items."""
    for first in range(0, count, 100_000):
        template = bodies.cut(bodies.batch(first, min(100_000, count - first)))
        yield "/api/ingest", bodies.fill(template, bodies.FIRST_STAMP + 1)

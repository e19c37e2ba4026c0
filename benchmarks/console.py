"""console: bytes and milliseconds of each page and list with 10,000 connectors, and of live updates."""

from __future__ import annotations

import contextlib
import itertools
import re
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx

from benchmarks.console_rows import Scale, fill
from benchmarks.measure import Effort, Figure, Say
from benchmarks.processes import Process, cpu_seconds, free_port, wait_until_answers
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines
from operations.console.pages import sessions
from operations.operators import Operators
from operations.roles import Role
from operations.tokens import Tokens

_CONNECTORS: Final = 10_000
_ITEMS: Final = 4_000_000
_TOLD_ITEMS: Final = 100_000_000
_REQUESTS: Final = 20
#: Pause after which the first page reads everything again, in seconds, and how often that is measured.
_COLD_SECONDS, _COLD = 16, 3
_VIEWERS, _OF_ONE = 50, 10
_WATCHED_SECONDS: Final = 30
_PAGES: Final = {
    "overview": "/",
    "overview, 7 days": "/?range=7d",
    "connectors": "/connectors",
    "connectors, quiet": "/connectors?state=quiet",
    "connectors, page 100": "/connectors?page=100",
    "one connector": "/connectors/52",
    "the largest connector's items": "/connectors/1/items",
    "one connector's items": "/connectors/52/items",
    "its log": "/connectors/52/log",
    "its settings": "/connectors/52/settings",
    "refusals": "/refusals",
    "refusals, 7 days": "/refusals?range=7d",
    "box: an item": "/find?q=agent-00000042",
    "box: a request": "/find?q=req_00000000000042",
    "box: a connector": "/find?q=benchmark 77",
    "dead letters": "/dead",
    "live tail": "/tail",
    "engine room": "/engines",
    "audit": "/audit",
}
#: Read everything, as they say.
_THOROUGH: Final = {
    "box: an item that is not there": "/find?q=agent-nothing",
    "the largest connector's items, all counted": "/connectors/1/items?count=all",
}
_LISTS: Final = {
    "connectors": "/connectors?limit=100",
    "items": "/connectors/52/items?stream=agents&limit=100",
    "streams": "/connectors/52/streams",
    "streams of the largest": "/connectors/1/streams",
    "log entries": "/connectors/52/logs?limit=100",
    "refusals": "/refusals?limit=100",
    "dead letters": "/dead-letters?limit=100",
    "their groups": "/dead-letters/groups",
    "traffic": "/traffic",
    "audit": "/audit?limit=100",
    "engines": "/engines",
    "troubles": "/troubles",
}
_STORY: Final = f"""{_CONNECTORS:,} connectors with credentials, signs of life in Redis, traffic of each by the minute
for an hour and by the hour for a week, {2 * _CONNECTORS:,} dead letters, 10,000 refusals; of fifty connectors one each
is late, refused, dead, quiet and unheard of. {_ITEMS:,} items are in the table, two fifths of them of one connector;
the catalogue's statistics are then raised to {_TOLD_ITEMS:,} (`reltuples` of the table and its index, from which the
planner and the engine room estimate), so that plans are those of that size. Each address is asked for {_REQUESTS}
times, alone; milliseconds are from the request to the last byte. What pages share of all connectors is read by a thread
meanwhile, and its CPU is in the column. Pages are not compressed: they hold a token and what the address says, which
compression would let a stranger guess. Live: {_VIEWERS} browsers watch the overview for {_WATCHED_SECONDS} s."""


@dataclass
class _Console:
    """A console process, and how to ask it as an administrator."""

    url: str
    process: Process
    #: Of several operators, since each may watch so many pages only.
    cookies: list[dict[str, str]]
    token: dict[str, str]
    postgres: int

    def cpu(self) -> float:
        """Return the CPU seconds of the console and of Postgres so far."""
        return cpu_seconds(self.process.pid) + cpu_seconds(self.postgres)

    def client(self, number: int = 0) -> httpx.Client:
        """Return a browser; each operator has ten."""
        cookies = self.cookies[number // _OF_ONE]
        return httpx.Client(base_url=self.url, cookies=cookies, timeout=60, verify=False)  # noqa: S501 - there is no TLS


def missing() -> list[str]:
    """Return what must be installed by hand."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure pages, lists and live updates."""
    scale = Scale(effort.count(_CONNECTORS), effort.count(_ITEMS), effort.count(_TOLD_ITEMS))
    with (
        running_engines() as engines,
        installation(engines, connectors=scale.connectors) as ours,
        ours.ready_workers(),
    ):
        fill(ours.database_url, ours.redis, ours.lanes, scale, say)
        with _running(ours) as console:
            pages = _asked(console, _PAGES, say)
            thorough = _asked(console, _THOROUGH, say)
            cold = _cold(console)
            lists = _asked(console, {name: f"/api/operations{path}" for name, path in _LISTS.items()}, say)
            live = _watched(console, effort, say)
    return Section(
        title="console: pages and lists of 10,000 connectors",
        story=_STORY,
        tables=[
            _table("page", {**pages, **thorough, f"overview, after {_COLD_SECONDS} s without a request": cold}),
            _table("list of the API", lists),
            live,
        ],
        figures={
            "console_page_bytes": Figure.of([max(one.size for one in pages.values())]),
            "console_median_ms": Figure.of([max(one.median for one in pages.values())]),
        },
    )


@contextlib.contextmanager
def _running(ours: Installation) -> Iterator[_Console]:
    port = free_port()
    with ours.process("console", "operations.console", CONSOLE_PORT=str(port), QUIET_AFTER_SECONDS="7200") as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_answers(f"{url}/healthz", process)
        cookies = [_logged_in(ours, f"operator-{number}") for number in range(_VIEWERS // _OF_ONE)]
        token = Tokens(ours.connection).create("benchmark", Role.ADMINISTRATOR, None).text
        yield _Console(url, process, cookies, {"Authorization": f"Bearer {token}"}, ours.engines.postgres.pid)


def _logged_in(ours: Installation, name: str) -> dict[str, str]:
    """Make an operator and a session."""
    Operators(ours.connection).create(name, Role.ADMINISTRATOR)
    ours.connection.execute(b"UPDATE operators SET one_time_until = NULL")
    found = ours.rows("SELECT max(operator_id) AS operator_id FROM operators")[0]
    return {"console": sessions.begin(ours.connection, found["operator_id"], address="127.0.0.1", browser="benchmark")}


@dataclass(frozen=True)
class _Asked:
    """What one address cost; CPU is that of the console and of Postgres, for one request."""

    size: int
    median: float
    worst: float
    cpu_ms: float

    def cells(self) -> list[str]:
        """Return the cells of a table."""
        return [f"{self.size:,}", f"{self.median:.0f}", f"{self.worst:.0f}", f"{self.cpu_ms:.0f}"]


def _asked(console: _Console, paths: dict[str, str], say: Say) -> dict[str, _Asked]:
    found = {}
    with console.client() as client:
        for name, path in paths.items():
            client.get(path, headers=console.token).raise_for_status()
            found[name] = _one(console, client, path, _REQUESTS, 0)
            say(f"{name}: {', '.join(found[name].cells())} (bytes, ms, at worst, CPU)")
    return found


def _cold(console: _Console) -> _Asked:
    with console.client() as client:
        return _one(console, client, "/", _COLD, _COLD_SECONDS)


def _one(console: _Console, client: httpx.Client, path: str, requests: int, pause: float) -> _Asked:
    times, size, before = [], 0, console.cpu()
    for _ in range(requests):
        time.sleep(pause)  # what the pages share becomes old
        began = time.perf_counter()
        answer = client.get(path, headers=console.token)
        times.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
        size = len(answer.content)
    return _Asked(size, statistics.median(times), max(times), 1000 * (console.cpu() - before) / requests)


def _table(kind: str, asked: dict[str, _Asked]) -> Table:
    return Table(
        [kind, "bytes", "median ms", "worst ms", "CPU ms"], [[name, *one.cells()] for name, one in asked.items()]
    )


def _watched(console: _Console, effort: Effort, say: Say) -> Table:
    """Watch the overview in many browsers at once, and in one."""
    rows = []
    for viewers in (1, _VIEWERS):
        seconds = effort.seconds(_WATCHED_SECONDS, 11)
        before = cpu_seconds(console.process.pid)
        events, size = _events(console, viewers, seconds)
        used = cpu_seconds(console.process.pid) - before
        say(f"{viewers} viewers: {events} updates, {100 * used / seconds:.0f} % of a core")
        each = 1000 * used / max(1, events)
        rows.append([f"{viewers}", f"{events:,}", f"{size:,}", f"{each:.1f}", f"{100 * used / seconds:.0f} %"])
    return Table(["viewers of the overview", "updates", "bytes each", "CPU ms each", "of a core"], rows)


def _events(console: _Console, viewers: int, seconds: float) -> tuple[int, int]:
    """Return the updates that all viewers received, and the bytes of one."""
    deadline, counts, size = time.monotonic() + seconds, itertools.count(), [0]

    def watch(number: int) -> None:
        with console.client(number) as client, client.stream("GET", "/live") as answer:
            answer.raise_for_status()
            part = ""
            for chunk in answer.iter_text():
                part += chunk
                while found := re.search("event: part\n.*?\n\n", part, re.DOTALL):
                    next(counts)
                    size[0] = len(found[0].encode())
                    part = part[found.end() :]
                if time.monotonic() > deadline:
                    return

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(viewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return next(counts), size[0]

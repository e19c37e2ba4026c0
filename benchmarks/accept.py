"""accept: requests per second of one API process on one core, beside a bare application on the same server.

The engines, the load and a worker share the other core, so the API process is measured as long as its core is the busy
one; on two cores the engines have a part too. Each run of the product begins with an empty Redis, so that no run is
slowed by the backlog of the one before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks import bodies, wrk
from benchmarks.charts import Bar, Chart
from benchmarks.driver import send_all
from benchmarks.load import Job
from benchmarks.measure import Effort, Figure, Say, in_turn, percentile
from benchmarks.processes import free_port, on_core, python, running, wait_until_answers
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines

API_CORE: Final = 0
OTHER_CORE: Final = 1
_CONNECTIONS: Final = 64
_SIZES: Final = (1, 10, 100, 1_000)
#: Items in a body of 5 MB.
_LARGE: Final = 25_000
_SECONDS: Final = 3
#: Load of large bodies: seconds after which they still fit into Valkey's memory, and so few connections that they
#: do not all wait for the first body to be read.
_LARGE_SECONDS: Final = 3
_LARGE_CONNECTIONS: Final = 4
_STEADY_SECONDS: Final = 10
_STORY: Final = f"""One API process on one core, {_CONNECTIONS} connections of wrk ({_LARGE_CONNECTIONS} for the
largest bodies); engines, worker, sweeper and wrk on the other core. Beside it a bare ASGI application on the same
uvicorn that reads the body and answers 202 (the floor), and the same with `orjson.loads`. The last table: one item a
request at half of the highest rate that was found."""


def missing() -> list[str]:
    """Return what must be installed by hand."""
    return [found] if (found := wrk.missing()) else []


def measure(effort: Effort, say: Say) -> Section:
    """Measure each batch size on each server, and the latency at half of the highest rate."""
    section = Section("accept: requests a second of one API process", _STORY)
    table = Table(["body", "server", "requests/s", "of the floor"])
    groups = []
    with (
        on_core(OTHER_CORE),
        running_engines() as engines,
        installation(engines) as ours,
        _bare() as bare,
        ours.api(core=API_CORE),
    ):
        for size in (*_SIZES, _LARGE):
            body = bodies.fill(bodies.cut(bodies.batch(0, size)), bodies.FIRST_STAMP)
            label = f"{size:,} item{'s' if size > 1 else ''}, {len(body) / 1000:,.1f} KB"
            say(label)
            found = in_turn(_runs(effort, ours, bare, body), effort.rounds, say, "requests/s")
            groups.append(_note(table, section, label, size, found))
        highest = section.figures["accept_1_rate"].median
        section.tables = [table, _steady(effort, say, ours, highest / 2, section)]
    section.charts = [Chart("accept: requests a second as a part of the floor's", "bare = 1", groups, ".2f")]
    return section


def _runs(effort: Effort, ours: Installation, bare: str, body: bytes) -> dict[str, Callable[[], float]]:
    large = len(body) > 1_000_000  # noqa: PLR2004 - 1 MB
    seconds = _LARGE_SECONDS if large else effort.seconds(_SECONDS)
    connections = _LARGE_CONNECTIONS if large else _CONNECTIONS
    credential = [ours.credentials[0][1]]

    def load(url: str) -> float:
        return wrk.requests_a_second(url, body, credential, seconds=seconds, connections=connections, core=OTHER_CORE)

    def load_ours() -> float:
        ours.forget()
        with ours.ready_workers(core=OTHER_CORE):
            return load(f"{ours.url}/api/ingest")

    return {
        "bare": lambda: load(f"{bare}/"),
        "bare with orjson.loads": lambda: load(f"{bare}/parse"),
        "ingest_api": load_ours,
    }


def _note(table: Table, section: Section, label: str, size: int, found: dict[str, Figure]) -> list[Bar]:
    """Add the rows of a batch size; return its bars."""
    floor, bars = found["bare"], []
    spell = ",.0f" if floor.median > 1000 else ",.1f"  # noqa: PLR2004 - smaller figures need a decimal
    for name, figure in found.items():
        table.rows.append([label, name, figure.text(spell), f"{figure.over(floor):.2f}"])
        bars.append(Bar(f"{label}: {name}", figure.ratio(floor)))
    section.figures[f"accept_{size}_rate"] = found["ingest_api"]
    section.figures[f"accept_{size}_ratio"] = bars[-1].figure
    return bars


def _steady(effort: Effort, say: Say, ours: Installation, rate: float, section: Section) -> Table:
    """Measure the latency of the 202 at a fixed rate."""
    table = Table(["at half of the highest rate", "p50", "p99"])
    ours.forget()
    found: list[list[float]] = []
    with ours.ready_workers(core=OTHER_CORE):
        for number in range(1, effort.rounds + 1):
            job = Job(
                ours.port,
                ours.credentials,
                connections=_CONNECTIONS,
                rate=rate,
                seconds=effort.seconds(_STEADY_SECONDS),
                ids=10_000,
                batch=1,
            )
            latencies = send_all(ours, job, core=OTHER_CORE).latencies
            found.append([percentile(latencies, 0.5), percentile(latencies, 0.99)])
            say(f"round {number} of {effort.rounds}, {rate:,.0f} requests/s: p99 {found[-1][1]:.1f} ms")
    p50, p99 = (Figure.of(values) for values in zip(*found, strict=True))
    section.figures["accept_p99_ms"] = p99
    table.rows.append([f"{rate:,.0f} requests/s of 1 item", f"{p50.text('.2f')} ms", f"{p99.text('.2f')} ms"])
    return table


@contextlib.contextmanager
def _bare() -> Iterator[str]:
    """Run the bare application on the core of the API, which is idle meanwhile."""
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command = python("uvicorn", "benchmarks.bare:app", "--port", str(port), *options)
    with running("bare", command, {}, core=API_CORE) as process:
        wait_until_answers(f"http://127.0.0.1:{port}/", process, status=202)
        yield f"http://127.0.0.1:{port}"

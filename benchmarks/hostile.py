"""hostile: what contrived bodies cost, and what another connector notices of twenty connections that send them."""

from __future__ import annotations

import contextlib
import gc
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.charts import Bar, Chart
from benchmarks.contrived import Contrived, build, contrived, pass_over, plain
from benchmarks.driver import load
from benchmarks.load import Job
from benchmarks.measure import BenchmarkError, Effort, Figure, Say, percentile
from benchmarks.processes import Process, cpu_seconds
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines

_HOSTILE: Final = 20
_SECONDS: Final = 15
#: Items of a post, and posts a second: one item, and some 200 KB.
_POSTS: Final = {"small": (1, 50), "200 KB": (950, 10)}
_MB: Final = 1 << 20
_PATIENCE_SECONDS: Final = 120
_LIMITS: Final = {"MAX_CONNECTOR_BACKLOG_BYTES": str(128 * _MB), "MAX_BACKLOG_BYTES": str(512 * _MB)}
_STORY: Final = f"""One API process with the default limits, one worker, the sweeper. First each contrived body is sent
alone, and the CPU seconds of the API process are told beside those of two parses in C, as far as each reads: msgspec's,
which keeps nothing, and orjson's into objects of Python. Then one connector sends all of them in turn on {_HOSTILE}
connections, each as fast as it is answered, and another connector posts for {_SECONDS} s:
{", ".join(f"{name} ({rate} a second)" for name, (_, rate) in _POSTS.items())}. Latencies are
those of its 202s, in milliseconds, each round beside a quiet one."""

Latencies = dict[str, list[float]]


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure the cost of each body, then the posts of another connector."""
    found = contrived()
    section = Section("hostile: one connector against another", _STORY)
    with (
        running_engines() as engines,
        installation(engines, connectors=2) as ours,
        ours.api(core=None, **_LIMITS) as api,
        ours.ready_workers(),
    ):
        section.tables.append(_costs(ours, api, found, effort, say))
        latencies: Latencies = {}
        for number in range(1, effort.rounds + 1):
            for name in _POSTS:
                _compare(ours, name, found, effort, latencies)
                told = ", ".join(f"{key} {values[-1]:.1f}" for key, values in latencies.items() if name in key)
                say(f"round {number} of {effort.rounds}: {told}")
    _tell(section, {name: Figure.of(values) for name, values in latencies.items()})
    return section


def _costs(ours: Installation, api: Process, found: list[Contrived], effort: Effort, say: Say) -> Table:
    table = Table(["body", "sent, KB", "inflated, MB", "answer", "CPU, s", "msgspec, s", "orjson, s"])
    for one in found:
        rounds = [_cost(ours, api, one) for _ in range(effort.rounds)]
        cpu = Figure.of(seconds for _, seconds in rounds)
        parsed = [Figure.of(_seconds(parse, one) for _ in rounds) for parse in (pass_over, build)]
        answer = " or ".join(sorted({str(status) for status, _ in rounds}))
        row = [one.name, f"{len(one.body) / 1024:,.0f}", f"{one.size / _MB:.0f}", answer]
        table.rows.append([*row, cpu.text(".2f"), *(f"{seconds.median:.2f}" for seconds in parsed)])
        say(f"{one.name}: {answer}, {cpu.text('.2f')} s of CPU")
    return table


def _cost(ours: Installation, api: Process, one: Contrived) -> tuple[int, float]:
    """Return the status of one request, and the CPU seconds of the API process."""
    ours.wait_until_drained()
    before = cpu_seconds(api.pid)
    with _connection(ours) as connection:
        status = _post(connection, ours.credentials[1][1], one)
    return status, cpu_seconds(api.pid) - before


def _seconds(parse: Callable[[bytes], None], one: Contrived) -> float:
    body = plain(one)
    gc.disable()  # it would look at millions of objects while they are built
    started = time.process_time()
    if body:
        parse(body)
    seconds = time.process_time() - started
    gc.enable()
    return seconds


def _compare(ours: Installation, name: str, found: list[Contrived], effort: Effort, latencies: Latencies) -> None:
    batch, rate = _POSTS[name]
    job = Job(ours.port, ours.credentials[:1], 16, rate=rate, seconds=effort.seconds(_SECONDS), batch=batch)
    quiet = _latencies(job)
    with _attack(ours, found):
        beside = _latencies(job)
    for condition, values in (("quiet", quiet), ("hostile", beside)):
        for share in (0.5, 0.99):
            latencies.setdefault(f"{name}, {condition}, p{share * 100:.0f}", []).append(percentile(values, share))


def _latencies(job: Job) -> list[float]:
    """Return the milliseconds of all posts; each must be accepted."""
    with load(job) as generator:
        while generator.runs():
            time.sleep(0.01)  # the generator reports when it is done
    outcome = generator.outcome
    if outcome is None or set(outcome.statuses) != {202}:
        raise BenchmarkError(f"The other connector's posts were answered {outcome and outcome.statuses}.")
    return outcome.latencies


@contextlib.contextmanager
def _attack(ours: Installation, found: list[Contrived]) -> Iterator[None]:
    """Send contrived bodies on many connections within the block."""
    statuses: list[int] = []
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_connection(ours)) for _ in range(_HOSTILE)]
        for number, connection in enumerate(opened):
            bodies = found[number % len(found) :] + found[: number % len(found)]
            arguments = (connection, ours.credentials[1][1], bodies, statuses)
            thread = threading.Thread(target=_send_on, args=arguments)
            stack.callback(thread.join)
            thread.start()
        try:
            yield
        finally:
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
    if not statuses:
        raise BenchmarkError("No contrived body was answered.")


def _send_on(connection: socket.socket, credential: str, found: list[Contrived], statuses: list[int]) -> None:
    """Send one body after the other until the connection is shut down."""
    with contextlib.suppress(OSError, BenchmarkError):
        statuses.extend(_post(connection, credential, one) for one in itertools.cycle(found))


@contextlib.contextmanager
def _connection(ours: Installation) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", ours.port), timeout=_PATIENCE_SECONDS) as connection:
        yield connection


def _post(connection: socket.socket, credential: str, one: Contrived) -> int:
    connection.sendall(one.head + b"Authorization: Bearer %b\r\n\r\n" % credential.encode() + one.body)
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < _length(answer):
        part = connection.recv(65536)
        if not part:
            raise BenchmarkError(f"The API closed the connection at {one.name}.")
        answer += part
    return int(answer[9:12])


def _length(answer: bytes) -> int:
    return int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def _tell(section: Section, figures: dict[str, Figure]) -> None:
    table = Table(["posts", "quiet p50", "quiet p99", "hostile p50", "hostile p99", "p50, times", "p99, times"])
    for name in _POSTS:
        p50, p99 = (
            [figures[f"{name}, {condition}, p{share}"] for condition in ("quiet", "hostile")] for share in (50, 99)
        )
        cells = [one.text(".1f") for one in (p50[0], p99[0], p50[1], p99[1])]
        table.rows.append([name, *cells, f"{p50[1].over(p50[0]):.1f}", f"{p99[1].over(p99[0]):.1f}"])
        key = name.replace(" ", "").lower()
        section.figures[f"hostile_{key}_p50_times"] = p50[1].ratio(p50[0])
        section.figures[f"hostile_{key}_p99_times"] = p99[1].ratio(p99[0])
    section.tables.append(table)
    bars = [
        [Bar(f"{name}, {condition}", figures[f"{name}, {condition}, p99"]) for condition in ("quiet", "hostile")]
        for name in _POSTS
    ]
    section.charts = [Chart("p99 of another connector's posts", "ms", bars, ".1f")]

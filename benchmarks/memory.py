"""memory: the peak of an API process and of a worker under the largest load that the limits allow."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks import bodies
from benchmarks.charts import Bar, Chart
from benchmarks.driver import send_all
from benchmarks.load import Job
from benchmarks.measure import BenchmarkError, Effort, Figure, Say
from benchmarks.report import Section, Table
from benchmarks.stack import Installation, installation, running_engines

_MB: Final = 1 << 20
_BODY: Final = 30 * _MB
_IN_FLIGHT: Final = 16
#: Limits: 5 MB for a value, 10 MB for an item.
_VALUE: Final = 5 * _MB - 100
#: Number of bodies that Valkey's 1 GB and the time allow; each is a slice of its own, so more take no more memory.
_ORDINARY: Final = 4
_LARGE_VALUES: Final = 12
#: Timeout in seconds: sixteen such bodies are validated one after the other.
_ANSWER_SECONDS: Final = 240
_TINY_ITEMS: Final = 1_900_000
_STORY: Final = f"""Resident memory at its highest (VmHWM), MB of 1,048,576 bytes. API: {_IN_FLIGHT} connectors send 30
MB each, {_ORDINARY} of them ordinary items, the others six 5 MB values, and hold back the last bytes until all others
have come; idle is an API process that has answered a few requests. Worker: {_ORDINARY} entries of 30 MB of ordinary
items and {_LARGE_VALUES} of six 5 MB values each, on one lane (scaled down from 100 entries: each is a slice of its
own, and Valkey has 1 GB); and one entry of 30 MB with {_TINY_ITEMS:,} items that have nothing but an id."""


def missing() -> list[str]:
    """Return nothing: everything is installed."""
    return []


def measure(effort: Effort, say: Say) -> Section:
    """Measure the four figures."""
    with running_engines() as engines, installation(engines, connectors=_IN_FLIGHT) as ours:
        idle, peak, accepted = _api(ours)
        say(f"API: {idle:.0f} MB idle, {peak:.0f} MB at the highest, {accepted} of {_IN_FLIGHT} accepted")
        loads: dict[str, Callable[[], Iterator[bytes]]] = {
            "worker, entries of 30 MB": lambda: _large(effort),
            "worker, one body of tiny items": lambda: iter([_tiny(effort.count(_TINY_ITEMS))]),
        }
        workers = {name: _worker(ours, make, name, say) for name, make in loads.items()}
    found = {"API, idle": idle, f"API, {accepted} of {_IN_FLIGHT} bodies of 30 MB accepted": peak, **workers}
    figures = {name: Figure.of([value]) for name, value in found.items()}
    section = Section("memory: the largest loads", _STORY)
    section.figures = {
        "memory_api_idle_mb": Figure.of([idle]),
        "memory_api_peak_mb": Figure.of([peak]),
        "memory_worker_peak_mb": Figure.of([max(workers.values())]),
    }
    section.tables = [Table(["process", "MB"], [[name, figure.text()] for name, figure in figures.items()])]
    section.charts = [Chart("memory", "MB", [[Bar(name, figure) for name, figure in figures.items()]])]
    return section


def _api(ours: Installation) -> tuple[float, float, int]:
    """Return the memory while idle, the peak, and how many bodies were accepted."""
    with ours.api(BODY_TIMEOUT_SECONDS="300") as api:
        send_all(ours, Job(ours.port, ours.credentials, 1, requests=50, batch=1))
        idle = api.memory_mb()
        answers = _send_together(ours, [_ordinary()] * _ORDINARY + [_large_values()] * (_IN_FLIGHT - _ORDINARY))
        peak = api.memory_mb("VmHWM")
    ours.forget()
    if not answers.count(202):
        raise BenchmarkError(f"No body of 30 MB was accepted: {answers}.")
    return idle, peak, answers.count(202)


def _send_together(ours: Installation, sent: list[bytes]) -> list[int]:
    """Send all but the last bytes of each body, then the rest of all of them; return the statuses."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_connect(ours.port)) for _ in ours.credentials]
        for connection, body, (_, credential) in zip(opened, sent, ours.credentials, strict=True):
            _send(connection, _head(credential, body) + body[:-64])
        time.sleep(1)  # the API reads what the kernel still holds
        for connection, body in zip(opened, sent, strict=True):
            _send(connection, body[-64:])
        return [_status(connection) for connection in opened]


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)


def _head(credential: str, body: bytes) -> bytes:
    return (
        f"POST /api/ingest HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {credential}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()


def _send(connection: socket.socket, data: bytes) -> None:
    """Send bytes; an API that refuses may close before, and its answer says so."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)


def _status(connection: socket.socket) -> int:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
    return int(answer[9:12] or 0)


def _worker(ours: Installation, make: Callable[[], Iterator[bytes]], name: str, say: Say) -> float:
    """Return the peak memory of a worker that drains some bodies of one connector."""
    with ours.api():
        for body in make():
            with _connect(ours.port) as connection:
                _send(connection, _head(ours.credentials[0][1], body) + body)
                if (status := _status(connection)) != 202:  # noqa: PLR2004 - accepted
                    raise BenchmarkError(f"A body of {len(body) / _MB:.1f} MB was answered {status}.")
    say(f"{name}: {ours.pending()} entries wait")
    with ours.workers() as started:
        ours.wait_until_drained()
        peak = started[0].memory_mb("VmHWM")
    say(f"{name}: {peak:,.0f} MB at the highest")
    return peak


def _large(effort: Effort) -> Iterator[bytes]:
    yield from [_ordinary()] * effort.count(_ORDINARY)
    yield from [_large_values()] * effort.count(_LARGE_VALUES)


def _large_values() -> bytes:
    """Return a body of almost 30 MB in six values."""
    value = "The quick brown fox. " * (_VALUE // 21)
    items = [{"id": f"document-{number}", "fields": {"text": value}} for number in range(6)]
    items[-1]["fields"] = {"text": value[: _VALUE - 4096]}
    return json.dumps({"stream": "documents", "items": items}).encode()


def _ordinary() -> bytes:
    """Return a body of 30 MB at most."""
    size = len(bodies.batch(0)) // bodies.BATCH + 1
    return bodies.fill(bodies.cut(bodies.batch(0, _BODY // size)), bodies.FIRST_STAMP)


def _tiny(count: int) -> bytes:
    """Return as many items with an id alone as fit."""
    items = b",".join(b'{"id":"%x"}' % number for number in range(count))
    return b'{"stream":"tiny","items":[%s]}' % items

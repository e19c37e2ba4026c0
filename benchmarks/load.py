"""`python -m benchmarks.load job.json`: sends batches over raw HTTP/1.1, at a fixed rate or as fast as it may.

It is a process of its own, so that the harness does not disturb its clock. Its argument names the JSON file of its job.
Lines on standard input raise the number of items that it may send in all; the end of the input ends it. On standard
output it reports, each as a JSON line, how many items were accepted so far, the requests that it chose as samples, and
in the end its outcome. Times are those of `time.monotonic`, which the processes of a machine share.

At a fixed rate a latency counts from the moment when the request was due, unless its connection was idle until that
moment: a server that stalls is charged for the requests that it delays.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import bodies

_TELL_SECONDS: Final = 0.1
#: Pause in seconds after a 503 or 429; the refused request is not repeated.
_REFUSED_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 60.0
_ACCEPTED: Final = 202


class Job(msgspec.Struct):
    """The requests to send. A job ends after `seconds` or after `requests`."""

    port: int
    #: Ids and credentials of the connectors, used in turn.
    credentials: list[tuple[int, str]]
    connections: int = 16
    #: Requests per second; None: as fast as answers come.
    rate: float | None = None
    seconds: float | None = None
    requests: int | None = None
    #: Whether lines on standard input limit the number of items.
    gated: bool = False
    #: Number of distinct items, items in a batch, and number of batches that are used.
    ids: int = 10_000
    batch: int = bodies.BATCH
    batches: int = 2_000
    shuffled: bool = False
    first_stamp: int = bodies.FIRST_STAMP
    #: Whether each request has another number, so that every item has changed when it is sent again.
    changing: bool = True
    #: Interval in seconds at which a request is reported as a sample.
    sample_every: float | None = None


class Outcome(msgspec.Struct):
    """The result of a job."""

    #: Number of answers with each status.
    statuses: dict[int, int] = {}
    #: Milliseconds to each 202.
    latencies: list[float] = []
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Told(msgspec.Struct, omit_defaults=True):
    """A line of standard output: one of these members."""

    accepted: int | None = None
    #: Connector, request id, when it was sent, when its 202 came.
    sample: tuple[int, str, float, float] | None = None
    outcome: Outcome | None = None


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect one answer; every answer has a Content-Length."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._buffer = b""
        if self._answer and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits for an answer."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    async def exchange(self, request: list[bytes]) -> tuple[int, bytes]:
        """Send a request and wait for its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines(request)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._answer


def _content_length(head: bytes) -> int:
    start = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[start:].split(b"\r\n", 1)[0])


class Generator:
    """Sends the requests of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._templates = bodies.templates(job.ids, job.batch, job.batches)
        self._order = bodies.sequence(job.requests or 100_000, len(self._templates), shuffled=job.shuffled)
        self._heads = [_head(credential) for _, credential in job.credentials]
        self._next = 0
        self._allowed = 0
        self._gate = asyncio.Event()
        self._sample_due = 0.0
        self.accepted = 0
        self.outcome = Outcome()

    def allow(self, items: int) -> None:
        """Allow `items` items to be sent in all."""
        self._allowed = max(self._allowed, items)
        self._gate.set()

    async def run(self) -> None:
        """Use all connections until the job is done."""
        loop = asyncio.get_running_loop()
        opened = [await loop.create_connection(Connection, "127.0.0.1", self._job.port) for _ in self._connections()]
        self._started = time.monotonic()
        await asyncio.gather(*(self._use(connection) for _, connection in opened))
        self.outcome.seconds = time.monotonic() - self._started
        self.outcome.cpu_seconds = time.process_time()

    def _connections(self) -> range:
        return range(min(self._job.connections, self._job.requests or self._job.connections))

    async def _use(self, connection: Connection) -> None:
        """Send one request after the other on a connection."""
        while (number := self._take()) is not None:
            begun = await self._until_due(number)
            if begun is None:
                return
            status, body = await connection.exchange(self._request(number))
            await self._note(number, begun, status, body)

    def _take(self) -> int | None:
        """Return the number of the next request, None if there is no further one."""
        job, number = self._job, self._next
        if job.requests is not None and number >= job.requests:
            return None
        self._next += 1
        return number

    async def _until_due(self, number: int) -> float | None:
        """Wait until the request is due; return the moment from which its latency counts, None if the time is over."""
        job = self._job
        while job.gated and (number + 1) * job.batch > self._allowed and not self._over(time.monotonic()):
            self._gate.clear()
            await self._gate.wait()
        due = self._started + number / job.rate if job.rate else 0.0
        now = time.monotonic()
        if self._over(max(now, due)):
            return None
        if due > now:
            await asyncio.sleep(due - now)
            return time.monotonic()
        return due or now

    def _over(self, moment: float) -> bool:
        return self._job.seconds is not None and moment > self._started + self._job.seconds

    def _request(self, number: int) -> list[bytes]:
        job = self._job
        stamp = job.first_stamp + (number % 8_000_000 if job.changing else 0)
        body = bodies.fill(self._templates[self._order[number % len(self._order)]], stamp)
        return [self._heads[number % len(self._heads)], b"%d\r\n\r\n" % len(body), body]

    async def _note(self, number: int, begun: float, status: int, body: bytes) -> None:
        now = time.monotonic()
        self.outcome.statuses[status] = self.outcome.statuses.get(status, 0) + 1
        if status != _ACCEPTED:
            await asyncio.sleep(_REFUSED_SECONDS)
            return
        self.accepted += self._job.batch
        self.outcome.latencies.append(round((now - begun) * 1000, 3))
        if self._job.sample_every and now >= self._sample_due:
            self._sample_due = now + self._job.sample_every
            connector = self._job.credentials[number % len(self._heads)][0]
            tell(Told(sample=(connector, msgspec.json.decode(body)["requestId"], begun, now)))


def _head(credential: str) -> bytes:
    return (
        "POST /api/ingest HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {credential}\r\nContent-Type: application/json\r\nContent-Length: "
    ).encode()


def tell(told: Told) -> None:
    """Write one line to the harness."""
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


async def _listen(generator: Generator) -> None:
    """Read how many items may be sent."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        generator.allow(int(line))
    os._exit(1)  # the harness has ended


async def _tell_accepted(generator: Generator) -> None:
    while True:
        await asyncio.sleep(_TELL_SECONDS)
        tell(Told(accepted=generator.accepted))


async def do(job: Job) -> None:
    """Do the job, and report its outcome."""
    generator = Generator(job)
    beside = [asyncio.create_task(_listen(generator)), asyncio.create_task(_tell_accepted(generator))]
    await generator.run()
    for task in beside:
        task.cancel()
    tell(Told(accepted=generator.accepted, outcome=generator.outcome))


def main() -> None:
    """Read the job and do it, on uvloop if it is installed."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(do(job))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        return importlib.import_module("uvloop").new_event_loop  # type: ignore[no-any-return] # not on Windows
    return None


if __name__ == "__main__":
    main()

"""`python -m ingest_api.large_bodies`: inflate and check large bodies, one after the other, apart from the event loop.

Started by `http/body_processes.py`, from which it gets each body through a socket, its standard input. A parser in C
holds its interpreter until it has read all, so a thread of the API process would keep the event loop from running.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import traceback
from typing import Any, Final, TypeVar

import msgspec

from ingest_api.checks import Body, Check, Findings
from ingest_api.errors import ApiError
from ingest_api.http.inflation import inflate
from shared.process.allocator import give_back_memory_at_once

#: Maximum time for a body in seconds; on an idle machine the worst takes two.
MAX_SECONDS: Final = 60
#: Raises the process's niceness: if cores are scarce, the event loop gets one first.
_NICENESS: Final = 5
_HEAD_LENGTH_BYTES: Final = 4

Head = TypeVar("Head")


class Job(msgspec.Struct):
    """A body to examine; its bytes follow."""

    check: Check
    is_gzip: bool
    size: int


class Outcome(msgspec.Struct):
    """What came of a job: findings, a refusal or a crash. The inflated body follows if it was accepted and is kept."""

    findings: Findings | None = None
    #: An ApiError, packed.
    refusal: dict[str, Any] | None = None
    #: Traceback of an unexpected error.
    crash: str = ""
    #: Bytes that follow.
    size: int = 0


def send(connection: socket.socket, head: Job | Outcome, body: Body) -> None:
    """Send a head and the bytes that follow it."""
    packed = msgspec.msgpack.encode(head)
    connection.sendall(len(packed).to_bytes(_HEAD_LENGTH_BYTES) + packed)
    connection.sendall(body)


def receive_head(connection: socket.socket, kind: type[Head]) -> Head:
    """Wait for a head. Raises EOFError if the other process has ended."""
    length = int.from_bytes(receive(connection, _HEAD_LENGTH_BYTES))
    return msgspec.msgpack.decode(receive(connection, length), type=kind)


def receive(connection: socket.socket, size: int) -> bytes:
    """Return so many bytes, which nearly always come in one piece. Raises EOFError if the other process has ended."""
    data = connection.recv(size, socket.MSG_WAITALL)
    while len(data) < size:
        more = connection.recv(size - len(data), socket.MSG_WAITALL)
        if not more:
            raise EOFError
        data += more
    return data


def examine(job: Job, body: bytes) -> tuple[Outcome, bytes]:
    """Return the outcome, and the bytes that follow it."""
    try:
        if job.is_gzip:
            body = inflate(body)
        findings = job.check(body)
    except ApiError as refusal:
        return Outcome(refusal=refusal.packed()), b""
    except Exception:  # noqa: BLE001 - the API process logs it and answers
        return Outcome(crash=traceback.format_exc()), b""
    inflated = body if job.is_gzip and job.check.keeps_body else b""
    return Outcome(findings, size=len(inflated)), inflated


def main() -> None:
    """Examine bodies until the API process ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes at once: bodies at hand are still answered
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    give_back_memory_at_once()
    gc.freeze()
    connection = socket.socket(fileno=os.dup(0))
    with contextlib.suppress(EOFError, OSError):
        while True:
            _serve(connection)


def _serve(connection: socket.socket) -> None:
    """Examine one body, and hold nothing of it afterwards."""
    job = receive_head(connection, Job)
    signal.alarm(MAX_SECONDS)  # ends a process that hangs, even if the API process is gone
    send(connection, *examine(job, receive(connection, job.size)))
    signal.alarm(0)
    gc.collect()  # an error that was handled, and its traceback, hold each other and parts of the body


if __name__ == "__main__":
    main()

"""Output: no reader, disk or pipe holds up the process, and what is lost is counted."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from shared.process import output
from shared.process.log import configure_logging, count_lost_lines, finish_log, log_often
from shared.process.output import Lines, Printed


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(writer)
    for thread in threading.enumerate():
        if thread.name == "reader":
            thread.join()  # it sees the end; its file's number may be another's next
    with contextlib.suppress(OSError):  # a test has closed it
        os.close(reader)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_MAX_WAITING_BYTES", 100_000)


@pytest.fixture
def _own_streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr("shared.process.log._often", None)
    yield
    structlog.reset_defaults()


class Reader:
    """Reads a pipe in a thread."""

    def __init__(self, file: int) -> None:
        self.read = b""
        self._file = file
        threading.Thread(target=self._run, name="reader", daemon=True).start()

    def _run(self) -> None:
        while chunk := os.read(self._file, 65536):
            self.read += chunk

    def lines(self, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
        """Wait until the lines that were read are enough."""
        deadline = time.monotonic() + 30
        while not enough(lines := self.read.splitlines()):
            assert time.monotonic() < deadline, f"{len(lines)} lines, the last: {lines[-1:]}"
            time.sleep(0.01)
        return lines


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    reader, lines = Reader(pipe[0]), Lines(pipe[1])
    sent = [b"%d %s" % (number, b"x" * (number % 9_000)) for number in range(2_000)]
    lost: list[int] = []
    lines.on_lost = lost.append

    for line in sent:
        lines.add(line)
        if len(line) > 8_900:
            lines.wait(time.monotonic() + 10)

    assert reader.lines(lambda found: len(found) == len(sent)) == sent
    assert lost == []


@pytest.mark.usefixtures("small")
def test_a_pipe_that_is_not_read_holds_up_nothing_and_what_was_lost_is_counted(pipe: tuple[int, int]) -> None:
    lines, lost = Lines(pipe[1]), [0]
    notes: list[int] = []
    lines.on_lost = lambda more: lost.append(lost.pop() + more)

    def note(_logger: Any, _method: str, event: Any) -> str:
        notes.append(event["lines"])
        lines.add(b"note")
        raise structlog.DropEvent

    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    try:
        lines.add(b"0 " + b"x" * 90_000)  # more than the pipe takes: the thread waits in the middle of it
        assert select.select([pipe[0]], [], [], 30)[0]
        for number in range(1, 10_000):
            lines.add(b"%d %s" % (number, b"x" * 100))
        assert lost[0] > 5_000

        reader = Reader(pipe[0])
        found = reader.lines(lambda found: b"note" in found)
    finally:
        structlog.reset_defaults()

    assert notes == lost
    kept = [int(line.split()[0]) for line in found if line != b"note"]
    assert kept == sorted(kept)
    assert len(kept) == 10_000 - lost[0]
    assert found[-1] == b"note", "the loss is told in its place: behind the lines that were added before it"


def test_a_reader_that_went_away_costs_lines_only(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1])
    lost: list[int] = []
    lines.on_lost = lost.append
    os.close(pipe[0])

    lines.add(b"first")
    lines.add(b"second")
    lines.finish()

    assert sum(lost) == 2


def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, room = bytearray(), 4
    lost: list[int] = []

    def write(_file: int, data: bytes) -> int:
        if len(disk) == room:
            raise OSError(errno.ENOSPC, "No space left on device")
        disk.extend(data[: room - len(disk)])
        return min(len(data), room)

    monkeypatch.setattr(os, "write", write)
    lines = Lines(-1)
    lines.on_lost = lost.append

    lines.add(b"cut off")
    lines.wait(time.monotonic() + 10)
    room = 100
    lines.add(b"next")
    lines.wait(time.monotonic() + 10)

    assert disk.startswith(b"cut \nnext\n")
    assert lost == [1]


def test_a_forked_process_writes_too(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1])
    child = os.fork()
    if not child:
        lines.add(b"from the child")
        lines.finish()
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0
    assert os.read(pipe[0], 100) == b"from the child\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_costs_lines_only() -> None:
    lost: list[int] = []
    with Path("/dev/full").open("wb") as full:
        lines = Lines(full.fileno())
        lines.on_lost = lost.append
        for _ in range(100):
            lines.add(b"line")
        lines.finish()

    assert sum(lost) == 100


def test_what_is_printed_becomes_whole_lines(pipe: tuple[int, int]) -> None:
    reader = Reader(pipe[0])
    printed = Printed(pipe[1], sys.__stdout__)

    print("one", 1, file=printed)
    print("half", end="", file=printed)
    print(" and half\nthree\ud800", file=printed)
    print("no end", end="", file=printed, flush=True)

    assert reader.lines(lambda found: len(found) == 4) == [b"one 1", b"half and half", b"three\\ud800", b"no end"]


@pytest.mark.usefixtures("_own_streams")
def test_prints_tracebacks_and_log_lines_keep_their_order(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")

    log_often("request", {})
    sys.stdout.write("printed\n")
    structlog.get_logger().info("logged")
    sys.stderr.write("error\n")
    finish_log()

    out, err = capfd.readouterr()
    assert [line if line == "printed" else json.loads(line)["event"] for line in out.splitlines()] == [
        "request",
        "printed",
        "logged",
    ]
    assert err == "error\n"


@pytest.mark.usefixtures("_own_streams")
def test_a_process_without_stdout_writes_its_lines_into_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    lost: list[int] = []
    configure_logging("json", "info")
    count_lost_lines(lost.append)

    structlog.get_logger().info("logged")
    finish_log()

    assert lost == [1]

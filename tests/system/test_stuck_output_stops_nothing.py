"""A process whose log can't be written goes on, ends when told to, and counts the lines that it lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import httpx
import pytest

from tests.preloaded import Forked
from tests.support.client import Connector, get, item
from tests.support.processes import PreloadedPython, free_port, wait_until
from tests.support.stack import Stack

Fault = Literal["not read", "reader gone", "disk full"]
_FULL = Path("/dev/full")


class Writer(PreloadedPython):
    """A process that writes to a given file."""

    def __init__(self, module: str, output: Path, stack: Stack, **settings: object) -> None:
        self._given = output
        engines = {"DATABASE_URL": stack.database_url, "REDIS_URL": stack.redis_url}
        super().__init__(module, folder=stack.folder, **engines, **settings)

    def _start(self, words: Sequence[str | Path], folder: Path, environ: Mapping[str, str]) -> Forked:
        self._output = self._given
        return super()._start(words, folder, environ)

    @property
    def printed(self) -> str:
        """Nothing: reading the file is up to the test."""
        return ""


class Pipe:
    """A named pipe that is full."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self._open = True
        while self._fill():
            pass

    def _fill(self) -> bool:
        try:
            os.write(self._writer, b"." * 4096)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        os.close(self._writer)

    def leave(self) -> None:
        """Close the reading end."""
        if self._open:
            os.close(self._reader)
        self._open = False

    def read(self) -> bytes:
        """Return what is in the pipe."""
        try:
            return os.read(self._reader, 1 << 20)
        except BlockingIOError:
            return b""


@contextmanager
def broken(fault: Fault, folder: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield a file to write to, and what makes it fail once it is open."""
    if fault == "disk full":
        yield _FULL, lambda: None
        return
    with Pipe(folder / "pipe") as pipe:
        yield pipe.path, pipe.leave if fault == "reader gone" else lambda: None


@pytest.mark.parametrize("fault", ["not read", "reader gone", "disk full"])
def test_every_process_works_and_ends_without_its_log(
    fault: Fault, workerless: Stack, new_connector: Callable[..., Connector], tmp_path: Path
) -> None:
    if fault == "disk full" and not _FULL.exists():
        pytest.skip("the system has no /dev/full")
    connector, port = new_connector(workerless), free_port()
    url = f"http://127.0.0.1:{port}"
    with broken(fault, tmp_path) as (output, break_it):
        api, worker, sweeper = processes = (
            Writer("ingest_api", output, workerless, PORT=port),
            Writer("workers", output, workerless),
            Writer("workers.sweep", output, workerless),
        )
        with api, worker, sweeper:
            break_it()
            wait_until("the API is ready", lambda: _is_ready(url))
            for number in range(20):
                Connector(connector.id, connector.credential, url).send(item("one", number=str(number)))

            def is_applied() -> bool:
                assert all(process.runs for process in processes), [
                    process.name for process in processes if not process.runs
                ]
                return workerless.fields(connector, "one") == {"number": "19"}

            wait_until("all is applied", is_applied)
            if fault != "not read":
                wait_until("the loss is counted", lambda: _lost(url) >= 20)

            for process in processes:
                process.send(signal.SIGTERM)
            ended = {process.name: process.ends() for process in processes}

    # A sweeper may not have got as far as to handle the signal.
    assert ended.pop("workers.sweep") in (0, -signal.SIGTERM)
    assert ended == {"ingest_api": -signal.SIGTERM, "workers": 0}


def test_lines_that_were_lost_are_reported_once_the_log_is_read_again(workerless: Stack, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Pipe(tmp_path / "pipe") as pipe, Writer("ingest_api", pipe.path, workerless, PORT=port) as api:
        wait_until("the API is ready", lambda: _is_ready(url))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not (lost := _lost(url)):
            for _ in range(50):
                connection.request("GET", f"/{'long' * 12_000}")
                connection.getresponse().read()
        connection.close()

        read = b""

        def reported() -> list[int]:
            nonlocal read
            read += pipe.read()
            found = re.findall(rb'^\{.*"log_lines_lost".*\}$', read, re.MULTILINE)
            return [json.loads(line)["lines"] for line in found]

        told = wait_until("the loss is reported", reported)
        assert api.runs

    # The request that asked for the count may itself have been lost.
    assert 0 <= sum(told) - lost <= 1


def _is_ready(url: str) -> bool:
    try:
        return get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _lost(url: str) -> float:
    metrics = get(f"{url}/metrics").json()["metrics"]
    return float(sum(one["value"] for one in metrics if one["name"] == "ingest_log_lines_lost_total"))

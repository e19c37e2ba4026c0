"""The connector that is judged: a process that reads rows from its standard input."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import termios
import time
from collections.abc import Sequence
from typing import Any

from .emulator import Emulator

#: Interval of looking, in seconds.
_POLL = 0.25


class Subject:
    """The connector's process; started again if it has ended."""

    def __init__(self, command: Sequence[str], emulator: Emulator, *, interval: float) -> None:
        self._command = list(command)
        self._emulator = emulator
        self._interval = interval
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    def start(self) -> None:
        """See that the process runs."""
        if self.runs:
            return
        self.stop()
        environment = {
            **os.environ,
            "INSPIRE_BASE_URL": self._emulator.url,
            "INSPIRE_INGEST_KEY": self._emulator.credential,
            "INSPIRE_CONFORM_SECONDS": f"{self._interval:g}",
        }
        self.started_at = time.time()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
        )

    @property
    def runs(self) -> bool:
        """Return whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def feed(self, *rows: dict[str, Any]) -> None:
        """Write rows to its standard input."""
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        with contextlib.suppress(BrokenPipeError):  # it has ended; the rule finds that nothing came
            self._stdin.write(text.encode())
            self._stdin.flush()

    def has_read_all(self) -> bool:
        """Return whether it has taken everything from its standard input."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._stdin, termios.FIONREAD, waiting)
        return not self.runs or waiting[0] == 0

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End the process and its children."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._process.wait()
        self._process = None

    @property
    def _stdin(self) -> Any:
        assert self._process is not None  # noqa: S101 - rules start it first
        return self._process.stdin


def until(condition: Any, seconds: float) -> bool:
    """Return whether a condition comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True

"""Real processes: start, listen to, signal and end them by pid. Imports nothing of the product."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.preloaded import Forked

ROOT = Path(__file__).parents[2]
#: Deadline in seconds for what takes a moment; generous, since two slow cores may be busy with other work.
PATIENCE = 30.0
_POLL_SECONDS = 0.02
#: None is given twice: of two that are chosen before a server has the first, the system may return the same.
_GIVEN_PORTS = {0}
#: Variables of a developer's environment that would change what the tests start; proxies would intercept localhost.
_NOT_INHERITED = re.compile(
    r"DATABASE_URL|(?:QUEUE_)?REDIS_\w+|SURFACES|HOST|PORT|DATA_DIR|RUN_DIR|WORKERS|WEB_CONCURRENCY|ACCEPT_DATA_LOSS|DATAPOOL_ADDRESS"
    r"|LOG_\w+|OTEL_\w+|SECRETS_KEY|WAIT_REPLICAS|MAX_\w+|\w+_SECONDS|PG[A-Z]+|(?i:\w+_proxy)"
)

Found = TypeVar("Found")


def wait_until(what: str, condition: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """Poll `condition` and return its first true value; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"Waited {seconds:g} s in vain until {what}."
        time.sleep(_POLL_SECONDS)
    return found


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of a process of the product: the inherited one without settings, and these settings."""
    inherited = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.fullmatch(name)}
    given = {name: str(value) for name, value in settings.items()}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **given}


def free_port() -> int:
    """Return a port that no process listens on at the moment, another one each time."""
    port = 0
    while port in _GIVEN_PORTS:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
    _GIVEN_PORTS.add(port)
    return port


class UnreadPipe:
    """A named pipe of 4 KB whose reading end is open and is not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._end: int | None = os.open(path, os.O_RDWR)
        fcntl.fcntl(self._end, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)

    def is_full(self) -> bool:
        """Return whether no line fits any more."""
        return self._end is not None and not select.select([], [self._end], [], 0)[1]

    def close(self) -> None:
        """Close the reading end."""
        if self._end is not None:
            os.close(self._end)
            self._end = None


class Process:
    """One process. Use it as a context, at whose end it has ended."""

    def __init__(
        self, words: Sequence[str | Path], *, folder: Path, name: str, unread: object = False, **settings: object
    ) -> None:
        self.name = name
        self._pipe = UnreadPipe(folder / f"{name}.{time.monotonic_ns()}.pipe") if unread else None
        self._output = self._pipe.path if self._pipe else folder / f"{name}.{time.monotonic_ns()}.out"
        self._output.touch()
        self._process = self._start(words, folder, environment(**{"RUN_DIR": folder / "run", **settings}))
        self.pid = self._process.pid

    def _start(
        self, words: Sequence[str | Path], folder: Path, environ: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | Forked:
        with self._output.open("ab") as output:
            return subprocess.Popen(
                words, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def printed(self) -> str:
        """Everything printed so far; nothing of what goes into a pipe that is not read."""
        return "" if self._pipe else self._output.read_text(errors="replace")

    @property
    def is_stuck(self) -> bool:
        """Whether the process can't print, since what it has printed is not read."""
        return self._pipe is not None and self._pipe.is_full()

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def says(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait until a printed line matches `pattern`."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.printed, re.MULTILINE)
            assert found or self.runs, f"{self.name} ended without saying {pattern!r}:\n{self.printed}"
            return found

        try:
            return wait_until(f"{self.name} says {pattern!r}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nIt said:\n{self.printed}") from None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for the exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended after {seconds:g} s:\n{self.printed}") from None

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the process does not end."""
        if self.runs:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self.runs:
            self.send(signal.SIGKILL)
        self._process.wait()
        if self._pipe:
            self._pipe.close()

    def family(self) -> list[int]:
        """Return the pids of the process and of all its descendants."""
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = {int(pid): int(parent) for pid, parent in map(str.split, table.splitlines())}
        found = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)


class Python(Process):
    """`python -m module`, started from nothing."""

    def __init__(self, module: str, *words: str, folder: Path, **settings: object) -> None:
        self._module = module
        super().__init__(
            [sys.executable, "-m", module, *words],
            folder=folder,
            name=module.replace("operations.local.run", "run"),
            **settings,
        )


class PreloadedPython(Python):
    """The same program, forked from a process that has imported it."""

    def _start(self, words: Sequence[str | Path], folder: Path, environ: Mapping[str, str]) -> Forked:
        # A package is run by its `__main__`.
        module = self._module if "." in self._module else f"{self._module}.__main__"
        output = self._output
        return Forked(module, [*map(str, words[2:])], folder=folder, environ=environ, stdout=output, stderr=output)


def refuses_to_start(process: Process) -> str:
    """Return the one sentence with which the process ended, with a non-zero status of its own."""
    with process:
        status = process.ends()
        assert status > 0, f"{process.name} ended with {status}:\n{process.printed}"
        return one_sentence(process.printed)


def one_sentence(text: str) -> str:
    """Return the only line of `text`, which must end like a sentence."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert re.search(r"[.!)]$", lines[0]), text
    return lines[0]


def run(words: Sequence[str | Path] | str, *, folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end: a list of words, or a line for the shell."""
    return subprocess.run(
        words,
        shell=isinstance(words, str),
        env=environment(**settings),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def is_alive(pid: int) -> bool:
    """Return whether a process has not ended; a zombie has."""
    return pid in _alive()


def _alive() -> set[int]:
    table = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    return {int(pid) for pid, state in map(str.split, table.splitlines()) if not state.startswith("Z")}


def assert_all_gone(pids: Sequence[int]) -> None:
    """Wait until none of these processes is left."""
    wait_until(f"none of {pids} is left", lambda: _alive().isdisjoint(pids))


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process. Linux only."""
    status: Any = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024  # type: ignore[index] # always there


def is_asleep(pid: int) -> bool:
    """Return True if a process' main thread waits for something. Linux only."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

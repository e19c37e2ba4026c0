"""Real processes: started, listened to, signalled and ended by their pid. Nothing of the project is imported."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

ROOT = Path(__file__).parents[2]
#: How long anything may take that should take a moment: two slow cores, and somebody else at work on them.
PATIENCE = 30.0
_LOOK_SECONDS = 0.02
#: A developer's own settings are not the tests' business; nor is a proxy, to reach this machine.
_NOT_INHERITED = re.compile(
    r"DATABASE_URL|REDIS_URL|SURFACES|HOST|PORT|DATA_DIR|WORKERS|WEB_CONCURRENCY|ACCEPT_DATA_LOSS|DATAPOOL_ADDRESS"
    r"|LOG_\w+|MAX_\w+|\w+_SECONDS|PG[A-Z]+|(?i:\w+_proxy)"
)

Found = TypeVar("Found")


def wait_until(what: str, condition: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """What `condition` finds, as soon as that is true of anything; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"Waited {seconds:g} s until {what}, in vain."
        time.sleep(_LOOK_SECONDS)
    return found


def environment(**settings: object) -> dict[str, str]:
    """What a process of ours finds in its environment."""
    inherited = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.fullmatch(name)}
    given = {name: str(value) for name, value in settings.items()}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **given}


def free_port() -> int:
    """A port that nobody listens on, just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One process; use it as a context, at whose end it has ended."""

    def __init__(self, words: Sequence[str | Path], *, folder: Path, name: str, **settings: object) -> None:
        self.name = name
        self._output = folder / f"{name}.{time.monotonic_ns()}.out"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                words,
                env=environment(**settings),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def printed(self) -> str:
        """All that it printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def says(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Waits until it has printed a line like this."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.printed, re.MULTILINE)
            assert found or self.runs, f"{self.name} ended without saying {pattern!r}:\n{self.printed}"
            return found

        try:
            return wait_until(f"{self.name} says {pattern!r}", look, seconds)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\nIt said:\n{self.printed}") from None

    def send(self, number: signal.Signals) -> None:
        """Signals it."""
        self._process.send_signal(number)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Waits for its exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended after {seconds:g} s:\n{self.printed}") from None

    def stop(self) -> None:
        """Asks it to end, or ends it."""
        if self.runs:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self.kill()

    def kill(self) -> None:
        """`kill -9`."""
        if self.runs:
            self.send(signal.SIGKILL)
        self._process.wait()

    def family(self) -> list[int]:
        """It and all that it started, directly or not."""
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = {int(pid): int(parent) for pid, parent in map(str.split, table.splitlines())}
        found = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)


class Python(Process):
    """`python -m module`."""

    def __init__(self, module: str, *words: str, folder: Path, **settings: object) -> None:
        super().__init__(
            [sys.executable, "-m", module, *words],
            folder=folder,
            name=module.replace("operations.local.run", "run"),
            **settings,
        )


def refuses_to_start(process: Process) -> str:
    """The one sentence with which it ended, with a non-zero status."""
    with process:
        status = process.ends()
        assert status not in (0, None), process.printed
        assert status > 0, f"{process.name} was ended by a signal"
        return one_sentence(process.printed)


def one_sentence(text: str) -> str:
    """The only line of `text`, which reads like a sentence."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert re.search(r"[.!)]$", lines[0]), text
    return lines[0]


def run(words: Sequence[str | Path] | str, *, folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end: a list of words, or a line for the shell."""
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
    """Whether a process has not ended; one that only nobody has waited for has."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def assert_all_gone(pids: Sequence[int]) -> None:
    """None of these processes is left."""
    wait_until(f"none of {pids} is left", lambda: not any(map(is_alive, pids)))


def resident_bytes(pid: int) -> int:
    """Memory that a process holds. Linux."""
    status: Any = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024  # type: ignore[index] # always there

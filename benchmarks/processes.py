"""Processes of a benchmark: started on a core, measured in /proc, ended with all their descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measure import BenchmarkError
from operations.local.child import Child, spawn

ROOT: Final = Path(__file__).resolve().parents[1]
_PROC: Final = Path("/proc")
_UP_SECONDS: Final = 30
_DOWN_SECONDS: Final = 15


@dataclass(frozen=True)
class Process:
    """A running process with its descendants."""

    name: str
    pid: int
    child: Child
    log: Path

    def check(self) -> None:
        """Raise BenchmarkError if the process has ended."""
        if self.child.ended() is not None:
            told = self.log.read_text(errors="replace")[-1500:]
            raise BenchmarkError(f"{self.name} ended unexpectedly:\n{told}")

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Return its current memory, or its peak (VmHWM)."""
        return memory_mb(self.pid, field)


#: Cores before any process was pinned; none if a process cannot be pinned.
_CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Pin what is started in the block to one core, like `taskset`; None: do not pin."""
    if core is None or core >= len(_CORES) or len(_CORES) == 1:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_CORES[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    name: str, argv: Sequence[str], environ: Mapping[str, str], *, cwd: Path = ROOT, core: int | None = None
) -> Iterator[Process]:
    """Run a process within the block; end it and its children afterwards."""
    with tempfile.NamedTemporaryFile(prefix=f"bench-{name}-", suffix=".log") as log:
        with on_core(core):
            every = {**os.environ, **environ}
            child = spawn(argv, death_signal=signal.SIGKILL, environ=every, output=log.file, cwd=cwd)
        try:
            yield Process(name, child.pid, child, Path(log.name))
        finally:
            child.send(signal.SIGTERM)
            if not child.wait(_DOWN_SECONDS):
                child.kill()
            _end_group(child.pid)


def python(*module: str) -> list[str]:
    """Return the command line of a Python module."""
    return [sys.executable, "-m", *module]


def _end_group(group: int) -> None:
    """End the children that are left: they would disturb the next measurement."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def free_port() -> int:
    """Return a port that no process listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answers(request: str | urllib.request.Request, process: Process, status: int = 200) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + _UP_SECONDS
    while time.monotonic() < deadline:
        process.check()
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            if answer.status == status:
                return
        time.sleep(0.05)  # a server reports no event to wait for
    told = process.log.read_text(errors="replace")[-1500:]
    raise BenchmarkError(f"{process.name} did not start within {_UP_SECONDS} s:\n{told}")


def tree(pid: int) -> list[int]:
    """Return the pids of a process and its descendants."""
    found = [pid]
    for known in found:
        with contextlib.suppress(OSError):
            for task in (_PROC / str(known) / "task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, including those that have ended."""
    ticks = 0
    for known in tree(pid):
        with contextlib.suppress(OSError):
            stat = (_PROC / str(known) / "stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(value) for value in stat[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Return the resident memory (VmRSS) of a process, or its peak (VmHWM), in MB of 1,048,576 bytes."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return float("nan")


def memory_of_all_mb(pid: int) -> float:
    """Return the memory of a process and its children, with shared memory counted once (PSS)."""
    kilobytes = 0
    for known in tree(pid):
        with contextlib.suppress(OSError):
            lines = (_PROC / str(known) / "smaps_rollup").read_text().splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024

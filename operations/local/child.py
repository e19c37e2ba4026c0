"""Start processes that end when this process ends, even by `kill -9`.

`spawn` starts every process of the supervisor, in a session of its own: Ctrl-C in the terminal reaches only the
supervisor, which stops the others in order. `launch` describes how a child is tied to its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from operations.local import launch

#: Whether a guard process has to do what the kernel does on Linux.
NEEDS_GUARD: Final = sys.platform != "linux"
#: Seconds between a guard's signal and its SIGKILL: Postgres' fast shutdown writes a checkpoint.
_GUARD_GRACE_SECONDS: Final = 10.0
#: As `output` of `spawn`: makes the output readable from `Child.output`.
PIPE: Final = subprocess.PIPE


@dataclass(frozen=True)
class RunAs:
    """The user that the child becomes before it executes the program."""

    uid: int
    gid: int
    #: Its user id in a user namespace of its own, while files still see `uid`; None: no namespace.
    alias: int | None = None


class Child:
    """A process started by `spawn`."""

    def __init__(self, process: subprocess.Popen[bytes], guard_pipe: int | None) -> None:
        self._process = process
        self.guard_pipe = guard_pipe
        self.pid: Final = process.pid
        self.output: Final[IO[bytes] | None] = process.stdout

    def ended(self) -> int | None:
        """Return its exit status (negative: the signal that ended it), None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._dismiss_guard()
        return code

    def wait(self, seconds: float | None = None) -> bool:
        """Wait up to `seconds`; return whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.ended() is not None

    def send(self, number: signal.Signals) -> None:
        """Signal the process, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and its process group."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            # Before the child has called setsid there is no such group.
            self._process.kill()

    def _dismiss_guard(self) -> None:
        if self.guard_pipe is not None:
            # Without this byte the guard would take the closed pipe for the death of this process, and signal a pid
            # that may belong to another process by then.
            with contextlib.suppress(BrokenPipeError):
                os.write(self.guard_pipe, b".")
            os.close(self.guard_pipe)
            self.guard_pipe = None


def spawn(  # noqa: PLR0913 - each is a property of the process, given by name
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    environ: Mapping[str, str],
    output: int | IO[bytes],
    errors: int | IO[bytes] = subprocess.STDOUT,
    run_as: RunAs | None = None,
    keep_fds: Sequence[int] = (),
    cwd: Path = Path("/"),
    umask: int = -1,
    guard: bool = NEEDS_GUARD,
) -> Child:
    """Start `argv`, whose first member is an absolute path, tied to this process.

    `death_signal` is sent to it when this process ends.
    """
    if not guard and threading.current_thread() is not threading.main_thread():
        # The kernel sends its signal when the *thread* that started the child ends.
        raise RuntimeError("Start children from the main thread.")
    guard_end, our_end = os.pipe() if guard else (None, None)
    spec = _launch_spec(argv, death_signal, guard_end, run_as)
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", launch.__file__, json.dumps(spec)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=[*keep_fds, *([] if guard_end is None else [guard_end])],
            cwd=cwd,
            umask=umask,
            start_new_session=True,
        )
    finally:
        if guard_end is not None:
            os.close(guard_end)
    return Child(process, our_end)


def _launch_spec(
    argv: Sequence[str | Path], death_signal: signal.Signals, guard_pipe: int | None, run_as: RunAs | None
) -> launch.Spec:
    return {
        "argv": [str(word) for word in argv],
        "parent": os.getpid(),
        "death_signal": int(death_signal),
        "guard_pipe": guard_pipe,
        "grace": _GUARD_GRACE_SECONDS,
        "uid": run_as.uid if run_as else None,
        "gid": run_as.gid if run_as else None,
        "alias": run_as.alias if run_as else None,
    }

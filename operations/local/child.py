"""Start a process that dies with us, whatever way we die: `kill -9` included.

Every process that the supervisor starts comes from `spawn`. It gets a session of its own, so that Ctrl-C in the
terminal reaches the supervisor alone, which then stops things in their order. See `leash` for how the tie works.
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

from operations.local import leash

#: Whether a guard process must do what the kernel does on Linux.
NEEDS_GUARD: Final = sys.platform != "linux"
#: A guard gives the child so long after its signal, then SIGKILL: Postgres' fast shutdown writes a checkpoint.
_GUARD_GRACE_SECONDS: Final = 10.0
#: As `output`: the child's output can be read from `Child.output`.
PIPE: Final = subprocess.PIPE


@dataclass(frozen=True)
class RunAs:
    """Whom the child becomes before it is the program."""

    uid: int
    gid: int
    #: The number that it has for itself, in a user namespace, while files see `uid`; None: no namespace.
    alias: int | None = None


class Child:
    """A process that `spawn` started."""

    def __init__(self, process: subprocess.Popen[bytes], guard_pipe: int | None) -> None:
        self._process = process
        self.guard_pipe = guard_pipe
        self.pid: Final = process.pid
        self.output: Final[IO[bytes] | None] = process.stdout

    def ended(self) -> int | None:
        """Its exit status (negative: the signal that ended it), None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._dismiss_guard()
        return code

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it has ended within `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.ended() is not None

    def send(self, number: signal.Signals) -> None:
        """Signal the process, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it, and what it started in its process group, without asking."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            # Its session may not exist yet: then the group's number is unknown, but its own isn't.
            self._process.kill()

    def _dismiss_guard(self) -> None:
        if self.guard_pipe is not None:
            # Without the byte the guard would take our end of the pipe for our death, and signal a pid that may by
            # then be someone else's.
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
    """Start `argv`, its first member an absolute path, on a leash.

    `death_signal` is what it gets when we die; its errors go to `output` too, unless told otherwise.
    """
    if not guard and threading.current_thread() is not threading.main_thread():
        # The kernel's signal comes when the *thread* that started the child ends.
        raise RuntimeError("Children are started from the main thread only.")
    guard_end, our_end = os.pipe() if guard else (None, None)
    spec: leash.Spec = {
        "argv": [str(word) for word in argv],
        "parent": os.getpid(),
        "death_signal": int(death_signal),
        "guard_pipe": guard_end,
        "grace": _GUARD_GRACE_SECONDS,
        "uid": run_as.uid if run_as else None,
        "gid": run_as.gid if run_as else None,
        "alias": run_as.alias if run_as else None,
    }
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, json.dumps(spec)],
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

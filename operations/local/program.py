"""A component as a child process: the API, a worker or the sweeper. `listen` receives its output."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from operations.local.child import PIPE, Child, spawn
from operations.local.errors import LocalError

#: Maximum time to become ready, in seconds.
_READY_SECONDS: Final = 60.0


class Program:
    """One process, which can be started again after it has ended."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        environ: Mapping[str, str],
        listen: Callable[[str, IO[bytes]], None],
        answers: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name: Final = name
        self.answers: Final = answers
        self.child: Child | None = None
        self._argv = argv
        self._environ = environ
        self._listen = listen

    def starting(self) -> Generator[None]:
        """Start it; yields until it answers. Raises LocalError."""
        child = self.child = spawn(
            self._argv,
            # What it confirmed is on disk, and an interrupted drain is repeated.
            death_signal=signal.SIGKILL,
            environ=self._environ,
            output=PIPE,
            cwd=Path.cwd(),
        )
        if child.output is not None:
            self._listen(self.name, child.output)
        deadline = time.monotonic() + _READY_SECONDS
        while not self.answers():
            if child.ended() is not None:
                raise LocalError(f"{self.name} ended before it was ready; its output above says why.")
            if time.monotonic() > deadline:
                child.kill()
                raise LocalError(f"{self.name} was not ready within {_READY_SECONDS:.0f} s.")
            yield

    def ask_to_stop(self) -> None:
        """Request a clean shutdown."""
        if self.child is not None:
            self.child.send(signal.SIGTERM)

    def clean_up(self) -> None:
        """Do nothing: a program leaves nothing behind."""

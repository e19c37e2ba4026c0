"""The common part of Valkey and Postgres: start under a lock, wait until ready, stop, log.

A start is an iterator that yields when it would wait. Tests drive it with sleeps, the supervisor with its event loop,
and both can drive several at once.
"""

from __future__ import annotations

import abc
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from operations.local.child import NEEDS_GUARD, Child
from operations.local.errors import LocalError
from operations.local.sockets import remove_socket_folder
from shared.process.locks import take_lock
from shared.process.setting_values import SecretUrl

#: Maximum time to become ready, in seconds; Postgres replays its log and Valkey reads its whole file first.
_READY_SECONDS: Final = 300.0
#: Maximum time for the engine of a killed run to end, in seconds.
_PREVIOUS_RUN_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.01
#: Maximum size of an engine's log.
_LOG_BYTES: Final = 5_000_000


class EngineLog:
    """An engine's own log. At its maximum size its end is copied to `<name>.1`, and it is emptied."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> BinaryIO:
        """Open it for the engine to append to."""
        self.trim()
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "ab")

    def trim(self) -> None:
        """Apply the maximum size. The file is truncated, not moved: the engine keeps it open and appends at its end."""
        if self._path.exists() and self._path.stat().st_size > _LOG_BYTES:
            self._path.with_suffix(f"{self._path.suffix}.1").write_bytes(self._tail(_LOG_BYTES))
            os.truncate(self._path, 0)

    def last_line(self) -> str:
        """Return its last line, which usually names the error."""
        lines = self._tail(4096).decode(errors="replace").strip().splitlines() if self._path.exists() else []
        return lines[-1].strip() if lines else "it logged nothing"

    def _tail(self, size: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)


class Engine(abc.ABC):
    """One server on one folder. After a `kill`, `start` serves the same data at the same URL."""

    name: str
    #: Requests a clean and quick shutdown.
    stop_signal: signal.Signals

    def __init__(
        self, data_dir: Path, *, guard: bool = NEEDS_GUARD, say: Callable[[str], None] = lambda _line: None
    ) -> None:
        self.folder: Final = data_dir / self.name
        self.log: Final = EngineLog(data_dir / "log" / f"{self.name}.log")
        self._guard: Final = guard
        self._say: Final = say
        self.child: Child | None = None
        #: Folder of its socket; set when it is started.
        self.sockets: Path = self.folder

    @property
    @abc.abstractmethod
    def url(self) -> SecretUrl:
        """Its address, after it was started."""

    @property
    def pid(self) -> int:
        """The process id."""
        if self.child is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self.child.pid

    def start(self, seconds: float = 60.0) -> None:
        """Start it and wait until it answers."""
        start_together(self, seconds=seconds)

    def starting(self) -> Generator[None]:
        """Start it; yields while it has to wait. Raises LocalError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder.parent / "log").mkdir(mode=0o700, exist_ok=True)
        lock = yield from self._locked()
        try:
            yield from self.prepare(lock)
            self.child = self.spawn(lock)
        finally:
            # Only the engine has it open now, so the lock ends with the engine.
            os.close(lock)
        yield from self._until_ready(self.child)

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Shut it down; kill it after `seconds`."""
        self.ask_to_stop()
        if self.child is not None and not self.child.wait(seconds):
            self.kill()
        self.clean_up()

    def kill(self) -> None:
        """Kill it and wait for the end of its process."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    def ask_to_stop(self) -> None:
        """Request a clean shutdown."""
        if self.child is not None:
            self.child.send(self.stop_signal)

    def clean_up(self) -> None:
        """Remove what lies outside the data folder."""
        remove_socket_folder(self.folder)

    @abc.abstractmethod
    def prepare(self, lock: int) -> Iterator[None]:
        """Create what the server needs; `lock` is held."""

    @abc.abstractmethod
    def spawn(self, lock: int) -> Child:
        """Start the server, which inherits `lock`."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Return whether it can be used now."""

    def failed(self, what: str) -> LocalError:
        """Return the error for a start that failed."""
        return LocalError(f"{self.name} {what}; its log says: {self.log.last_line()}")

    def _locked(self) -> Generator[None, None, int]:
        path = self.folder / "lock"
        deadline = time.monotonic() + _PREVIOUS_RUN_SECONDS
        noted = False
        while (lock := take_lock(path)) is None:
            if time.monotonic() > deadline:
                raise LocalError(f"Another {self.name} uses {self.folder}: stop it, then start again.")
            # Backends need some milliseconds to notice that their postmaster was killed: print nothing for that.
            if not noted and time.monotonic() > deadline - _PREVIOUS_RUN_SECONDS + 0.3:
                noted = True
                self._say(f"Waiting for the {self.name} of an earlier run to end")
            yield
        return lock

    def _until_ready(self, child: Child) -> Iterator[None]:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.answers():
            if child.ended() is not None:
                raise self.failed("ended before it was ready")
            if time.monotonic() > deadline:
                self.kill()
                raise self.failed(f"was not ready within {_READY_SECONDS:.0f} s")
            yield


def start_together(*engines: Engine, seconds: float = 60.0) -> None:
    """Start engines concurrently and wait until all answer; if one fails, kill all."""
    deadline = time.monotonic() + seconds
    starts = [engine.starting() for engine in engines]
    try:
        while starts:
            starts = [start for start in starts if next(start, "ready") is None]
            if starts and time.monotonic() > deadline:
                raise LocalError(  # noqa: TRY301 - the handler below kills the engines
                    f"The engines were not ready within {seconds:.0f} s."
                )
            time.sleep(_PAUSE_SECONDS if starts else 0)
    except BaseException:
        for engine in engines:
            engine.kill()
        raise

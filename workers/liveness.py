"""Signs of life for `python -m workers.health`: whether the main loop of a process turns, also while it hangs.

A thread writes a sign to a file of the process once a second, unless the main loop has taken longer for its step than
it allowed itself. So the signs end if the loop, the thread or the whole process stops. The process holds a lock on the
file for as long as it lives; a file without a lock was left by one that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from shared.process.locks import is_locked

_SIGN_SECONDS: Final = 1.0
#: Size of a file: each sign replaces the one before in one write, on a full disk too.
_SIGN_BYTES: Final = 512
#: Age in seconds at which a file without a lock is removed; a younger one may be about to be locked.
_REMOVE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Sign:
    """The last sign of a living process."""

    process: str
    pid: int
    #: Clock of the machine, not of the calendar.
    monotonic: float
    #: Why the process can't work now, in a sentence; '' if it can.
    problem: str


class LoopMonitor:
    """Writes the signs of this process. Use it as a context around the main loop."""

    def __init__(self, process: str, run_dir: str, find_problem: Callable[[], str]) -> None:
        """`find_problem` is called once a second in a thread, and says why the process can't work now, or ''."""
        self._process = process
        self._run_dir = run_dir
        self._find_problem = find_problem
        self._path: Path | None = None
        self._file = -1
        #: Why no signs can be written.
        self.failure: OSError | None = None
        self._deadline = math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_signing, name="liveness", daemon=True)

    def __enter__(self) -> Self:
        """Begin to write; `failure` says if that is not possible, which must not keep the process from its work."""
        try:
            self._open(run_folder(self._run_dir))
        except OSError as error:
            self.failure = error
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the signs."""
        self._ended.set()
        self._thread.join()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)

    def turn(self, allowed_seconds: float) -> None:
        """Note that the main loop turns, and how long its next step may take. Before the first call: forever."""
        self._deadline = time.monotonic() + allowed_seconds

    def _open(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_old(folder)
        path = folder / f"{_prefix()}{self._process}-{os.getpid()}"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._path = path

    def _keep_signing(self) -> None:
        problem = ""
        while not self._ended.is_set():
            if time.monotonic() < self._deadline:
                self._write(problem)
                problem = self._find_problem()
            self._ended.wait(_SIGN_SECONDS)

    def _write(self, problem: str) -> None:
        sign = {"process": self._process, "pid": os.getpid(), "monotonic": time.monotonic(), "problem": problem}
        with contextlib.suppress(OSError):  # a disk that fails: the process counts as hung, and the next write may pass
            os.pwrite(self._file, json.dumps(sign).encode().ljust(_SIGN_BYTES), 0)


def run_folder(setting: str) -> Path:
    """Return the folder of the files: that of RUN_DIR, or the user's own. Raises OSError if another user has that."""
    if setting:
        return Path(setting).expanduser()
    folder = Path(tempfile.gettempdir()) / f"inspire-data-ingest-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user.")
    return folder


def read_signs(folder: Path) -> Iterator[Sign]:
    """Yield the last sign of each process that lives on this host."""
    for path in sorted(folder.glob(f"{_prefix()}*")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if is_locked(path):
                found = json.loads(path.read_bytes())
                yield Sign(found["process"], found["pid"], found["monotonic"], found["problem"])


def _prefix() -> str:
    # Containers may share a folder.
    return f"{socket.gethostname()}-"


def _remove_old(folder: Path) -> None:
    for path in folder.glob(f"{_prefix()}*"):
        with contextlib.suppress(OSError):
            if not is_locked(path) and time.time() - path.stat().st_mtime > _REMOVE_SECONDS:
                path.unlink()

"""Start Python programs by forking a process that has imported them: they do the same, and start faster.

Importing takes 0.6 to 1.1 s of CPU, and the suite starts hundreds of programs. Tests of start-up, of memory or of
closed pipes start `python -m …` instead.

A module is imported once for a whole run: the processes of pytest-xdist inherit the folder of the sockets (`share`).
`python -S -m tests.preloaded WORD…` is `ingestctl WORD…`, for programs that start it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Final, NoReturn

_ROOT: Final = Path(__file__).parents[1]
_CLI: Final = "operations.cli"
_PARENT: Final = "--parent"
#: Deadline of a command that another program starts, in seconds.
_CALL_SECONDS: Final = 120
#: Deadline of a fork, in seconds: the first of a module waits for the imports.
_FORK_SECONDS: Final = 120
#: The variable that names the folder with the sockets of all parents, and what is in it beside these.
_FOLDER: Final = "TESTS_PRELOADED"
_LOCK, _ALIVE = "lock", "alive"
_starting = threading.Lock()


def share() -> None:
    """Make the folder of a run, whose parents end when this process has ended."""
    folder = Path(tempfile.mkdtemp(prefix="preloaded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.mkfifo(folder / _ALIVE)
    # No other process inherits this end: readers of the pipe see when this process is gone, even if it was killed.
    os.open(folder / _ALIVE, os.O_RDWR)
    os.environ[_FOLDER] = str(folder)


def run_ingestctl(
    words: Sequence[str], *, folder: Path, environ: Mapping[str, str], seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run a command of `ingestctl` to its end, in a folder, with these environment variables alone.

    Raises subprocess.TimeoutExpired.
    """
    with tempfile.TemporaryDirectory(prefix="ingestctl-") as printed:
        out, err = Path(printed, "out"), Path(printed, "err")
        command = Forked(_CLI, ["ingestctl", *words], folder=folder, environ=environ, stdout=out, stderr=err)
        try:
            status = command.wait(seconds)
        except subprocess.TimeoutExpired:
            command.send_signal(signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(words, status, out.read_text(), err.read_text())


class Forked:
    """A process forked from one that has imported `module`, in which it calls `main()`. Used like a `Popen`."""

    def __init__(
        self, module: str, words: Sequence[str], *, folder: Path, environ: Mapping[str, str], stdout: Path, stderr: Path
    ) -> None:
        with _starting:
            address = _parent_of(module)
        self.returncode: int | None = None
        self._words = words
        self._call = socket.socket(socket.AF_UNIX)
        self._call.settimeout(_FORK_SECONDS)
        self._call.connect(str(address))
        order = [list(words), str(folder), dict(environ), str(stdout), str(stderr)]
        self._call.sendall(json.dumps(order).encode() + b"\n")
        self.pid = self._read_pid()

    def _read_pid(self) -> int:
        answer = b""
        while not answer.endswith(b"\n"):
            read = self._call.recv(1)
            assert read, "The parent did not fork: it ended, or could not open the outputs."
            answer += read
        return int(answer)

    def poll(self) -> int | None:
        """Return the exit status, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._call.settimeout(timeout)
            try:
                # Several threads may wait, so the status stays where it is.
                status = self._call.recv(16, socket.MSG_PEEK)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(list(self._words), timeout or 0) from None
            assert status, "The parent of the forked processes ended."
            self.returncode = int(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the process, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def __del__(self) -> None:
        self._call.close()


@cache
def _parent_of(module: str) -> Path:
    """Return the address of the process that forks `module`, which is started if it does not run."""
    if _FOLDER not in os.environ:
        share()
    folder = Path(os.environ[_FOLDER])
    address = folder / module
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            _start_parent(module, address)
    return address


def _start_parent(module: str, address: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        listener.set_inheritable(True)
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "tests.preloaded", _PARENT, module, str(listener.fileno())],
            {**os.environ, "PYTHONPATH": str(_ROOT)},
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            # It serves others too, so it takes over nothing of the thread that happens to start it.
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM],
        )


class _Parent:
    """Forks a process for each call, and answers it with the pid, then with the exit status."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._folder = Path(listener.getsockname()).parent
        self._alive = os.open(self._folder / _ALIVE, os.O_RDONLY | os.O_NONBLOCK)
        self._calls: dict[int, socket.socket] = {}
        self._wake_up, ended = socket.socketpair()
        ended.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ended.fileno(), warn_on_full_buffer=False)
        self._ended = ended

    def next_order(self) -> list[Any]:
        """Serve until the process of tests ends; return the order of a call in each forked process."""
        # A pipe whose only writer was gone before it was opened never becomes readable.
        with contextlib.suppress(BlockingIOError):
            os.read(self._alive, 1)
            self._end()
        sources: list[Any] = [self._listener, self._wake_up, self._alive]
        while True:
            ready = select.select(sources, [], [])[0]
            if self._alive in ready:
                self._end()
            if self._wake_up in ready:
                self._wake_up.recv(4096)
                self._report_ended()
            if self._listener in ready and (order := self._fork()):
                return order

    def _end(self) -> NoReturn:
        for pid, number in product(self._calls, (signal.SIGTERM, signal.SIGCONT)):
            os.kill(pid, number)
        shutil.rmtree(self._folder, ignore_errors=True)
        sys.exit()

    def _report_ended(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with self._calls.pop(ended[0]) as call, contextlib.suppress(OSError):
                    call.sendall(b"%d" % os.waitstatus_to_exitcode(ended[1]))

    def _fork(self) -> list[Any] | None:
        call = self._listener.accept()[0]
        try:
            order: list[Any] = json.loads(call.makefile().readline())
            # Here, so that the caller knows that they are open: a named pipe can be opened only while it has a reader.
            outputs = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in order[3:]]
        except (OSError, ValueError):  # the caller was killed, or named a folder that is gone: others still call
            call.close()
            return None
        if pid := os.fork():
            self._calls[pid] = call
            for output in outputs:
                os.close(output)
            with contextlib.suppress(OSError):
                call.sendall(b"%d\n" % pid)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for held in (call, self._listener, self._wake_up, self._ended, *self._calls.values()):
            held.close()
        os.close(self._alive)
        return [*order[:3], *outputs]


def _main(module: str, listener: int) -> None:
    os.setsid()  # Ctrl-C is for the tests
    program = import_module(module)
    if module == _CLI:
        _build_commands()
    gc.collect()
    gc.freeze()
    words, folder, environ, stdout, stderr = _Parent(socket.socket(fileno=listener)).next_order()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for descriptor, opened in ((1, stdout), (2, stderr)):
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = words
    if module == _CLI:
        _run_and_exit(program.main)
    program.main()


def _build_commands() -> None:
    """Build the commands of `ingestctl`, which typer would do at each start: 0.06 s of CPU."""
    typer, commands = import_module("typer.main"), import_module(f"{_CLI}.app")
    commands.app = typer.get_command(commands.app)  # type: ignore[attr-defined] # of a module that is imported by name
    # typer imports it, and with it pydantic, when it reads a command's first option: 0.25 s of CPU.
    with contextlib.suppress(ImportError):
        import_module("typer._adapters")


def _run_and_exit(main: Callable[[], object]) -> NoReturn:
    """Call `main` and end without tearing the interpreter down, which takes 0.07 s of CPU."""
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
        sys.stderr.write(f"{end.code}\n" if isinstance(end.code, str) else "")
    except BaseException:  # noqa: BLE001 - as it would end a process of its own
        status = 1
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _call(words: Sequence[str]) -> None:
    """Be `ingestctl`, for a program that starts it."""
    ended = run_ingestctl(words, folder=Path.cwd(), environ=os.environ, seconds=_CALL_SECONDS)
    sys.stdout.write(ended.stdout)
    sys.stderr.write(ended.stderr)
    sys.exit(ended.returncode)


if __name__ == "__main__":
    if sys.argv[1] == _PARENT:
        _main(sys.argv[2], int(sys.argv[3]))
    else:
        _call(sys.argv[1:])

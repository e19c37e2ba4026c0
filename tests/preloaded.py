"""Start Python programs by forking a process that has imported them: they do the same, and start faster.

Importing takes 0.6 to 1.1 s of CPU, and the suite starts some 700 programs. Tests of start-up, of memory, of Ctrl-C or
of closed pipes start `python -m …` instead.
"""

from __future__ import annotations

import atexit
import contextlib
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
from pathlib import Path
from typing import Any, Final, NoReturn

_ROOT: Final = Path(__file__).parents[1]
_CLI: Final = "operations.cli"
#: Interval in seconds at which a parent checks whether the process of tests still runs.
_CHECK_SECONDS: Final = 0.5
_starting = threading.Lock()


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
        self._call.connect(str(address))
        order = [list(words), str(folder), dict(environ), str(stdout), str(stderr)]
        self._call.sendall(json.dumps(order).encode() + b"\n")
        self.pid = int(b"".join(iter(lambda: self._call.recv(1), b"\n")))

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
    """Start the process that forks `module`, which ends with the process of tests; return its address."""
    address = Path(tempfile.mkdtemp(prefix="preloaded-"), "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        words = [sys.executable, "-m", "tests.preloaded", module, str(listener.fileno()), str(os.getpid())]
        process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C is for the tests
        )
    atexit.register(_end, process, address)
    return address


def _end(process: subprocess.Popen[bytes], address: Path) -> None:
    process.terminate()
    process.wait()
    shutil.rmtree(address.parent, ignore_errors=True)


class _Parent:
    """Forks a process for each call, and answers it with the pid, then with the exit status."""

    def __init__(self, listener: socket.socket, tests: int) -> None:
        self._listener = listener
        self._tests = tests
        self._calls: dict[int, socket.socket] = {}
        self._wake_up, ended = socket.socketpair()
        ended.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ended.fileno(), warn_on_full_buffer=False)
        self._ended = ended

    def next_order(self) -> list[Any]:
        """Serve until the process of tests ends; return the order of a call in each forked process."""
        while os.getppid() == self._tests:
            ready = select.select([self._listener, self._wake_up], [], [], _CHECK_SECONDS)[0]
            if self._wake_up in ready:
                self._wake_up.recv(4096)
                self._report_ended()
            if self._listener in ready and (order := self._fork()):
                return order
        for pid in self._calls:
            os.kill(pid, signal.SIGTERM)
        shutil.rmtree(Path(self._listener.getsockname()).parent, ignore_errors=True)
        sys.exit()

    def _report_ended(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with self._calls.pop(ended[0]) as call, contextlib.suppress(OSError):
                    call.sendall(b"%d" % os.waitstatus_to_exitcode(ended[1]))

    def _fork(self) -> list[Any] | None:
        call = self._listener.accept()[0]
        order: list[Any] = json.loads(call.makefile().readline())
        # Here, so that the caller knows that they are open: a named pipe can be opened only while it has a reader.
        outputs = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in order[3:]]
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
        return [*order[:3], *outputs]


def _main(module: str, listener: int, tests: int) -> None:
    program = import_module(module)
    if module == _CLI:
        prepare_ingestctl()
    gc.collect()
    gc.freeze()
    words, folder, environ, stdout, stderr = _Parent(socket.socket(fileno=listener), tests).next_order()
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


def prepare_ingestctl() -> None:
    """Do what each command would do again: describe all of them, 0.08 s of CPU, and read the first option, 0.25 s."""
    app, typer = import_module(f"{_CLI}.app").app, import_module("typer.main")
    command = typer.get_command(app)
    typer.get_command = lambda _: command
    with contextlib.suppress(ImportError):
        import_module("typer._adapters")  # and with it pydantic


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


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""Run `ingestctl` in processes forked from one that has imported it: the same command with a faster start.

Importing takes 0.7 s of CPU, and the suite runs five hundred commands: 350 of its 900 seconds. Tests of starts and
exits, of signals and of closed pipes start `python -m operations.cli` itself.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_MODULE: Final = "operations.cli"
_COMMANDS: Final = "operations.cli.app"
#: Seconds beyond the timeout of a command, which is ended by its own alarm, to receive its status.
_REPLY_SECONDS: Final = 10.0
_starting = threading.Lock()


def run_ingestctl(
    words: Sequence[str], *, folder: Path, environ: Mapping[str, str], seconds: int
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with these variables alone; its status is -1 if a signal ended it."""
    with _starting:
        _, address = _parent()
    with tempfile.TemporaryDirectory(prefix="ingestctl-") as printed, socket.socket(socket.AF_UNIX) as call:
        out, err = Path(printed, "out"), Path(printed, "err")
        call.settimeout(seconds + _REPLY_SECONDS)
        call.connect(str(address))
        request = [list(words), str(folder), dict(environ), str(out), str(err), seconds]
        call.sendall(json.dumps(request).encode() + b"\n")
        status = call.makefile().read()
        return subprocess.CompletedProcess(words, int(status or -1), out.read_text(), err.read_text())


@cache
def _parent() -> tuple[subprocess.Popen[bytes], Path]:
    """Start the process that has imported everything, once for each process of tests; return it and its socket."""
    address = Path(tempfile.mkdtemp(prefix="preloaded-"), "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        words = [sys.executable, "-m", "tests.preloaded", str(listener.fileno()), str(os.getpid()), str(address)]
        process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C is for the tests
        )
    atexit.register(_end, process, address)
    return process, address


def _end(process: subprocess.Popen[bytes], address: Path) -> None:
    process.terminate()
    process.wait()
    shutil.rmtree(address.parent, ignore_errors=True)


class _Parent(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Fork a process for each command."""

    block_on_close = False

    def __init__(self, listener: int, tests: int, address: Path) -> None:
        super().__init__(str(address), _Command, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=listener)
        self._tests = tests
        self._address = address

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self._tests:
            shutil.rmtree(self._address.parent, ignore_errors=True)
            sys.exit()


class _Command(socketserver.StreamRequestHandler):
    """One command, in a process of its own."""

    def handle(self) -> None:
        words, folder, environ, out, err, seconds = json.loads(self.rfile.readline())
        signal.alarm(seconds)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        for descriptor, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = ["ingestctl", *words]
        status = 0
        try:
            import_module(_MODULE).main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1 if end.code else 0
            sys.stderr.write(f"{end.code}\n" if isinstance(end.code, str) else "")
        except BaseException:  # noqa: BLE001 - as it would end a process of its own
            status = 1
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        self.wfile.write(str(status).encode())


if __name__ == "__main__":
    import_module(_COMMANDS)
    with _Parent(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])) as parent:
        parent.serve_forever(poll_interval=0.2)

"""`ingestctl` in processes forked from one that has imported it: what a command does is the same, its start is quicker.

Importing takes 0.7 s of CPU, and the suite runs five hundred commands: 350 of its 900 seconds. Where the start is the
subject, or a process is signalled or its pipes are closed, tests start `python -m shared.cli` itself.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_MODULE: Final = "shared.cli"
_START_SECONDS: Final = 60.0


def run_ingestctl(
    words: Sequence[str], *, folder: Path, environ: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, in a folder, with these variables alone."""
    with tempfile.TemporaryDirectory(prefix="ingestctl-") as printed, socket.socket(socket.AF_UNIX) as call:
        out, err = Path(printed, "out"), Path(printed, "err")
        call.settimeout(seconds)
        _, address = _parent()
        call.connect(str(address))
        call.sendall(json.dumps([list(words), str(folder), dict(environ), str(out), str(err)]).encode() + b"\n")
        status = call.makefile().read()
        # A command that was ended by a signal has said nothing.
        return subprocess.CompletedProcess(words, int(status or -1), out.read_text(), err.read_text())


@cache
def _parent() -> tuple[subprocess.Popen[bytes], Path]:
    """The process that has imported everything, and where it listens: one of each process of tests, ending with it."""
    address = Path(tempfile.mkdtemp(prefix="preloaded-"), "socket")
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    words: list[str | Path] = [sys.executable, "-m", "tests.preloaded", address]
    process = subprocess.Popen(words, env=environ, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + _START_SECONDS
    while not address.exists():
        assert time.monotonic() < deadline, f"{_MODULE} could not be imported."
        time.sleep(0.02)
    return process, address


class _Parent(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks a process for each command."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self._tests = os.getppid()
        super().__init__(str(address), _Command)

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self._tests:
            self._address.unlink()
            self._address.parent.rmdir()
            sys.exit()


class _Command(socketserver.StreamRequestHandler):
    """One command, in a process of its own."""

    def handle(self) -> None:
        words, folder, environ, out, err = json.loads(self.rfile.readline())
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
    import_module(_MODULE)
    with _Parent(Path(sys.argv[1])) as parent:
        parent.serve_forever(poll_interval=0.2)

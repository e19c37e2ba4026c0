"""Helpers for tests of the local installation: a folder for it, and `make run` with stand-ins for its components."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import redis

from operations.local.engines import Engines
from shared.process.endpoints import Endpoints, find_endpoints
from shared.process.locks import is_locked
from tests.preloaded import Forked

ROOT = Path(__file__).parents[2]
_PROGRAM = "tests.integration.stand_in_run"
#: Deadline in seconds; an idle machine needs a few.
_PATIENCE = 60.0
#: Addresses of engines that are not started; the stand-ins never connect to them.
ELSEWHERE = {"DATABASE_URL": "postgresql://db.invalid/x", "REDIS_URL": "redis://redis.invalid/0"}

STAND_IN = """
import json, os, pathlib, signal, sys, time

folder = pathlib.Path(os.environ["DATA_DIR"])

def grandchild():
    from shared.process.parent_death import die_with_parent
    die_with_parent()
    print("grandchild", os.getpid(), flush=True)
    time.sleep(600)

def serve(port):
    import http.server
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ[port])), Healthy).serve_forever()

def api():
    import multiprocessing
    multiprocessing.get_context("spawn").Process(target=grandchild).start()
    serve("PORT")

def cli(words):
    known = folder / "known-connector"
    if words == ["connector", "list", "--json"]:
        print(json.dumps({"connectors": [{"connectorId": 7, "name": "demo"}] if known.exists() else []}))
    elif words[:2] == ["operator", "list"]:
        until = None if (folder / "password-is-chosen").exists() else "2999-01-01T00:00:00Z"
        admin = {"name": "admin", "passwordChangedAt": "2000-01-01T00:00:00Z", "oneTimeUntil": until}
        print(json.dumps({"operators": [admin]}))
    elif words[0] == "operator":
        print(json.dumps({"name": words[2], "oneTimePassword": "once"}))
    elif words[0] != "migrate":
        known.touch()
        print(json.dumps({"connectorId": 7, "name": "demo", "credential": f"ik_{words[1]}d.secret"}))

if __name__ == "__main__":
    if sys.argv[1] == "cli":
        cli(sys.argv[2:])
    elif sys.argv[1] == "api":
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
        api()
    elif sys.argv[1] == "console":
        serve("CONSOLE_PORT")
    else:
        if sys.argv[1] == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", os.getpid(), flush=True)
        time.sleep(600)
"""


@contextlib.contextmanager
def new_data_folder() -> Iterator[Path]:
    """Yield a path at which nothing exists yet: short, and below a folder that every user may traverse."""
    path = Path(tempfile.mkdtemp(prefix="local-"))
    path.chmod(0o755)
    yield path / "data"
    shutil.rmtree(path)


class Running:
    """A `make run`, its output, and the processes named in that."""

    def __init__(self, folder: Path, port: int, worker: str = "worker", **environ: str) -> None:
        (folder.parent / "stand_in.py").write_text(STAND_IN)
        self.folder = folder
        self.printed = folder.parent / "printed"
        clean = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        self.printed.write_bytes(b"")
        self.process = Forked(
            _PROGRAM,
            ["make run", str(folder.parent / "stand_in.py"), worker],
            folder=ROOT,
            environ={**clean, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder), "PORT": str(port), **environ},
            stdout=self.printed,
            stderr=self.printed,
        )

    def says(self, pattern: str, seconds: float = _PATIENCE) -> re.Match[str]:
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(re.finditer(pattern, self.printed.read_text(), re.MULTILINE))
            return bool(found)

        assert eventually(look, seconds), f"{pattern!r} is not in:\n{self.printed.read_text()}"
        return found[0]

    def is_up(self) -> Endpoints:
        self.says(r"ingestctl items 7 agents$")
        endpoints = find_endpoints(self.folder)
        assert endpoints is not None
        return endpoints

    def pids(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"\| (?:up|grandchild) (\d+)", self.printed.read_text())]

    def ends(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(_PATIENCE)


@contextlib.contextmanager
def make_run(folder: Path, port: int, worker: str = "worker", **environ: str) -> Iterator[Running]:
    run = Running(folder, port, worker, **environ)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGKILL)
            run.process.wait()
        # Also after a failure: engines that are still shutting down would race with the removal of the folder.
        ended = eventually(lambda: not any(map(runs, run.pids())))
        unlocked = eventually(lambda: not any(is_locked(folder / name / "lock") for name in ("postgres", "valkey")))
    assert (ended, unlocked) == (True, True)


def assert_refused(folder: Path, port: int, sentence: str, **environ: str) -> None:
    """It must end with one line on stderr and exit status 1."""
    with tempfile.TemporaryDirectory(prefix="refused-") as printed:
        out, err = Path(printed, "out"), Path(printed, "err")
        told = {**os.environ, "DATA_DIR": str(folder), "PORT": str(port), **environ}
        assert Forked(_PROGRAM, ["make run"], folder=ROOT, environ=told, stdout=out, stderr=err).wait(20) == 1
        (line,) = err.read_text().splitlines()
        assert sentence in line


def eventually(condition: Callable[[], bool], seconds: float = _PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def put(found: Engines, value: str) -> None:
    """Store a value in both engines."""
    with psycopg.connect(found.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    with redis.from_url(found.redis_url) as client:
        client.set("kept", value)


def kept(found: Engines) -> tuple[object, object]:
    """Return the values that both engines hold."""
    with psycopg.connect(found.database_url) as connection, redis.from_url(found.redis_url) as client:
        row = connection.execute("SELECT value FROM kept").fetchone()
        return row and row[0], client.get("kept")

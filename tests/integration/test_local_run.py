"""`make run` with stand-ins for the API, the workers and the command line, and real engines where they matter."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.process.endpoints import Endpoints, find_endpoints, is_locked

ROOT = Path(__file__).parents[2]
#: Engines that are said to be elsewhere: nobody asks them anything here.
ELSEWHERE = {"DATABASE_URL": "postgresql://db.invalid/x", "REDIS_URL": "redis://redis.invalid/0"}

STAND_IN = """
import http.server, json, multiprocessing, os, pathlib, signal, sys, time
from shared.process.parent_death import die_with_parent

folder = pathlib.Path(os.environ["DATA_DIR"])

class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

def grandchild():
    die_with_parent()
    print("grandchild", os.getpid(), flush=True)
    time.sleep(600)

def api():
    multiprocessing.get_context("spawn").Process(target=grandchild).start()
    address = os.environ["HOST"], int(os.environ["PORT"])
    http.server.ThreadingHTTPServer(address, Healthy).serve_forever()

def cli(words):
    known = folder / "known-connector"
    if words == ["connector", "list", "--json"]:
        print(json.dumps([{"connectorId": 7, "name": "demo"}] if known.exists() else []))
    elif words[0] != "migrate":
        known.touch()
        print(json.dumps({"connectorId": 7, "name": "demo", "credential": f"ik_{words[1]}d.secret"}))

if __name__ == "__main__":
    if sys.argv[1] == "cli":
        cli(sys.argv[2:])
    elif sys.argv[1] == "api":
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
        api()
    else:
        if sys.argv[1] == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", os.getpid(), flush=True)
        time.sleep(600)
"""

RUN = """
import os, sys
from operations.local.run import Commands, main
stand_in, worker = sys.argv[1:]
words = {name: (sys.executable, stand_in, name) for name in ("api", "sweeper", "cli")}
sys.exit(main([], os.environ, Commands(**words, worker=(sys.executable, stand_in, worker))))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="run-"))
    path.chmod(0o755)
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A `make run`, what it printed, and the processes that it spoke of."""

    def __init__(self, folder: Path, port: int, worker: str = "worker", **environ: str) -> None:
        (folder.parent / "stand_in.py").write_text(STAND_IN)
        self.folder = folder
        self.printed = folder.parent / "printed"
        clean = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, folder.parent / "stand_in.py", worker],
                env={**clean, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder), "PORT": str(port), **environ},
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def says(self, pattern: str, seconds: float = 15.0) -> re.Match[str]:
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
        """Told to stop, it does within 5 s."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(10)
        assert time.monotonic() - began < 5
        return code


@contextlib.contextmanager
def make_run(folder: Path, port: int, worker: str = "worker", **environ: str) -> Iterator[Running]:
    run = Running(folder, port, worker, **environ)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
    assert eventually(lambda: not any(map(runs, run.pids())))
    assert eventually(lambda: not is_locked(folder / "postgres" / "lock"))
    assert eventually(lambda: not is_locked(folder / "valkey" / "lock"))


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def runs(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_run_prints_what_can_be_pasted_and_the_second_one_quickly_the_same(folder: Path, port: int) -> None:
    with make_run(folder, port) as run:
        endpoints = run.is_up()
        assert endpoints.api_url == f"http://127.0.0.1:{port}"
        assert endpoints.pid == run.process.pid
        assert endpoints.redis_url == f"unix://{folder}/valkey/valkey.sock"
        curl = run.says(r"^curl -i -X POST (\S+) -H 'Authorization: Bearer (\S+)' .* -d '(.*)'$")
        assert curl.group(1) == f"http://127.0.0.1:{port}/api/ingest"
        assert curl.group(2) == "ik_created.secret"
        assert json.loads(curl.group(3))["stream"] == "agents"
        for private in ("endpoints.json", "demo-credential"):
            assert stat.S_IMODE((folder / private).stat().st_mode) == 0o600
        assert run.ends(signal.SIGINT) == 0
    assert find_endpoints(folder) is None
    assert not (folder / "endpoints.json").exists()
    began = time.monotonic()
    with make_run(folder, port) as run:
        run.is_up()
        assert time.monotonic() - began < 5
        assert run.says(r"Bearer (\S+)'").group(1) == "ik_created.secret"
        assert run.ends(signal.SIGTERM) == 0


def test_lost_demo_credential_is_rotated(folder: Path, port: int) -> None:
    with make_run(folder, port, **ELSEWHERE) as run:
        run.is_up()
    (folder / "demo-credential").unlink()
    with make_run(folder, port, **ELSEWHERE) as run:
        run.is_up()
        assert run.says(r"Bearer (\S+)'").group(1) == "ik_rotated.secret"


def test_engines_that_are_set_are_used_and_none_is_started(folder: Path, port: int) -> None:
    with make_run(folder, port, **ELSEWHERE) as run:
        endpoints = run.is_up()
        assert (endpoints.database_url, endpoints.redis_url) == tuple(ELSEWHERE.values())
        assert not (folder / "postgres").exists()
        assert not (folder / "valkey").exists()


def test_kill_of_the_parent_leaves_nothing(folder: Path, port: int) -> None:
    with make_run(folder, port) as run:
        run.is_up()
        run.says(r"sweeper +\| up \d+")
        run.says(r"api +\| grandchild \d+")
        assert eventually(lambda: len(run.pids()) == 4)
        run.process.kill()
        run.process.wait()


def test_component_and_engine_that_die_are_started_again(folder: Path, port: int) -> None:
    with make_run(folder, port) as run:
        run.is_up()
        worker = int(run.says(r"worker-1 +\| up (\d+)").group(1))
        os.kill(worker, signal.SIGKILL)
        run.says(r"worker-1 was ended by SIGKILL; it is started again in 0\.2 s")
        run.says(rf"worker-1 +\| up (?!{worker}\b)\d+")
        postmaster = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        run.says(r"postgres was ended by SIGKILL; it is started again in 0\.2 s")
        assert eventually(lambda: _postmaster(folder) not in {None, postmaster})
        assert run.ends() == 0


def test_component_that_dies_again_and_again_is_started_less_and_less_often(folder: Path, port: int) -> None:
    with make_run(folder, port, worker="stubborn", WORKERS="1", **ELSEWHERE) as run:
        run.is_up()
        for pause in ("0.2", "0.4"):
            assert eventually(lambda: runs(_last_worker(run)))
            os.kill(_last_worker(run), signal.SIGKILL)
            run.says(rf"worker-1 was ended by SIGKILL; it is started again in {pause} s")
            seen = run.printed.read_text().count("worker-1  | up")
            assert eventually(lambda seen=seen: run.printed.read_text().count("worker-1  | up") > seen)  # type: ignore[misc]  # bound per round


def test_component_that_ignores_sigterm_is_killed_in_time(folder: Path, port: int) -> None:
    with make_run(folder, port, worker="stubborn", **ELSEWHERE) as run:
        run.is_up()
        run.says(r"worker-2 +\| up")
        assert run.ends() == 0
        run.says("worker-1 did not end in time and is killed")


def test_second_interrupt_kills(folder: Path, port: int) -> None:
    with make_run(folder, port, worker="stubborn", **ELSEWHERE) as run:
        run.is_up()
        run.says(r"worker-2 +\| up")
        began = time.monotonic()
        run.process.send_signal(signal.SIGINT)
        run.says("Stopping$")
        assert run.ends() == 0
        assert time.monotonic() - began < 2


def test_interrupt_while_starting_leaves_nothing(folder: Path, port: int) -> None:
    with make_run(folder, port) as run:
        assert eventually((folder / "postgres" / "data.new").exists)
        assert run.ends() == 0
        run.says("Stopped$")


def test_component_that_cannot_start_ends_the_run_with_a_sentence(folder: Path, port: int) -> None:
    with make_run(folder, port, **ELSEWHERE) as run:
        run.is_up()
    broken = folder.parent / "stand_in.py"
    run = Running(folder, port, **ELSEWHERE)
    broken.write_text("raise SystemExit('no luck')")
    assert run.process.wait(10) == 1
    run.says("^make run: .*no luck$")


def test_second_run_on_the_same_folder_is_refused(folder: Path, port: int) -> None:
    with make_run(folder, port, **ELSEWHERE) as first:
        first.is_up()
        assert_refused(folder, port, f"Something runs in {folder} already")
        first.is_up()


def test_taken_port_is_refused(folder: Path, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert_refused(folder, port, f"Port {port} on 127.0.0.1 can't be listened on")
    assert not (folder / "postgres").exists()


def test_folder_that_cannot_be_made_is_refused(folder: Path, port: int) -> None:
    folder.parent.joinpath("file").touch()
    assert_refused(folder.parent / "file" / "data", port, "can't be written")


def test_setting_that_cannot_be_used_is_refused(folder: Path, port: int) -> None:
    assert_refused(folder, port, "The setting WORKERS must be a whole number", WORKERS="two")


def assert_refused(folder: Path, port: int, sentence: str, **environ: str) -> None:
    """One line on stderr, a non-zero exit."""
    ended = subprocess.run(
        [sys.executable, "-m", "operations.local.run"],
        env={**os.environ, "DATA_DIR": str(folder), "PORT": str(port), **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def _postmaster(folder: Path) -> int | None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    return None


def _last_worker(run: Running) -> int:
    return int(re.findall(r"worker-1 +\| up (\d+)", run.printed.read_text())[-1])

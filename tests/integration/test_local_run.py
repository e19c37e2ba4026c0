"""`make run` with stand-ins for the API, the workers and the command line, and real engines where they matter."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.process.endpoints import find_endpoints
from tests.integration.local_tools import (
    ELSEWHERE,
    Running,
    assert_refused,
    eventually,
    make_run,
    new_data_folder,
    runs,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    with new_data_folder() as path:
        yield path


@pytest.fixture
def port() -> int:
    """A port that is free, as is the next: the console's. The system gives none of these to clients."""
    while True:
        number = random.randrange(20_000, 32_000, 2)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", number))
            second.bind(("127.0.0.1", number + 1))
            return number


def test_run_prints_lines_to_paste_and_a_second_run_prints_the_same(folder: Path, port: int) -> None:
    with make_run(folder, port) as run:
        endpoints = run.is_up()
        assert endpoints.api_url == f"http://127.0.0.1:{port}"
        assert endpoints.pid == run.process.pid
        assert endpoints.redis_url == f"unix://{folder}/valkey/valkey.sock"
        curl = run.says(r"^curl -i -X POST (\S+) -H 'Authorization: Bearer (\S+)' .* -d '(.*)'$")
        assert curl.group(1) == f"http://127.0.0.1:{port}/api/ingest"
        assert curl.group(2) == "ik_created.secret"
        run.says(rf"^Console     http://127\.0\.0\.1:{port + 1} ")
        assert json.loads(curl.group(3))["stream"] == "agents"
        for private in ("endpoints.json", "demo-credential"):
            assert stat.S_IMODE((folder / private).stat().st_mode) == 0o600
        assert run.ends(signal.SIGINT) == 0
    assert find_endpoints(folder) is None
    assert not (folder / "endpoints.json").exists()
    with make_run(folder, port) as run:
        run.is_up()
        assert run.says(r"Bearer (\S+)'").group(1) == "ik_created.secret"
        assert run.ends(signal.SIGTERM) == 0


def test_the_one_time_password_is_printed_until_it_is_replaced(folder: Path, port: int) -> None:
    for _ in range(2):
        with make_run(folder, port, **ELSEWHERE) as run:
            run.says(r"log in as admin; the first time with the password once")
    (folder / "password-is-chosen").touch()
    with make_run(folder, port, **ELSEWHERE) as run:
        run.says(r"log in as admin; `ingestctl operator reset admin` makes another password")
        assert "once" not in run.printed.read_text()
    assert not (folder / "console-login").read_text()


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


def test_kill_of_the_supervisor_leaves_no_process(folder: Path, port: int) -> None:
    with make_run(folder, port) as run:
        run.is_up()
        run.says(r"sweeper +\| up \d+")
        run.says(r"api +\| grandchild \d+")
        assert eventually(lambda: len(run.pids()) == 4)
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()


def test_a_component_and_an_engine_that_die_are_restarted(folder: Path, port: int) -> None:
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


def test_a_component_that_dies_repeatedly_is_restarted_after_longer_pauses(folder: Path, port: int) -> None:
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
        run.process.send_signal(signal.SIGINT)
        run.says("Stopping$")
        assert run.ends() == 0
        assert "did not end in time" not in run.printed.read_text()


def test_interrupt_during_the_start_leaves_no_process(folder: Path, port: int) -> None:
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
        assert_refused(folder, port + 1, "set CONSOLE_PORT to another", CONSOLE_PORT=str(port))
    assert not (folder / "postgres").exists()


def test_folder_that_cannot_be_made_is_refused(folder: Path, port: int) -> None:
    folder.parent.joinpath("file").touch()
    assert_refused(folder.parent / "file" / "data", port, "can't be written")


def test_setting_that_cannot_be_used_is_refused(folder: Path, port: int) -> None:
    assert_refused(folder, port, "The setting WORKERS must be a whole number", WORKERS="two")


def _postmaster(folder: Path) -> int | None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    return None


def _last_worker(run: Running) -> int:
    return int(re.findall(r"worker-1 +\| up (\d+)", run.printed.read_text())[-1])

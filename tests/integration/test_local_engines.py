"""The engines of `make run`: durable, alone on their folder, ended with the process that started them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from operations.local.child import NEEDS_GUARD
from operations.local.data_dir import claim
from operations.local.engines import Engines, engines
from operations.local.errors import LocalError
from operations.local.postgres import Postgres
from operations.local.valkey import Valkey
from shared.process.endpoints import find_endpoints
from shared.process.locks import is_locked, take_lock
from tests.integration.local_tools import ROOT, eventually, kept, new_data_folder, put, runs

BOTH_MECHANISMS = pytest.mark.parametrize(
    "guard", sorted({True, NEEDS_GUARD}), ids=lambda guard: "guard" * guard or "kernel"
)

#: A process that starts both engines, prints their pids and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from operations.local.engines import engines
with engines(Path(sys.argv[1]), guard=sys.argv[2] == "True") as found:
    print(found.postgres.pid, found.valkey.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def new_folder() -> Iterator[Path]:
    with new_data_folder() as path:
        yield path


@pytest.fixture(scope="module")
def running() -> Iterator[Engines]:
    """Both engines, for tests that leave them running."""
    with tempfile.TemporaryDirectory(prefix="engines-") as path, engines(Path(path) / "data") as found:
        yield found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """What a first run creates, to be copied: initdb takes longer than everything else."""
    with tempfile.TemporaryDirectory(prefix="engines-") as path:
        with engines(Path(path)):
            pass
        yield Path(path)


@pytest.fixture
def folder(new_folder: Path, cluster: Path) -> Path:
    """A folder with the data of an earlier run."""
    new_folder.mkdir(mode=0o700)
    (new_folder / "postgres").mkdir(mode=0o700)
    shutil.copytree(cluster / "postgres" / "data", new_folder / "postgres" / "data")
    return new_folder


@pytest.mark.parametrize(
    ("name", "value"),
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"), ("port", "0"), ("save", "")],
)
def test_valkey_is_durable(running: Engines, name: str, value: str) -> None:
    with redis.from_url(running.redis_url, decode_responses=True) as client:
        assert client.config_get(name) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
    ],
)
def test_postgres_is_durable(running: Engines, name: str, value: str) -> None:
    with psycopg.connect(running.database_url) as connection:
        assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)


def test_killed_engines_come_back_at_the_same_url_with_their_data(folder: Path) -> None:
    with engines(folder) as found:
        put(found, "before the kill")
        urls = found.database_url, found.redis_url
        for engine in (found.postgres, found.valkey):
            engine.kill()
            engine.start()
        assert (found.database_url, found.redis_url) == urls
        assert kept(found) == ("before the kill", b"before the kill")


def test_second_start_has_the_data(new_folder: Path) -> None:
    with engines(new_folder) as found:
        put(found, "before the stop")
    with engines(new_folder) as found:
        assert kept(found) == ("before the stop", b"before the stop")


def test_stopped_engines_leave_no_process_and_no_lock(folder: Path) -> None:
    with engines(folder) as found, psycopg.connect(found.database_url):  # a client that stays connected
        pids = found.postgres.pid, found.valkey.pid
        began = time.monotonic()
        found.postgres.stop()
        assert time.monotonic() - began < 10, "It was killed."
    assert not any(map(runs, pids))
    assert not is_locked(folder / "postgres" / "lock")
    assert not is_locked(folder / "valkey" / "lock")


@BOTH_MECHANISMS
def test_engines_die_when_parent_is_killed(folder: Path, *, guard: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, folder, str(guard)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(runs, pids))
    finally:
        parent.kill()
        parent.communicate()
    assert eventually(lambda: not any(map(runs, pids)))
    # The locks are open in every backend too: none is left.
    assert eventually(lambda: not is_locked(folder / "postgres" / "lock"))
    assert not is_locked(folder / "valkey" / "lock")
    assert "database system is shut down" in (folder / "log" / "postgres.log").read_text()


def test_guard_ends_engine_when_parent_dies_and_leaves_it_alone_before(new_folder: Path) -> None:
    new_folder.mkdir()
    valkey = Valkey(new_folder, guard=True)
    valkey.start()
    assert valkey.child is not None
    pid = valkey.pid
    time.sleep(0.1)
    assert runs(pid)
    # As at the death of this process: the pipe is closed without the byte that dismisses the guard.
    pipe = valkey.child.guard_pipe
    assert pipe is not None
    os.close(pipe)
    valkey.child.guard_pipe = None
    assert valkey.child.wait(5)
    assert valkey.child.ended() == -signal.SIGKILL


def test_second_run_on_same_folder_is_refused(new_folder: Path) -> None:
    with claim(new_folder), pytest.raises(LocalError, match="already") as refusal, claim(new_folder):
        pass
    assert str(new_folder) in str(refusal.value)


def test_new_run_waits_for_an_engine_that_is_still_ending(new_folder: Path) -> None:
    """There are never two servers on one folder, even if the run that started the first is gone."""
    (new_folder / "valkey").mkdir(parents=True)
    lock = take_lock(new_folder / "valkey" / "lock")
    assert lock is not None
    said: list[str] = []
    valkey = Valkey(new_folder, say=said.append)
    start = valkey.starting()
    assert eventually(lambda: next(start, "up") is None and bool(said))
    assert valkey.child is None
    assert said == ["Waiting for the valkey of an earlier run to end"]
    os.close(lock)
    try:
        assert eventually(lambda: next(start, "up") == "up")
    finally:
        valkey.stop()


def test_engine_holds_the_lock_of_its_folder_itself(new_folder: Path) -> None:
    new_folder.mkdir()
    valkey = Valkey(new_folder)
    valkey.start()
    try:
        assert take_lock(new_folder / "valkey" / "lock") is None
    finally:
        valkey.stop()
    assert not is_locked(new_folder / "valkey" / "lock")


def test_stale_postmaster_pid_of_a_living_process_does_not_stop_the_start(folder: Path) -> None:
    with engines(folder) as found:
        put(found, "kept")
        found.postgres.kill()
        stale = folder / "postgres" / "data" / "postmaster.pid"
        # The pid was reused by a living process.
        stale.write_text(re.sub(r"^\d+", str(os.getppid()), stale.read_text()))
        found.postgres.start()
        assert kept(found) == ("kept", b"kept")


def test_interrupted_initdb_leaves_no_half_cluster(new_folder: Path) -> None:
    new_folder.mkdir()
    server = Postgres(new_folder)
    start = server.starting()
    assert eventually(lambda: next(start, "up") is None and (new_folder / "postgres" / "data.new").exists())
    start.close()
    assert not (new_folder / "postgres" / "data").exists()
    # initdb's own helpers need a moment to notice.
    assert eventually(lambda: not is_locked(new_folder / "postgres" / "lock"))
    server.start()
    server.stop()


def test_path_too_long_for_a_socket_puts_it_under_tmp(new_folder: Path) -> None:
    deep = new_folder / ("long" * 25)
    with engines(deep) as found:
        sockets = {found.postgres.sockets, found.valkey.sockets}
        assert len(sockets) == 2
        assert all(len(path.parts) == 3 and stat.S_IMODE(path.stat().st_mode) == 0o700 for path in sockets)
        put(found, "kept")
        found.valkey.kill()
        found.valkey.start()
        assert found.valkey.sockets in sockets
        assert kept(found) == ("kept", b"kept")
    assert not any(path.exists() for path in sockets)


def test_failed_start_quotes_the_log(folder: Path) -> None:
    with engines(folder):
        pass
    (folder / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with (
        pytest.raises(LocalError, match=r"postgres ended before it was ready; its log says: .*version 9"),
        engines(folder),
    ):
        pass
    assert not is_locked(folder / "valkey" / "lock")


def test_no_endpoints_are_found_if_nothing_runs(new_folder: Path) -> None:
    assert find_endpoints(new_folder) is None
    new_folder.mkdir()
    (new_folder / "lock").touch()
    (new_folder / "endpoints.json").write_text("{}")
    assert find_endpoints(new_folder) is None

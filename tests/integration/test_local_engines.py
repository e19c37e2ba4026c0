"""The engines of `make run`, for real: durable, alone on their folder, gone with whoever started them."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from operations.local import postgres, unprivileged
from operations.local.child import NEEDS_GUARD, RunAs
from operations.local.data_dir import claim
from operations.local.engines import Engines, engines
from operations.local.faults import LocalError
from operations.local.locks import take_lock
from operations.local.postgres import Postgres
from operations.local.valkey import Valkey
from shared.process.endpoints import find_endpoints, is_locked

ROOT = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become someone else")
BOTH_LEASHES = pytest.mark.parametrize(
    "guard", sorted({True, NEEDS_GUARD}), ids=lambda guard: "guard" * guard or "kernel"
)

#: A parent that starts both engines, says so and waits to be killed.
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
    """Not made yet; its path is short, and everyone may pass through to it."""
    path = Path(tempfile.mkdtemp(prefix="engines-"))
    path.chmod(0o755)
    yield path / "data"
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def running() -> Iterator[Engines]:
    """Both engines, for the tests that leave them running."""
    with tempfile.TemporaryDirectory(prefix="engines-") as path, engines(Path(path) / "data") as found:
        yield found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """What the first run makes, to be copied: initdb takes longer than all the rest."""
    with tempfile.TemporaryDirectory(prefix="engines-") as path:
        with engines(Path(path)):
            pass
        yield Path(path)


@pytest.fixture
def folder(new_folder: Path, cluster: Path) -> Path:
    """Has been run in before."""
    new_folder.mkdir(mode=0o700)
    (new_folder / "postgres").mkdir(mode=0o700)
    shutil.copytree(cluster / "postgres" / "data", new_folder / "postgres" / "data")
    return new_folder


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


def put(found: Engines, value: str) -> None:
    with psycopg.connect(found.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    with redis.from_url(found.redis_url) as client:
        client.set("kept", value)


def kept(found: Engines) -> tuple[object, object]:
    with psycopg.connect(found.database_url) as connection, redis.from_url(found.redis_url) as client:
        row = connection.execute("SELECT value FROM kept").fetchone()
        return row and row[0], client.get("kept")


@pytest.mark.parametrize(
    ("name", "value"),
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"), ("port", "0"), ("save", "")],
)
def test_valkey_keeps_what_it_confirms(running: Engines, name: str, value: str) -> None:
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
def test_postgres_keeps_what_it_confirms(running: Engines, name: str, value: str) -> None:
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


def test_second_start_has_the_data_and_is_quick(new_folder: Path) -> None:
    with engines(new_folder) as found:
        put(found, "before the stop")
    began = time.monotonic()
    with engines(new_folder) as found:
        assert time.monotonic() - began < 5
        assert kept(found) == ("before the stop", b"before the stop")


def test_stopped_engines_leave_no_process_and_no_lock(folder: Path) -> None:
    with engines(folder) as found, psycopg.connect(found.database_url):  # a client that doesn't leave by itself
        pids = found.postgres.pid, found.valkey.pid
        began = time.monotonic()
        found.postgres.stop()
        assert time.monotonic() - began < 3
    assert not any(map(runs, pids))
    assert not is_locked(folder / "postgres" / "lock")
    assert not is_locked(folder / "valkey" / "lock")


@BOTH_LEASHES
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
    # What our death would do: the pipe's end closes without the byte that says that all is well.
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
    """Never two servers on one new_folder, though the run that owned it is gone."""
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


def test_engine_holds_its_folder_though_its_starter_let_go(new_folder: Path) -> None:
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
        # The pid was reused, by us.
        stale.write_text(re.sub(r"^\d+", str(os.getppid()), stale.read_text()))
        found.postgres.start()
        assert kept(found) == ("kept", b"kept")


def test_initdb_that_was_cut_short_leaves_no_half_cluster(new_folder: Path) -> None:
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


def test_failed_start_says_what_the_log_says(folder: Path) -> None:
    with engines(folder):
        pass
    (folder / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with (
        pytest.raises(LocalError, match=r"postgres ended before it was ready; its log says: .*version 9"),
        engines(folder),
    ):
        pass
    assert not is_locked(folder / "valkey" / "lock")


@AS_ROOT
def test_postgres_runs_as_root_under_a_folder_others_cannot_enter(new_folder: Path) -> None:
    closed = new_folder.parent
    closed.chmod(0o700)
    before = [path.stat().st_mode for path in new_folder.parents]
    try:
        with engines(new_folder) as found:
            put(found, "kept")
            assert kept(found) == ("kept", b"kept")
    except LocalError as fault:
        pytest.skip(f"no user namespaces here: {fault}")
    assert [path.stat().st_mode for path in new_folder.parents] == before
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o700


@AS_ROOT
def test_postgres_runs_as_nobody_where_user_namespaces_are_refused(
    new_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = unprivileged.nobody()
    monkeypatch.setattr(unprivileged, "candidates", lambda _folder: iter([nobody]))
    before = [path.stat().st_mode for path in new_folder.parents]
    with engines(new_folder) as found:
        put(found, "kept")
        status = Path(f"/proc/{found.postgres.pid}").stat() if sys.platform == "linux" else None
        assert status is None or status.st_uid == nobody.uid
    monkeypatch.undo()
    # The data is nobody's now: the next run, with all ways open, finds it.
    with engines(new_folder) as found:
        assert kept(found) == ("kept", b"kept")
        assert found.postgres.run_as == nobody
    assert [path.stat().st_mode for path in new_folder.parents] == before
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o701


@AS_ROOT
@pytest.mark.parametrize("has_entry", [True, False], ids=["known", "without an entry in passwd"])
def test_postgres_runs_as_the_owner_of_the_data_folder(new_folder: Path, *, has_entry: bool) -> None:
    owner = pwd.getpwnam("daemon").pw_uid if has_entry else 12345
    new_folder.mkdir(mode=0o700)
    os.chown(new_folder, owner, 12346)
    with engines(new_folder) as found:
        assert found.postgres.run_as == RunAs(owner, 12346, None if has_entry else unprivileged.nobody().uid)
        put(found, "kept")
        assert kept(found) == ("kept", b"kept")
    assert (new_folder / "postgres" / "data").stat().st_uid == owner
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o700


@AS_ROOT
def test_no_user_for_postgres_is_one_sentence(new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_postgres_bin", lambda: Path("/nowhere"))
    with pytest.raises(LocalError, match="ordinary user"), engines(new_folder):
        pass
    assert not is_locked(new_folder / "valkey" / "lock")
    assert stat.S_IMODE(new_folder.stat().st_mode) == 0o700


def test_nothing_is_found_where_nothing_runs(new_folder: Path) -> None:
    assert find_endpoints(new_folder) is None
    new_folder.mkdir()
    (new_folder / "lock").touch()
    (new_folder / "endpoints.json").write_text("{}")
    assert find_endpoints(new_folder) is None

"""Ctrl-C ends `ingestctl` with exit code 130, without a message, and leaves no query behind.

Each test makes the command reach one stage and sends SIGINT there. The causes of an exit code 0 were two: a destructor
or callback in which the exception is ignored, and a test run that a script had started in the background, whose
processes inherit SIGINT as ignored.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from shared.postgres.connections import Connection
from tests.integration.ingestctl_tools import AWAY_POSTGRES, ROOT, Ingestctl, insert_many

#: Runs `ingestctl` and sends SIGINT when `operations.cli.<stage>` is imported, called, or has run its destructor.
HOOKED = """
import atexit, importlib.abc, signal, sys
import operations.cli
how, name = sys.argv[1].split(":")
del sys.argv[1]

class Importing(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname == name:
            signal.raise_signal(signal.SIGINT)

class Destroyed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def interrupting(function):
    def call(*words, **named):
        if how == "calling":
            signal.raise_signal(signal.SIGINT)
        if how == "destroying":
            Destroyed()
        result = function(*words, **named)
        if how == "called":
            signal.raise_signal(signal.SIGINT)
        if how == "swallowing":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                pass
        return result
    return call

if how == "importing":
    sys.meta_path.insert(0, Importing())
elif how == "exiting":
    atexit.register(signal.raise_signal, signal.SIGINT)
else:
    module, _, attribute = name.rpartition(".")
    owner = __import__(module, fromlist=["_"])
    setattr(owner, attribute, interrupting(getattr(owner, attribute)))
operations.cli.main()
"""
COMMANDS = [
    ("items", "1", "agents"),
    ("items", "1", "agents", "--json"),
    ("logs", "1"),
    ("logs", "1", "--follow", "--json"),
    ("dead", "list"),
    ("dead", "retry", "--all", "--yes"),
]


@pytest.fixture
def locked(database_url: str) -> Iterator[None]:
    """Tables that commands read, locked by a client that doesn't commit."""
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE items, connector_logs, dead_letters")
        yield


def connections_of_ingestctl(connection: Connection, state: str) -> int:
    counted = connection.execute(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'ingestctl'"
        " AND datname = current_database() AND CASE %s WHEN 'waiting' THEN wait_event_type = 'Lock' ELSE true END",
        (state,),
    )
    return int(counted.fetchall()[0]["n"])


def becomes(connection: Connection, state: str, number: int) -> bool:
    deadline = time.monotonic() + 20
    while connections_of_ingestctl(connection, state) != number:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ends_quietly(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "")


@pytest.mark.usefixtures("crm", "locked")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_ctrl_c_cancels_a_query_that_waits(
    ingestctl: Ingestctl, connection: Connection, words: tuple[str, ...]
) -> None:
    with ingestctl.start(*words) as process:
        assert becomes(connection, "waiting", 1)
        process.send_signal(signal.SIGINT)
        ends_quietly(process)
    assert becomes(connection, "any", 0)


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_ctrl_c_ends_a_stream_whose_reader_has_stopped_reading(
    ingestctl: Ingestctl, connection: Connection, form: tuple[str, ...]
) -> None:
    insert_many(connection, 20_000, 100)
    with ingestctl.start("items", "1", "agents", "--limit", "0", *form) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        # Its pipe is full, and what is buffered has to be read before the process can end.
        ends_quietly(process)
    assert becomes(connection, "any", 0)


@pytest.mark.usefixtures("crm")
def test_ctrl_c_ends_following(ingestctl: Ingestctl, connection: Connection) -> None:
    with ingestctl.start("logs", "1", "--follow") as process:
        # It sleeps between its queries, with its connection idle.
        assert becomes(connection, "any", 1)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        ends_quietly(process)
    assert becomes(connection, "any", 0)


def test_ctrl_c_ends_the_wait_for_postgres(ingestctl: Ingestctl) -> None:
    with ingestctl.start("migrate", "--wait", "60", DATABASE_URL=AWAY_POSTGRES) as process:
        assert process.stderr
        assert "Waiting for it" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        ends_quietly(process)


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize(
    "stage",
    [
        "importing:operations.cli.logs",
        "calling:typer.main.get_command",
        "called:operations.cli.session.connect_postgres",
        "destroying:operations.cli.session.connect_postgres",
        "swallowing:operations.cli.session.connect_postgres",
        "calling:operations.cli.items.print_rows",
        "destroying:operations.cli.items.print_rows",
        "exiting:",
    ],
)
def test_ctrl_c_at_any_stage_ends_the_command_with_130(ingestctl: Ingestctl, stage: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HOOKED, stage, "items", "1", "agents"],
        cwd=ROOT,
        env=ingestctl.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (130, "")


def test_a_second_ctrl_c_does_not_wait_for_the_first() -> None:
    twice = """
import signal, time
from operations.cli.interrupts import interruptible
def command():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        time.sleep(60)
interruptible(command)
"""
    assert subprocess.run([sys.executable, "-c", twice], cwd=ROOT, check=False, timeout=30).returncode == 130


IGNORING = ("sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c")


@pytest.mark.usefixtures("crm")
def test_a_background_job_that_ignores_ctrl_c_continues(ingestctl: Ingestctl) -> None:
    ended = subprocess.run(
        [*IGNORING, HOOKED, "called:operations.cli.session.connect_postgres", "items", "1", "agents"],
        cwd=ROOT,
        env=ingestctl.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "There are no such items.\n", "")


def test_tests_that_run_in_the_background_start_processes_that_can_be_interrupted() -> None:
    started = """
import subprocess, sys, tests.conftest
child = [sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGINT)"]
sys.exit(subprocess.run(child, stderr=subprocess.DEVNULL).returncode != 0)
"""
    assert subprocess.run([*IGNORING, started], cwd=ROOT, check=False, timeout=60).returncode == 1

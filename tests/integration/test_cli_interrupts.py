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
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from shared.postgres.connections import Connection
from tests.integration.ingestctl_tools import AWAY_POSTGRES, ROOT, Ingestctl, insert_many
from tests.preloaded import Forked
from tests.support.processes import wait_until

_PROGRAM = "tests.integration.interrupted"
COMMANDS = [
    ("items", "1", "agents"),
    ("items", "1", "agents", "--json"),
    ("logs", "1"),
    ("logs", "1", "--follow", "--json"),
    ("dead", "list"),
    ("dead", "retry", "--all", "--yes"),
]


@dataclass
class Interrupted:
    """`ingestctl` in a process of its own, forked from one that has imported it."""

    environ: dict[str, str]
    folder: Path

    @property
    def told(self) -> str:
        """What it has printed on stderr."""
        return (self.folder / "err").read_text()

    def start(self, *words: str, stage: str = "running:", **changed: str) -> None:
        environ, out, err = {**self.environ, **changed}, self.folder / "out", self.folder / "err"
        argv = ["ingestctl", stage, *words]
        self.process = Forked(_PROGRAM, argv, folder=ROOT, environ=environ, stdout=out, stderr=err)

    def ends_quietly(self) -> None:
        assert (self.process.wait(30), self.told) == (130, "")


@pytest.fixture
def interrupted(ingestctl: Ingestctl, tmp_path: Path) -> Iterator[Interrupted]:
    found = Interrupted(ingestctl.environ, tmp_path)
    yield found
    found.process.send_signal(signal.SIGKILL)


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


@pytest.mark.usefixtures("crm", "locked")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_ctrl_c_cancels_a_query_that_waits(
    interrupted: Interrupted, connection: Connection, words: tuple[str, ...]
) -> None:
    interrupted.start(*words)
    assert becomes(connection, "waiting", 1)
    interrupted.process.send_signal(signal.SIGINT)
    interrupted.ends_quietly()
    assert becomes(connection, "any", 0)


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_ctrl_c_ends_a_stream_whose_reader_has_stopped_reading(
    ingestctl: Ingestctl, connection: Connection, form: tuple[str, ...]
) -> None:
    insert_many(connection, 4_000, 100)
    with ingestctl.start("items", "1", "agents", "--limit", "0", *form) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        # Its pipe is full, and what is buffered has to be read before the process can end.
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "")
    assert becomes(connection, "any", 0)


@pytest.mark.usefixtures("crm")
def test_ctrl_c_ends_following(interrupted: Interrupted, connection: Connection) -> None:
    interrupted.start("logs", "1", "--follow")
    # It sleeps between its queries, with its connection idle.
    assert becomes(connection, "any", 1)
    time.sleep(0.5)
    interrupted.process.send_signal(signal.SIGINT)
    interrupted.ends_quietly()
    assert becomes(connection, "any", 0)


def test_ctrl_c_ends_the_wait_for_postgres(interrupted: Interrupted) -> None:
    interrupted.start("migrate", "--wait", "60", DATABASE_URL=AWAY_POSTGRES)
    wait_until("it waits", lambda: "Waiting for it" in interrupted.told)
    waiting = interrupted.told
    interrupted.process.send_signal(signal.SIGINT)
    assert (interrupted.process.wait(30), interrupted.told) == (130, waiting)


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize(
    "stage",
    [
        "calling:typer.main.get_command",
        "called:operations.cli.session.connect_postgres",
        "destroying:operations.cli.session.connect_postgres",
        "swallowing:operations.cli.session.connect_postgres",
        "calling:operations.cli.items.print_rows",
        "destroying:operations.cli.items.print_rows",
    ],
)
def test_ctrl_c_at_any_stage_ends_the_command_with_130(interrupted: Interrupted, stage: str) -> None:
    interrupted.start("items", "1", "agents", stage=stage)
    interrupted.ends_quietly()


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize("stage", ["importing:operations.cli.logs", "exiting:"])
def test_ctrl_c_at_the_start_and_end_of_python_ends_the_command_with_130(ingestctl: Ingestctl, stage: str) -> None:
    ended = started(ingestctl, sys.executable, stage)
    assert (ended.returncode, ended.stderr) == (130, "")


def started(ingestctl: Ingestctl, *words: str) -> subprocess.CompletedProcess[str]:
    *python, stage = words
    return subprocess.run(
        [*python, "-m", _PROGRAM, stage, "items", "1", "agents"],
        cwd=ROOT,
        env=ingestctl.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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


IGNORING = ("sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable)


@pytest.mark.usefixtures("crm")
def test_a_background_job_that_ignores_ctrl_c_continues(ingestctl: Ingestctl) -> None:
    ended = started(ingestctl, *IGNORING, "called:operations.cli.session.connect_postgres")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "There are no such items.\n", "")


def test_tests_that_run_in_the_background_start_processes_that_can_be_interrupted() -> None:
    program = """
import subprocess, sys, tests.conftest
child = [sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGINT)"]
sys.exit(subprocess.run(child, stderr=subprocess.DEVNULL).returncode != 0)
"""
    assert subprocess.run([*IGNORING, "-c", program], cwd=ROOT, check=False, timeout=60).returncode == 1

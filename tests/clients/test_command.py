"""`inspire check`, `config`, `log`, `heartbeat` and `request`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from inspire_ingest.command import main

from tests.clients.service import Service, refused


@pytest.fixture(autouse=True)
def environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPIRE_BASE_URL", service.url)
    monkeypatch.setenv("INSPIRE_INGEST_KEY", "ik_test")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(words)
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def test_a_connector_is_looked_after(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", "--json") == (0, {"status": "ok", "configuration": {}})
    assert run(capsys, "config", "--default", '{"poll":60}') == (0, {"poll": 60})
    assert service.published == '{"poll":60}'
    code, told = run(capsys, "log", "--json", "info", "hello", "n=1")
    assert (code, told["requestId"]) == (0, "req_00000000000000")
    assert (service.entries[0]["message"], service.entries[0]["context"]) == ("hello", {"n": "1"})
    assert run(capsys, "heartbeat", "--json")[0] == 0
    assert run(capsys, "request", "--json", "req_1", "--wait", "1")[1]["state"] == "applied"
    service.states = {"req_1": "dead", "req_2": "queued"}
    assert [run(capsys, "request", "--json", one)[0] for one in ("req_1", "req_2")] == [1, 3]


def test_refusals_are_one_sentence(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    service.replies = [refused(401, "unauthorized"), refused(409, "invalid_level", path="$.entries[0].level")]
    for words, said in ((["heartbeat"], "INSPIRE_INGEST_KEY"), (["log", "loud", "m"], "is loud one of the levels?")):
        assert main(words) == 1
        assert said in capsys.readouterr().err


def test_without_an_address_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("INSPIRE_BASE_URL")
    assert main(["check"]) == 1
    assert "INSPIRE_BASE_URL is not set" in capsys.readouterr().err

"""Logs: one line per event, and never a secret."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import weakref
from typing import Any

import pytest
import structlog

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.middleware import ErrorMiddleware
from shared.process.log import configure_logging, finish_log, log_often
from shared.traffic import Tally

SECRET = "ik_0123456789ab_" + "s" * 40


@pytest.fixture(autouse=True)
def _restored_logging(monkeypatch: pytest.MonkeyPatch) -> Any:
    # A module's logger keeps the set-up that was in force when it was first used.
    monkeypatch.setattr("ingest_api.middleware.log", structlog.get_logger())
    monkeypatch.setattr("shared.process.log._often", None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    yield
    structlog.reset_defaults()


async def crash(scope: Any, _receive: Any, _send: Any) -> None:
    authorization = dict(scope["headers"])[b"authorization"]
    raise RuntimeError(f"crashed with {len(authorization)} bytes")


def printed(capfd: pytest.CaptureFixture[str]) -> str:
    finish_log()
    return capfd.readouterr().out


def request(path: str = "/crash") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Send a request to a route that crashes. Return the response's messages and the scope."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"authorization", SECRET.encode())]}
    asyncio.run(ErrorMiddleware(crash, Tally())(scope, receive, send))
    return sent, scope


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_crash_is_logged_without_the_secret_under_the_id_of_its_answer(
    form: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(form, "info")

    sent, _ = request()

    answer = json.loads(sent[1]["body"])
    text = printed(capfd)
    assert (sent[0]["status"], answer["error"]["code"]) == (500, "internal_error")
    assert answer["requestId"] in text
    assert "crashed with" in text
    assert "test_log.py" in text, "the traceback is logged"
    assert SECRET not in text
    assert "ssss" not in text


def test_a_refused_body_is_freed_with_its_request() -> None:
    class Body:
        """A body that a weak reference can watch."""

    watched = []

    async def refuse(scope: Any, _receive: Any, _send: Any) -> None:
        body, context = Body(), scope["context"]
        watched.append(weakref.ref(body))
        raise ApiError(ErrorCode.INVALID_JSON, f"{body} to {context.route}")

    async def receive() -> Any: ...

    async def send(_message: Any) -> None: ...

    gc.disable()  # it would free a cycle too, but seconds later
    try:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        asyncio.run(ErrorMiddleware(refuse, Tally())(scope, receive, send))
        assert watched[0]() is None
    finally:
        gc.enable()


def test_in_production_each_line_is_a_json_document(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info", process="api")

    request('/a"b')

    lines = [json.loads(line) for line in printed(capfd).splitlines()]
    assert [line["event"] for line in lines] == ["request_crashed", "request"]
    assert all(line["process"] == "api" and line["timestamp"].endswith("Z") for line in lines)


def test_log_often_writes_the_same_line_as_structlog(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info", process="api", pid=7)
    fields = {"request_id": "req_1", "ms": 0.25, "path": '/a"b\n'}

    log_often("request", dict(fields))
    structlog.get_logger().info("request", **fields)

    often, usual = (json.loads(line) for line in printed(capfd).splitlines())
    assert list(often) == list(usual)
    assert re.sub(r"\d", "0", often.pop("timestamp")) == re.sub(r"\d", "0", usual.pop("timestamp"))
    assert often == usual


@pytest.mark.parametrize(("form", "level", "lines"), [("console", "info", 1), ("json", "warning", 0)])
def test_log_often_follows_the_settings(form: Any, level: Any, lines: int, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(form, level)

    log_often("request", {"status": 202})

    assert printed(capfd).count("request") == lines

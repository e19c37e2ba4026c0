"""The emulator gives every answer of the route table, and does with submissions what the service does.

`test_every_route_answers_as_documented.py` holds the service against the same table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.client import Connector, batch, item
from tests.support.emulated import Emulated, emulating
from tests.support.processes import wait_until
from tests.support.route_check import route_check_on


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulating(tmp_path_factory.mktemp("emulator")) as emulated:
        yield emulated


@pytest.fixture
def emulated(started: Emulated) -> Emulated:
    started.ask("POST", "/reset")
    return started


@pytest.mark.parametrize("base", ["", "/datapool"], ids=["at the root", "under datapool"])
def test_every_route_answers_as_in_the_table(emulated: Emulated, base: str) -> None:
    route_check_on(emulated).all_rows(emulated.url, base)


def applied(emulated: Emulated, request_id: str) -> Any:
    with emulated.first.connection() as connection:
        return connection.get(f"/api/requests/{request_id}?wait=30").json()


def test_items_are_replaced_deleted_and_retained(emulated: Emulated) -> None:
    connector = emulated.first
    connector.send(item("a", n=1), item("b"), item("c"), item("d"))
    connector.send(item("a", n=12345678901234567890123), {"id": "b", "deleted": True}, {"id": "never", "deleted": True})
    kept = connector.post(b'{"stream":"agents","ids":["a","c"],"atMost":1}', path="/api/ingest/retain").json()
    refused = connector.post(b'{"stream":"agents","ids":[],"atMost":1}', path="/api/ingest/retain").json()

    assert applied(emulated, kept["requestId"])["removed"] == 1
    assert applied(emulated, refused["requestId"])["reason"] == "too_many_removals"
    told = emulated.ask("GET", "/items?stream=agents")
    assert [(one["id"], one["fields"]) for one in told] == [("a", {"n": 12345678901234567890123}), ("c", {})]


def test_logs_and_heartbeats_can_be_read(emulated: Emulated) -> None:
    emulated.first.post(b'{"entries":[{"level":"INFO","message":"m","context":{"n":1}}]}', path="/api/ingest/log")
    emulated.first.post(b"", path="/api/ingest/heartbeat")

    (entry,) = wait_until("the entry is applied", lambda: emulated.ask("GET", "/logs"))
    assert (entry["level"], entry["message"], entry["context"]) == ("INFO", "m", {"n": 1})
    assert wait_until("the heartbeat is applied", lambda: emulated.ask("GET", "/heartbeats"))[0]["state"] == "applied"


def test_faults_hit_as_the_script_says(emulated: Emulated) -> None:
    rules: list[dict[str, Any]] = [
        {"fault": "fail", "times": 1, "retryAfter": 7},
        {"fault": "fail", "after": 1, "times": 1, "status": 502},
        {"fault": "fail", "moreItemsThan": 2, "status": 413},
        {"fault": "poison", "ids": ["b"]},
        {"fault": "loseAnswer", "after": 4, "times": 1},
        {"fault": "loseRequest", "after": 5, "times": 1},
        {"fault": "dead", "times": 1},
    ]
    emulated.ask("PUT", "/faults", rules)
    connector, body = emulated.first, batch(item("a"))
    first = connector.post(body)
    assert (first.status_code, first.headers["retry-after"]) == (503, "7")
    assert connector.post(body).headers["content-type"] == "text/html"
    assert connector.post(batch(item("a"), item("c"), item("d"))).json()["error"]["code"] == "body_too_large"
    poisoned = connector.post(batch(item("a"), item("b"))).json()["error"]
    assert [fault["path"] for fault in poisoned["faults"]] == ["$.items[1].name"]
    for _ in range(2):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            connector.post(body)

    told = emulated.ask("GET", "/requests")
    statuses = [(one["status"], one["faults"]) for one in told]
    assert statuses[-2:] == [(0, ["loseAnswer"]), (0, ["loseRequest"])]
    assert applied(emulated, told[-2]["requestId"])["state"] == "dead"
    assert emulated.ask("GET", "/items") == []


def test_what_makes_no_sense_is_refused(emulated: Emulated) -> None:
    with emulated.first.connection(emulated.url) as client:
        for path in ("/faults", "/configuration"):
            refused = client.put(f"/_emulator{path}", content=b'[{"fault":"no such"}]')
            assert refused.status_code == 400
            assert refused.json()["error"]
        assert client.get("/_emulator/credential?connector=7").status_code == 400


def test_rate_and_rotation_are_the_service_s(emulated: Emulated, tmp_path: Any) -> None:
    with emulating(tmp_path, "--rate", "2", "--fail", "503:0%", "--slow", "1ms:50%", "--seed", "1") as limited:
        answers = [limited.first.post(batch()).status_code for _ in range(3)]
        assert answers == [202, 202, 429]

    made = emulated.ask("POST", "/connectors", {"name": "rotates"})
    emulated.ask("POST", f"/rotate?connector={made['connectorId']}")
    old = Connector(made["connectorId"], made["credential"], emulated.url)
    assert old.post(b"", path="/api/ingest/heartbeat").status_code == 401

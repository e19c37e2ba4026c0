"""`ingestctl logs`, `trace` and `config`: logs of a connector, the outcome of a request, managed configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.entry import Meta
from shared.request_id import position_of_entry
from tests.integration.ingestctl_tools import RFC3339, Ingestctl
from tests.integration.lane_tools import Lane

LOG = Meta("log")
ENTRIES = {
    "entries": [
        {
            "level": "Warning",
            "message": "slow\x1b[2J",
            "timestamp": "2026-04-09T13:08:00+02:00",
            "context": {"n": 1.10},
        },
        {"level": "info", "message": "done"},
    ]
}


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def request_id(lane: Lane, entry_id: str) -> str:
    return position_of_entry(lane.number, entry_id).request_id


def logged(lane: Lane, text: str | None = None) -> str:
    """Submit log entries and return the request's id. Raw JSON, so that 1.10 keeps its digits."""
    body = text or json.dumps(ENTRIES).replace("1.1}", "1.10}")
    found = request_id(lane, lane.append(raw=body.encode(), meta=LOG))
    lane.drain_once()
    return found


def test_logs_are_shown_with_exact_context_and_their_request(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = logged(lane)

    first, second = ingestctl.json("logs", "1")["entries"]
    assert first == {
        "timestamp": "2026-04-09T11:08:00.000Z",
        "level": "warn",
        "message": "slow\x1b[2J",
        "context": {"n": 1.1},
        "requestId": sent_as,
    }
    assert RFC3339.fullmatch(second["timestamp"])
    assert '"n": 1.10' in ingestctl.says("logs", "1", "--json")
    shown = ingestctl.says("logs", "1")
    assert "\x1b" not in shown
    assert "slow\\x1b[2J" in shown


def test_logs_are_filtered_by_level_time_and_number(ingestctl: Ingestctl, lane: Lane) -> None:
    for _ in range(3):
        logged(lane)

    assert [one["level"] for one in ingestctl.json("logs", "1", "--level", "WARN")["entries"]] == ["warn"] * 3
    assert len(ingestctl.json("logs", "1", "--since", "1h")["entries"]) == 3
    assert len(ingestctl.json("logs", "1", "--since", "2026-04-09T00:00:00Z", "--limit", "0")["entries"]) == 6
    assert len(ingestctl.json("logs", "1", "--limit", "4")["entries"]) == 4
    assert "must be one of" in ingestctl.refuses("logs", "1", "--level", "loud")
    assert "2026-11-23T08:00:00Z" in ingestctl.refuses("logs", "1", "--since", "yesterday")


def test_following_shows_new_entries(ingestctl: Ingestctl, lane: Lane) -> None:
    logged(lane)
    following = ingestctl.start("logs", "1", "--follow", "--json")
    try:
        assert following.stdout
        seen = [json.loads(following.stdout.readline())["message"] for _ in range(2)]
        logged(lane, '{"entries":[{"level":"info","message":"later"}]}')
        seen.append(json.loads(following.stdout.readline())["message"])
    finally:
        following.terminate()
        following.communicate(timeout=20)

    assert seen == ["slow\x1b[2J", "done", "later"]


def test_a_queued_request_is_traced_with_the_number_of_entries_before_it(ingestctl: Ingestctl, lane: Lane) -> None:
    lane.append({"id": "a"})
    found = ingestctl.json("trace", request_id(lane, lane.append({"id": "b"})))

    assert (found["state"], found["kind"], found["ahead"], found["connectorId"]) == ("queued", "items", 1, 1)
    assert found["itemsReceived"] == 1
    assert found["ageSeconds"] >= 0


def test_an_applied_log_request_is_traced_with_its_entries(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = logged(lane)

    found = ingestctl.json("trace", sent_as)
    assert (found["state"], found["kind"], found["requestId"]) == ("applied", "log", sent_as)
    assert [entry["level"] for entry in found["entries"]] == ["warn", "info"]
    assert "applied" in ingestctl.says("trace", sent_as)


def test_a_dead_request_is_traced_with_its_reason(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = request_id(lane, lane.append(raw=b"not json"))
    lane.drain_once()

    found = ingestctl.json("trace", sent_as)
    assert (found["state"], found["reason"]) == ("dead", "unreadable")


def test_an_unknown_request_is_one_sentence(ingestctl: Ingestctl, lane: Lane) -> None:
    assert "not the id of an accepted request" in ingestctl.fails("trace", "req_zzzzzzzzzzzzzz")
    assert "was not accepted here" in ingestctl.fails("trace", request_id(lane, "5-5"))


def test_a_managed_configuration_is_used_until_it_is_cleared(ingestctl: Ingestctl, lane: Lane, tmp_path: Path) -> None:
    assert lane.connector_id == 1
    file = tmp_path / "managed.json"
    file.write_text('{ "Version": "7.0" }')

    assert ingestctl.says("config", "show", "1") == "{}\n"
    ingestctl.says("config", "set", "1", str(file))
    assert ingestctl.says("config", "show", "1") == '{ "Version": "7.0" }\n'
    assert ingestctl.json("config", "show", "1")["managed"] == '{ "Version": "7.0" }'
    ingestctl.says("config", "clear", "1")
    assert ingestctl.says("config", "show", "1") == "{}\n"


@pytest.mark.parametrize("text", ["[1]", "not json", "", '{"a":"' + "x" * 1_048_577 + '"}'])
def test_a_configuration_that_no_connector_could_read_is_refused(
    ingestctl: Ingestctl, lane: Lane, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(text)

    assert "onfiguration" in ingestctl.fails("config", "set", str(lane.connector_id), str(file))

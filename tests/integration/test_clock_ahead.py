"""Redis' clock was a year ahead for a moment: order is kept, and no time is told that has not come yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from shared.request_id import position_of_entry
from tests.integration.ingestctl_tools import Ingestctl
from tests.integration.lane_tools import Lane


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        ahead = datetime.now(UTC) + timedelta(days=365)
        last_id = ("XSETID", lane.keys.stream, f"{round(ahead.timestamp() * 1000)}-0")
        lane.redis.execute_command(*last_id)  # type: ignore[no-untyped-call] # untyped in redis-py
        yield lane


def test_items_and_last_signs_of_life_are_never_in_the_future(lane: Lane, ingestctl: Ingestctl) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    lane.append({"id": "a", "fields": {"n": 2}})
    lane.drain_once()

    assert lane.counters() == {"a": 2}
    [row] = lane.rows("SELECT updated_at <= now() AS item FROM items")
    [life] = lane.rows("SELECT last_seen_at <= now() AS seen FROM connector_liveness")
    assert (row["item"], life["seen"]) == (True, True)
    [connector] = ingestctl.json("status")["connectors"]
    assert datetime.fromisoformat(connector["lastSeenAt"]) <= datetime.now(UTC)


def test_a_sign_of_life_from_the_future_is_moved_back_by_the_next_one(lane: Lane) -> None:
    lane.rows("INSERT INTO connector_liveness VALUES (1, now() + interval '1 year') RETURNING 1")
    lane.append({"id": "a", "fields": {"n": 1}})
    lane.drain_once()

    [life] = lane.rows("SELECT last_seen_at <= now() AS seen FROM connector_liveness")
    assert life["seen"]


def test_a_trace_tells_no_time_that_has_not_come(lane: Lane, ingestctl: Ingestctl) -> None:
    request_id = position_of_entry(lane.number, lane.append({"id": "a", "fields": {"n": 1}})).request_id

    queued = ingestctl.json("trace", request_id)
    lane.drain_once()
    applied = ingestctl.json("trace", request_id)

    for found in (queued, applied):
        assert datetime.fromisoformat(found["receivedAt"]) <= datetime.now(UTC)
    assert queued["ageSeconds"] == 0
    assert applied["receivedAt"] <= applied["appliedAt"]

"""A dead letter's way back through its lane: nothing is lost, doubled or overwritten, whoever is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from operations import dead_letters
from operations.dead_letters import Choice, RetryError, Room, Step
from shared.entry import Entry, Meta, backlog_cost
from shared.postgres.connections import Connection
from shared.redis.scripts import Scripts
from shared.redis.wakeups import wake_queue
from shared.request_id import MAX_SEQUENCE
from tests.integration.dead_letter_tools import (
    AMPLE,
    dead_item,
    dead_text,
    hand_back,
    letters,
    mend_items,
    request_id,
    state,
)
from tests.integration.ingestctl_tools import Ingestctl
from tests.integration.lane_tools import NO_LIMIT, Lane
from workers import drain as drain_module
from workers.lease import Lease
from workers.sweep import Sweeper
from workers.write import read_watermarks, write_dead_letter

LOG = Meta("log")
LOGGED = json.dumps({"entries": [{"level": "info", "message": "one"}, {"level": "info", "message": "two"}]}).encode()


class KilledError(BaseException):
    """Stands for kill -9: nothing after it runs, no handler sees it."""


def dies(*_: Any, **__: Any) -> None:
    raise KilledError


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def test_a_retried_letter_is_dead_until_it_is_applied(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = dead_item(lane)
    mend_items(lane)

    assert ingestctl.json("dead", "retry", sent_as, "--yes")["retried"] == 1
    waiting = state(ingestctl, sent_as)
    lane.drain_once()

    assert (waiting, state(ingestctl, sent_as)) == ("dead", "applied")
    assert lane.counters() == {"bad": 1}
    assert letters(lane) == []
    lane.assert_empty()
    assert lane.redis.hlen(lane.keys.backlog) <= 2, "nothing is left of the connector's part"


def test_a_retried_letter_does_not_replace_newer_state(ingestctl: Ingestctl, lane: Lane) -> None:
    old = dead_item(lane)
    mend_items(lane)
    lane.append({"id": "bad", "fields": {"n": 2}})
    lane.drain_once()

    assert "1 dead letter retried." in ingestctl.says("dead", "retry", "--connector", "1", "--yes")
    lane.append({"id": "bad2", "fields": {"n": 3}})
    lane.drain_once()

    assert lane.counters() == {"bad": 2, "bad2": 3}
    assert state(ingestctl, old) == "applied"
    assert len(lane.rows("SELECT FROM receipts")) == 3


def test_log_entries_of_a_letter_that_is_retried_often_appear_once(ingestctl: Ingestctl, lane: Lane) -> None:
    lane.connection.execute("ALTER TABLE connector_logs ADD CONSTRAINT broken CHECK (message <> 'two') NOT VALID")
    sent_as = request_id(lane, lane.append(raw=LOGGED, meta=LOG))
    lane.drain_once()
    lane.connection.execute("ALTER TABLE connector_logs DROP CONSTRAINT broken")

    assert hand_back(lane) == hand_back(lane) == [Step(1, 0)]
    lane.drain_once()
    assert hand_back(lane) == []

    assert [row["message"] for row in lane.rows("SELECT message FROM connector_logs ORDER BY index")] == ["one", "two"]
    assert len(lane.rows("SELECT FROM receipts")) == 1
    assert state(ingestctl, sent_as) == "applied"
    lane.assert_empty()


def test_a_letter_that_dies_again_stays_one_row_with_the_newer_reason(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = dead_item(lane)
    first = letters(lane)[0]
    mend_items(lane)
    lane.connection.execute("ALTER TABLE items ADD CONSTRAINT otherwise CHECK (name IS NOT NULL) NOT VALID")

    hand_back(lane)
    lane.append(raw=b"not json")
    lane.drain_once()

    again, _ = letters(lane)
    assert (again["version"], bytes(again["body"])) == (first["version"], bytes(first["body"]))
    assert again["died_at"] > first["died_at"]
    assert (again["detail"], again["fingerprint"]) != (first["detail"], first["fingerprint"])
    assert state(ingestctl, sent_as) == "dead"
    lane.assert_empty()


def test_retrying_all_takes_each_letter_once_though_they_and_others_die_meanwhile(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_KEYS_A_PAGE", 1)
    for _ in range(3):
        dead_text(lane)
    meant = dead_letters.count(lane.connection, Choice())

    steps = []
    for step in dead_letters.retry(lane.connection, lane.redis, meant, AMPLE):
        steps.append(step)
        lane.append(raw=b"not json either")
        lane.drain_once()
        assert len(steps) <= 3, "what died after the count was not meant"

    assert steps == [Step(1, 0)] * 3
    assert len(letters(lane)) == 6


def test_killed_between_append_and_wake_up_the_letter_is_applied_all_the_same(
    lane: Lane, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_item(lane)
    mend_items(lane)
    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "enqueue_drain", dies)
        with pytest.raises(KilledError):
            hand_back(lane)
    lane.redis.delete(lane.keys.lease)  # it runs out by itself

    Sweeper(lane.redis, database_url, wake_queue(lane.redis)).sweep()

    assert len(wake_queue(lane.redis)) == 1
    lane.drain_once()
    assert (lane.counters(), letters(lane)) == ({"bad": 1}, [])
    lane.assert_empty()


@pytest.mark.parametrize("phase", ["Slice", "write_slice", "_settle", "release"])
def test_a_worker_killed_in_any_phase_of_a_retry_loses_nothing(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    dead_item(lane)
    mend_items(lane)
    hand_back(lane)
    owner = {"_settle": drain_module.Drain, "release": Lease}.get(phase, drain_module)
    with monkeypatch.context() as patch:
        patch.setattr(owner, phase, dies)
        with pytest.raises(KilledError):
            lane.drain_once()
    lane.redis.delete(lane.keys.lease)
    assert len(letters(lane)) + len(lane.rows("SELECT FROM receipts")) == 1

    lane.append({"id": "a", "fields": {"n": 2}})
    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({"bad": 1, "a": 2}, [])
    assert len(lane.rows("SELECT FROM receipts")) == 2
    lane.assert_empty()


def test_a_redis_that_lost_its_memory_has_not_lost_the_letter(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = dead_item(lane)
    mend_items(lane)
    hand_back(lane)
    lane.redis.flushall()

    assert "is not loaded" in ingestctl.fails("dead", "retry", sent_as, "--yes")
    assert state(ingestctl, sent_as) == "dead"


def test_what_was_applied_in_another_delivery_is_not_dead(lane: Lane) -> None:
    entry_id = lane.append({"id": "a", "fields": {"n": 1}})
    lane.drain_once()

    entry = Entry(entry_id, lane.connector_id, Meta("items"), 1, b"{}")
    write_dead_letter(
        lane.connection,
        lane.number,
        entry,
        read_watermarks(lane.connection, lane.number),
        reason="57014",
        detail="came again, and died",
    )

    assert letters(lane) == []


def test_a_redelivered_entry_that_passes_now_leaves_no_letter(lane: Lane) -> None:
    entry_id = lane.append({"id": "a", "fields": {"n": 1}})
    entry = Entry(entry_id, lane.connector_id, Meta("items"), 1, b"{}")
    write_dead_letter(
        lane.connection, lane.number, entry, read_watermarks(lane.connection, lane.number), reason="r", detail="d"
    )  # and killed before it settled

    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({"a": 1}, [])


def test_a_letter_that_a_drain_holds_is_not_dropped(lane: Lane, connection: Connection) -> None:
    dead_text(lane)
    meant = dead_letters.count(lane.connection, Choice())

    with connection.transaction():
        connection.execute("SELECT FROM dead_letters FOR UPDATE")
        steps = list(dead_letters.drop(lane.connection, meant))

    assert steps == [Step(0, 1)]
    assert list(dead_letters.drop(lane.connection, meant)) == [Step(1, 0)]


# room in the backlog


def test_a_retry_takes_half_of_the_room_at_most_and_says_when_there_is_none(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_PATIENCE_SECONDS", 0.2)
    dead_text(lane, b"x" * 1000)
    lane.append(raw=b"y" * 1000)

    for room in (Room(4_000, NO_LIMIT), Room(NO_LIMIT, 4_000)):
        with pytest.raises(RetryError, match="no room"):
            hand_back(lane, room)
    assert lane.redis.xlen(lane.keys.stream) == 1

    assert hand_back(lane, Room(6_000, 6_000)) == [Step(1, 0)]
    lane.drain_once()
    lane.assert_empty()


def test_what_is_handed_back_is_counted_like_what_is_accepted(lane: Lane) -> None:
    lane.append({"id": "a"})
    dead_text(lane, b"x" * 1000)
    lane.append({"id": "b"})
    hand_back(lane)

    off = Scripts(lane.redis)("recount_backlog", [lane.keys.stream, lane.keys.backlog], [backlog_cost(b""), 10, 10_000])

    assert (off, lane.redis.xlen(lane.keys.stream)) == (0, 2)
    assert lane.redis.hget(lane.keys.backlog, "bytes") == lane.redis.hget(lane.keys.backlog, "c:1")


def test_a_letter_larger_than_its_share_goes_when_nothing_else_waits(lane: Lane) -> None:
    dead_text(lane, b"x" * 1000)

    assert hand_back(lane, Room(10, 10)) == [Step(1, 0)]


def test_a_letter_that_went_while_it_waited_is_counted_as_gone(lane: Lane) -> None:
    dead_text(lane)
    dead_text(lane)
    meant = dead_letters.count(lane.connection, Choice())
    steps = dead_letters.retry(lane.connection, lane.redis, meant, AMPLE)

    first = next(steps)
    lane.connection.execute("DELETE FROM dead_letters")

    assert [first, *steps] == [Step(1, 0), Step(0, 1)]


def test_a_retry_at_the_end_of_a_millisecond_leaves_room_for_the_next_id(lane: Lane) -> None:
    dead_text(lane)
    future = 4_000_000_000_000
    lane.redis.eval("redis.call('XSETID', KEYS[1], ARGV[1])", 1, lane.keys.stream, f"{future}-{MAX_SEQUENCE - 1}")

    hand_back(lane)

    assert lane.append({"id": "a"}) == f"{future + 1}-1"

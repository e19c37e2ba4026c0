"""Retries of dead letters: nothing is lost, doubled or overwritten, whatever is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import errors
from redis import Redis

from shared.credentials.sync import load_lanes
from shared.entry import Meta, backlog_cost
from shared.redis.wakeups import wake_queue
from tests.integration.dead_letter_tools import (
    dead_item,
    dead_text,
    letters,
    mark,
    marked,
    mend_items,
    request_id,
    retry,
    state,
    sweeper_of,
)
from tests.integration.ingestctl_tools import Ingestctl
from tests.integration.lane_tools import Lane
from workers import lane_reader, slice_applier
from workers.lease import Lease
from workers.retry import letters_to_retry
from workers.slice_applier import SliceApplier
from workers.write import Written, write_slice

LOG = Meta("log")
LOGGED = json.dumps({"entries": [{"level": "info", "message": "one"}, {"level": "info", "message": "two"}]}).encode()


class KilledError(BaseException):
    """Stands for kill -9: no code after it runs, and no handler sees it."""


def dies(*_: Any, **__: Any) -> None:
    raise KilledError


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def test_a_retried_letter_is_dead_until_it_is_applied(ingestctl: Ingestctl, lane: Lane) -> None:
    sent_as = dead_item(lane)
    mend_items(lane)

    mark(lane)
    waiting = state(ingestctl, sent_as)
    lane.drain_once()

    assert (waiting, state(ingestctl, sent_as)) == ("dead", "applied")
    assert lane.counters() == {"bad": 1}
    assert letters(lane) == []
    lane.assert_empty()
    assert not lane.redis.exists(lane.keys.retry, lane.keys.lease)


def test_a_retried_letter_does_not_replace_newer_state(ingestctl: Ingestctl, lane: Lane) -> None:
    old = dead_item(lane)
    mend_items(lane)
    lane.append({"id": "bad", "fields": {"n": 2}})
    lane.drain_once()

    mark(lane)
    lane.append({"id": "bad2", "fields": {"n": 3}})
    lane.drain_once()

    assert lane.counters() == {"bad": 2, "bad2": 3}
    assert state(ingestctl, old) == "applied"
    rows = lane.rows("SELECT received, superseded FROM receipts ORDER BY version")
    assert [(row["received"], row["superseded"]) for row in rows] == [(1, 1), (1, 0), (1, 0)]


def test_log_entries_of_a_letter_that_is_retried_twice_appear_once(ingestctl: Ingestctl, lane: Lane) -> None:
    lane.connection.execute("ALTER TABLE connector_logs ADD CONSTRAINT broken CHECK (message <> 'two') NOT VALID")
    sent_as = request_id(lane, lane.append(raw=LOGGED, meta=LOG))
    lane.drain_once()
    lane.connection.execute("ALTER TABLE connector_logs DROP CONSTRAINT broken")

    mark(lane)
    retry(lane)
    retry(lane)

    assert [row["message"] for row in lane.rows("SELECT message FROM connector_logs ORDER BY index")] == ["one", "two"]
    assert len(lane.rows("SELECT FROM receipts")) == 1
    assert state(ingestctl, sent_as) == "applied"
    lane.assert_empty()


def test_a_letter_that_dies_again_stays_one_row_with_the_newer_reason_and_no_mark(
    ingestctl: Ingestctl, lane: Lane
) -> None:
    sent_as = dead_item(lane)
    first = letters(lane)[0]
    mend_items(lane)
    lane.connection.execute("ALTER TABLE items ADD CONSTRAINT otherwise CHECK (name IS NOT NULL) NOT VALID")

    mark(lane)
    lane.append(raw=b"not json")
    lane.drain_once()

    again, _ = letters(lane)
    assert (again["version"], bytes(again["body"])) == (first["version"], bytes(first["body"]))
    assert again["died_at"] > first["died_at"]
    assert (again["detail"], again["fingerprint"]) != (first["detail"], first["fingerprint"])
    assert (state(ingestctl, sent_as), marked(lane)) == ("dead", 0)
    lane.assert_empty()


def test_one_letter_that_dies_again_keeps_no_other_from_being_applied(lane: Lane) -> None:
    dead_item(lane)
    dead_text(lane)
    lane.append({"id": "bad2", "fields": {"n": 2}})
    lane.drain_once()
    mend_items(lane)

    retry(lane)

    assert lane.counters() == {"bad": 1, "bad2": 2}
    assert [row["reason"] for row in letters(lane)] == ["unreadable"]


@pytest.mark.parametrize("phase", ["Slice", "write_slice", "_settle", "release"])
def test_a_worker_killed_in_any_phase_of_a_retry_loses_nothing(
    lane: Lane, database_url: str, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    dead_item(lane)
    mend_items(lane)
    mark(lane)
    owner = {"_settle": SliceApplier, "release": Lease}.get(phase, slice_applier)
    with monkeypatch.context() as patch:
        patch.setattr(owner, phase, dies)
        with pytest.raises(KilledError):
            lane.drain_once()
    lane.redis.delete(lane.keys.lease, lane.keys.retry)  # they expire
    assert len(letters(lane)) + len(lane.rows("SELECT FROM receipts")) == 1

    lane.append({"id": "a", "fields": {"n": 2}})
    sweeper_of(lane, database_url).sweep()
    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({"bad": 1, "a": 2}, [])
    assert len(lane.rows("SELECT FROM receipts")) == 2
    lane.assert_empty()


def test_the_sweeper_wakes_a_lane_without_traffic_for_its_marked_letters(lane: Lane, database_url: str) -> None:
    dead_item(lane)
    mend_items(lane)
    sweeper = sweeper_of(lane, database_url)
    sweeper.sweep()
    before = len(wake_queue(lane.redis))
    mark(lane)
    lane.redis.delete(lane.keys.retry)

    sweeper.sweep()
    sweeper.sweep()

    assert (before, len(wake_queue(lane.redis))) == (0, 1)
    lane.drain_once()
    assert (lane.counters(), letters(lane)) == ({"bad": 1}, [])
    lane.redis.delete("rq:queue:drain")
    sweeper.sweep()
    assert len(wake_queue(lane.redis)) == 0


def test_a_redis_that_lost_its_memory_has_lost_no_retry(lane: Lane, database_url: str) -> None:
    dead_item(lane)
    mend_items(lane)
    mark(lane)
    lane.redis.flushall()

    load_lanes(lane.connection, lane.redis, range(lane.lanes))
    sweeper_of(lane, database_url).sweep()
    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({"bad": 1}, [])


def test_a_letter_that_is_dropped_while_it_is_retried_is_gone(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_item(lane)
    dead_text(lane)
    mend_items(lane)
    mark(lane)

    def drops_first(*arguments: Any, **options: Any) -> Written:
        lane.connection.execute("DELETE FROM dead_letters")
        return write_slice(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(slice_applier, "write_slice", drops_first)
        lane.drain_once()
    assert lane.redis.get(lane.keys.lease) == b"paused"
    lane.redis.delete(lane.keys.lease)
    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({}, [])
    assert lane.rows("SELECT FROM receipts") == []


def test_letters_and_new_submissions_take_turns(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        dead_text(lane)
    mark(lane)
    for number in range(3):
        lane.append({"id": f"a{number}"})
    order: list[str] = []

    def write(connection: Any, result: Any, *arguments: Any, **options: Any) -> Written:
        order.append("letters" if options["are_letters"] else "new")
        return write_slice(connection, result, *arguments, **options)

    monkeypatch.setattr(lane_reader, "SLICE_ENTRIES", 1)
    monkeypatch.setattr(slice_applier, "write_slice", write)
    lane.drain()

    assert order == ["new", "letters"] * 3
    assert marked(lane) == 0


def test_a_letter_that_takes_too_long_dies_again_instead_of_pausing_its_lane_forever(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_item(lane)
    mend_items(lane)

    def takes_too_long(*_: Any, **__: Any) -> None:
        raise errors.QueryCanceled

    mark(lane)
    with monkeypatch.context() as patch:
        patch.setattr(slice_applier, "write_slice", takes_too_long)
        lane.drain_once()

    assert [(row["reason"], row["retry_requested_at"]) for row in letters(lane)] == [("57014", None)]


def test_letters_are_read_oldest_first_up_to_the_one_that_reaches_a_bound(lane: Lane) -> None:
    for size in (10, 500, 10, 10):
        dead_text(lane, b"x" * size)
    mark(lane)

    def sizes(*bounds: int) -> list[int]:
        entries, rows, size = bounds
        return [len(entry.body) for entry in letters_to_retry(lane.connection, lane.number, (entries, rows, size))]

    assert sizes(10, 10, 1_000) == [10, 500, 10, 10]
    assert sizes(10, 10, 400) == sizes(10, 2, 1_000) == sizes(2, 10, 1_000) == [10, 500]
    assert sizes(10, 10, 1) == [10]


def test_an_entry_that_an_older_version_retried_through_the_stream_has_no_effect(lane: Lane) -> None:
    sent_as = dead_item(lane)
    mend_items(lane)
    lane.append({"id": "bad", "fields": {"n": 2}})
    (letter,) = letters(lane)
    first_id = f"{letter['version'] >> 20}-{letter['version'] & 0xFFFFF}"
    body = bytes(letter["body"])
    lane.redis.xadd(lane.keys.stream, {"c": 1, "m": b'{"kind":"items"}', "n": 1, "b": body, "o": first_id})
    for name in ("bytes", "c:1"):
        lane.redis.hincrby(lane.keys.backlog, name, backlog_cost(body))

    lane.drain_once()

    assert lane.counters() == {"bad": 2}
    assert [request_id(lane, first_id) for _ in letters(lane)] == [sent_as]
    assert len(lane.rows("SELECT FROM receipts")) == 1
    lane.assert_empty()

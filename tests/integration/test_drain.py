"""A drain: whatever happens to it, each submission has its effect once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Timer
from typing import Any

import psycopg
import pytest
from redis import Redis

from shared.entry import Entry
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.transactions import NO_LIMITS
from shared.redis.scripts import Scripts
from shared.redis.wakeups import enqueue_drain, new_job_id, wake_queue
from tests.integration.lane_tools import MAX_ID, Lane, batch
from workers import lane_reader, slice_applier, turn
from workers.fold import Slice
from workers.lease import Lease
from workers.slice_applier import SliceApplier
from workers.write import Written, read_watermarks, write_slice


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


class KilledError(BaseException):
    """Stands for kill -9: no code after it runs, and no handler sees it."""


def dies(*_: Any, **__: Any) -> None:
    raise KilledError


def read_new(lane: Lane, in_hand: Any) -> Any:
    """Read what no drain has read, as a drain does that has read up to `in_hand`."""
    arguments = ["drain", "lane", ">", 10, 10, 1000, in_hand, *MAX_ID]
    return Scripts(lane.redis)("read_slice", [lane.keys.stream], arguments)[0]


def test_a_lane_is_drained_to_the_last_state_and_left_empty(lane: Lane) -> None:
    for number in range(50):
        lane.append({"id": "a", "fields": {"n": number}}, {"id": f"b{number}", "fields": {"n": number}})

    lane.drain_once()

    assert lane.counters() == {"a": 49} | {f"b{number}": number for number in range(50)}
    assert len(lane.rows("SELECT FROM receipts")) == 50
    lane.assert_empty()
    assert lane.redis.exists(lane.keys.lease) == 0


@pytest.mark.parametrize("phase", ["Slice", "write_slice", "_settle", "release"])
def test_a_worker_killed_in_any_phase_loses_nothing(lane: Lane, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    owner = {"_settle": SliceApplier, "release": Lease}.get(phase, slice_applier)
    with monkeypatch.context() as patch:
        patch.setattr(owner, phase, dies)
        with pytest.raises(KilledError):
            lane.drain_once()
    lane.redis.delete(lane.keys.lease)  # it expires

    lane.append({"id": "a", "fields": {"n": 2}})
    lane.drain_once()

    assert lane.counters() == {"a": 2}
    assert len(lane.rows("SELECT FROM receipts")) == 2
    lane.assert_empty()


def test_a_repeated_delivery_of_an_older_state_changes_nothing(lane: Lane) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    read = read_new(lane, "")
    lane.append({"id": "a", "fields": {"n": 2}})
    lane.connection.execute("SELECT 1")
    newer = Scripts(lane.redis)(
        "read_slice", [lane.keys.stream], ["drain", "lane", ">", 10, 10, 1000, read[-1][0], *MAX_ID]
    )[0]

    for entries in (newer, read, newer):
        decoded = [Entry.decode(entry_id, fields) for entry_id, fields in entries]
        watermarks = read_watermarks(lane.connection, lane.number)
        write_slice(lane.connection, Slice(lane.number, decoded), watermarks)

    assert lane.counters() == {"a": 2}
    assert len(lane.rows("SELECT FROM receipts")) == 2


def test_an_entry_that_can_not_be_applied_is_dead_lettered_whole_and_the_lane_goes_on(lane: Lane) -> None:
    poison = batch({"id": "bad", "fields": {"n": "\u0000"}})
    for number in range(10):
        lane.append({"id": f"a{number}", "fields": {"n": number}})
        if number == 4:
            lane.append(raw=poison)
            lane.append(raw=b"not json")

    lane.drain_once()

    assert lane.counters() == {f"a{number}": number for number in range(10)}
    dead = lane.rows("SELECT body, reason FROM dead_letters ORDER BY version")
    assert [(bytes(row["body"]), row["reason"]) for row in dead] == [(poison, "22P05"), (b"not json", "unreadable")]
    lane.assert_empty()


@pytest.mark.parametrize("in_hand", ["", "1-1"])
def test_nothing_new_is_read_while_an_entry_of_another_reader_is_pending(lane: Lane, in_hand: str) -> None:
    lane.append({"id": "a"})
    lane.redis.xreadgroup("drain", "lane", {lane.keys.stream: ">"}, count=1)
    lane.append({"id": "b"})

    found = Scripts(lane.redis)(
        "read_slice", [lane.keys.stream], ["drain", "lane", ">", 10, 10, 1000, in_hand, *MAX_ID]
    )[0]

    assert found == []


def test_entries_that_another_drain_has_read_are_applied_before_newer_ones(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.append({"id": "x", "fields": {"n": 1}})
    lane.drain_once()
    lane.append({"id": "y", "fields": {"n": 1}})
    lane.append({"id": "x", "fields": {"n": 2}})
    lane.append({"id": "x", "fields": {"n": 1}})
    taken: list[Any] = []

    def another_reads(*arguments: Any, **options: Any) -> Written:
        if not taken:
            taken.append(lane.redis.xreadgroup("drain", "lane", {lane.keys.stream: ">"}, count=1))
        return write_slice(*arguments, **options)

    monkeypatch.setattr(lane_reader, "SLICE_ENTRIES", 1)
    monkeypatch.setattr(slice_applier, "write_slice", another_reads)
    lane.drain_once()

    assert lane.counters() == {"x": 1, "y": 1}
    lane.assert_empty()


def test_entries_that_arrive_just_after_a_small_slice_are_written_together(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.append({"id": "a"})
    written: list[int] = []

    def write(connection: Any, result: Slice, *arguments: Any, **options: Any) -> Written:
        written.append(len(result.receipts))
        if len(written) == 1:
            lane.append({"id": "b"})
            Timer(0.1, lane.append, [{"id": "c"}]).start()
        return write_slice(connection, result, *arguments, **options)

    monkeypatch.setattr(lane_reader, "_GATHER_SECONDS", 2.0)
    monkeypatch.setattr(slice_applier, "write_slice", write)
    lane.drain()

    assert written == [1, 2]
    lane.assert_empty()


@pytest.mark.parametrize(("whose", "slices"), [(0, [8]), (1, [2, 2, 2, 2])])
def test_slices_are_smaller_while_another_lane_waits_and_not_for_jobs_of_its_own(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, whose: int, slices: list[int]
) -> None:
    other = (lane.number + whose) % lane.lanes
    for _ in range(3):  # one for each claim that expired while no sweeper ran
        enqueue_drain(wake_queue(lane.redis), other, new_job_id(other))
    for number in range(8):
        lane.append({"id": f"a{number}"})
    written: list[int] = []

    def write(connection: Any, result: Slice, *arguments: Any, **options: Any) -> Written:
        written.append(len(result.receipts))
        return write_slice(connection, result, *arguments, **options)

    monkeypatch.setattr(lane_reader, "SLICE_ENTRIES", 8)
    monkeypatch.setattr(turn, "_TURN_SECONDS_WHEN_OTHERS_WAIT", 30.0)
    monkeypatch.setattr(slice_applier, "write_slice", write)
    lane.drain()

    assert written == slices
    lane.assert_empty()


@pytest.mark.parametrize(
    "fields",
    [
        {"m": "{}", "n": 1},
        {"c": 1, "m": "no JSON", "n": 1, "b": "x"},
        {"x": "y"},
        {"n": "many"},
        {"c": 1 << 70, "m": "{}", "n": 1, "b": "x"},
    ],
)
def test_an_entry_with_unknown_fields_is_dead_lettered_and_the_lane_goes_on(lane: Lane, fields: dict[Any, Any]) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    lane.redis.xadd(lane.keys.stream, fields)
    lane.append({"id": "a", "fields": {"n": 2}})

    lane.drain_once()

    assert lane.counters() == {"a": 2}
    (dead,) = lane.rows("SELECT reason, body, meta FROM dead_letters")
    assert (dead["reason"], dead["meta"]) == ("unreadable", {"kind": "unreadable"})
    assert all(str(value).encode() in bytes(dead["body"]) for value in fields.values())
    assert lane.redis.xlen(lane.keys.stream) == 0


def test_postgres_away_leaves_the_slice_pending_and_pauses_the_lane(lane: Lane) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})

    def no_connection() -> Connection:
        raise psycopg.OperationalError("connection refused")

    for _ in range(3):
        lane.redis.delete(lane.keys.lease)
        with pytest.raises(psycopg.OperationalError):
            lane.drain(no_connection)

    assert lane.redis.get(lane.keys.lease) == b"paused"
    assert 500 < lane.redis.pttl(lane.keys.lease) <= 1000
    lane.redis.delete(lane.keys.lease)
    lane.drain_once()
    assert lane.counters() == {"a": 1}
    lane.assert_empty()


def test_a_slice_stops_at_its_bytes_whatever_the_sizes_of_entries(lane: Lane) -> None:
    lane.append(raw=b"x" * 500)
    for _ in range(3):
        lane.append(raw=b"x" * 10)
    read = Scripts(lane.redis)

    slices: list[list[Any]] = [[[b""]]]
    for _ in range(3):
        in_hand = slices[-1][-1][0]
        slices.append(read("read_slice", [lane.keys.stream], ["drain", "lane", ">", 10, 10, 100, in_hand, *MAX_ID])[0])

    assert [len(found) for found in slices[1:]] == [1, 3, 0]


def test_a_drain_that_finds_its_group_gone_creates_it_again(lane: Lane) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    lane.redis.xgroup_destroy(lane.keys.stream, "drain")

    lane.drain_once()

    assert lane.counters() == {"a": 1}
    lane.assert_empty()


def test_a_second_drain_leaves_a_lane_to_the_one_that_holds_it(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    lane.redis.set(lane.keys.lease, "running:another", px=3000)
    monkeypatch.setattr(slice_applier, "write_slice", dies)

    lane.drain()

    assert lane.redis.get(lane.keys.lease) == b"running:another"
    assert lane.redis.xlen(lane.keys.stream) == 1


def test_a_worker_told_to_stop_passes_its_lane_on(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_reader, "SLICE_ENTRIES", 1)
    for number in range(3):
        lane.append({"id": f"a{number}"})
    lane.stopping = lambda: True

    lane.drain()

    assert lane.redis.xlen(lane.keys.stream) == 2
    assert len(wake_queue(lane.redis)) == 1
    assert str(lane.redis.get(lane.keys.lease)).startswith("b'queued:drain-")


def test_a_drain_that_finds_another_one_writing_leaves_and_pauses_the_lane(lane: Lane, database_url: str) -> None:
    lane.append({"id": "a", "fields": {"n": 1}})
    idle = NO_LIMITS  # on a busy machine it waits for long
    with connect_postgres(database_url, application="another drain") as other, other.transaction(limits=idle):
        other.execute("SELECT FROM lanes WHERE lane = %s FOR UPDATE", (lane.number,))

        lane.drain_once()

        assert lane.redis.get(lane.keys.lease) == b"paused"
    lane.redis.delete(lane.keys.lease)
    lane.drain_once()
    assert lane.counters() == {"a": 1}

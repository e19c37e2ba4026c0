"""Dead letters of submissions that are delivered more than once, or dropped at the same time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from operations import dead_letters
from operations.dead_letters import Filter, Progress
from shared.entry import Entry, Meta
from shared.postgres.connections import Connection
from tests.integration.dead_letter_tools import dead_item, dead_text, letters, mark
from tests.integration.lane_tools import Lane
from workers.write import read_watermarks, write_dead_letter


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def test_a_submission_that_was_applied_in_another_delivery_is_not_dead(lane: Lane) -> None:
    entry_id = lane.append({"id": "a", "fields": {"n": 1}})
    lane.drain_once()

    entry = Entry(entry_id, lane.connector_id, Meta("items"), 1, b"{}")
    watermarks = read_watermarks(lane.connection, lane.number)
    write_dead_letter(lane.connection, lane.number, entry, watermarks, reason="57014", detail="came again, and died")

    assert letters(lane) == []


def test_a_redelivered_entry_that_passes_now_leaves_no_letter(lane: Lane) -> None:
    entry_id = lane.append({"id": "a", "fields": {"n": 1}})
    entry = Entry(entry_id, lane.connector_id, Meta("items"), 1, b"{}")
    watermarks = read_watermarks(lane.connection, lane.number)
    write_dead_letter(lane.connection, lane.number, entry, watermarks, reason="r", detail="d")
    # and killed before it settled

    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({"a": 1}, [])


def test_a_letter_of_an_applied_submission_is_deleted_instead_of_retried_forever(lane: Lane) -> None:
    dead_item(lane)
    lane.connection.execute(
        "INSERT INTO receipts (connector_id, version, lane, kind, received)"
        " SELECT connector_id, version, lane, 'items', 1 FROM dead_letters"
    )

    mark(lane)
    lane.drain_once()

    assert (lane.counters(), letters(lane)) == ({}, [])


def test_a_letter_that_a_drain_is_writing_is_not_dropped(lane: Lane, connection: Connection) -> None:
    dead_text(lane)
    selection = dead_letters.count(lane.connection, Filter())

    with connection.transaction():
        connection.execute("SELECT FROM dead_letters FOR UPDATE")
        steps = list(dead_letters.drop(lane.connection, selection))

    assert steps == [Progress(0, gone=1)]
    assert list(dead_letters.drop(lane.connection, selection)) == [Progress(1)]

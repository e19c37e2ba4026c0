"""Items that are removed, by their id or because a retain does not name them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from shared.entry import Meta
from shared.postgres.partitions import TABLES
from tests.integration.dead_letter_tools import break_items, letters, mend_items, retry
from tests.integration.lane_tools import Lane
from workers import retained
from workers.retention import age_out


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def send(lane: Lane, *ids: str, deleted: bool = False) -> None:
    lane.append(*({"id": one, "deleted": True} if deleted else {"id": one, "fields": {"n": 1}} for one in ids))


def retain(lane: Lane, *ids: str, **more: Any) -> None:
    body = json.dumps({"stream": "agents", "ids": ids, **more}).encode()
    lane.ask("append", body, meta=Meta("retain"), count=len(ids))


def ids(lane: Lane) -> list[str]:
    return [row["id"] for row in lane.rows("SELECT id FROM items ORDER BY id")]


def receipts(lane: Lane) -> list[tuple[int, int, int]]:
    rows = lane.rows("SELECT received, superseded, removed FROM receipts ORDER BY version")
    return [(row["received"], row["superseded"], row["removed"]) for row in rows]


def traces(lane: Lane) -> int:
    tables = ("deletions", "retains", "retained_ids")
    return sum(len(lane.rows(f"SELECT FROM {table}")) for table in tables)


def test_a_deleted_item_vanishes_and_what_is_not_there_may_be_deleted(lane: Lane) -> None:
    send(lane, "a", "b")
    lane.drain_once()
    send(lane, "a", "c", deleted=True)
    lane.drain_once()

    assert ids(lane) == ["b"]
    assert receipts(lane) == [(2, 0, 0), (2, 0, 1)]
    assert traces(lane) == 0


def test_the_newest_of_a_slice_decides(lane: Lane) -> None:
    send(lane, "a", "b")
    send(lane, "a", deleted=True)
    send(lane, "b", deleted=True)
    send(lane, "b")
    lane.drain_once()

    assert ids(lane) == ["b"]
    assert receipts(lane) == [(2, 2, 0), (1, 0, 0), (1, 1, 0), (1, 0, 0)]


@pytest.mark.parametrize("together", [True, False])
def test_a_retain_removes_what_it_does_not_name(lane: Lane, *, together: bool) -> None:
    for number, other in enumerate(["a", "b", "c", "d"]):
        send(lane, other, f"{other}{number}")
    if not together:
        lane.drain_once()
    lane.append(raw=b'{"stream":"others","items":[{"id":"z"}]}')
    retain(lane, "b", "d", "e")
    send(lane, "f")
    lane.drain_once()

    assert ids(lane) == ["b", "d", "f", "z"]
    assert receipts(lane)[5] == (3, 0, 6)


def test_a_retain_that_would_remove_too_many_is_put_aside_with_the_number(lane: Lane) -> None:
    send(lane, "a", "b", "c")
    retain(lane, "a", atMost=1)
    send(lane, "d")
    lane.drain_once()

    (letter,) = letters(lane)
    assert (letter["reason"], letter["received"]) == ("too_many_removals", 1)
    assert letter["detail"] == "2 items would be removed, and `atMost` is 1."
    assert ids(lane) == ["a", "b", "c", "d"]

    send(lane, "b")
    lane.drain_once()
    retry(lane)

    assert ids(lane) == ["a", "b", "d"]
    assert letters(lane) == []


def test_an_operator_lifts_the_bound(lane: Lane) -> None:
    send(lane, "a", "b", "c")
    retain(lane, atMost=0)
    lane.drain_once()
    retry(lane)
    assert (len(letters(lane)), ids(lane)) == (1, ["a", "b", "c"])

    retry(lane, lift_bound=True)

    assert (letters(lane), ids(lane)) == ([], [])
    assert receipts(lane)[-1] == (0, 0, 3)


def test_a_retain_of_many_ids_goes_in_ranges(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained, "RANGE_IDS", 64)
    names = ["a", "A", "é", "😀", "\ufffe", "a-1-", "b", "Z", "", "~"]
    there = [f"{name}{number}" for name in names for number in range(50)]
    send(lane, *there)
    kept = [one for number, one in enumerate(there) if number % 3]
    retain(lane, *kept, *kept, "new", atMost=200)
    lane.drain_once()

    assert ids(lane) == sorted(kept)
    assert receipts(lane)[-1][2] == len(there) - len(kept)


def test_late_older_state_does_not_bring_back_what_was_removed(lane: Lane) -> None:
    break_items(lane)
    send(lane, "bad1", "bad2", "bad3")
    lane.drain_once()
    send(lane, "bad1", deleted=True)
    retain(lane, "bad2")
    lane.drain_once()
    mend_items(lane)
    assert traces(lane) == 3

    retry(lane)

    assert ids(lane) == ["bad2"]
    assert receipts(lane)[0] == (3, 2, 0)
    assert traces(lane) == 3


def test_traces_are_deleted_once_no_letter_is_older(lane: Lane) -> None:
    break_items(lane)
    send(lane, "bad1", "bad2")
    lane.drain_once()
    send(lane, "bad1", deleted=True)
    retain(lane, "bad2")
    lane.drain_once()
    keep = dict.fromkeys(("audit", *(table.name for table in TABLES)), 1)
    age_out(lane.context(), keep)
    assert traces(lane) == 3
    mend_items(lane)
    retry(lane)

    age_out(lane.context(), keep)

    assert traces(lane) == 0

"""`ingestctl dead retry`: marks letters, watches the workers retry them, and says if none does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from operations import dead_letters
from operations.dead_letters import Filter, Progress, RetryError
from tests.integration.dead_letter_tools import (
    dead_item,
    dead_text,
    letters,
    mark,
    marked,
    mend_items,
    retrying_worker,
)
from tests.integration.ingestctl_tools import AWAY_REDIS, Ingestctl
from tests.integration.lane_tools import Lane


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def test_it_ends_when_each_letter_is_applied_or_dead_again_and_needs_no_redis(
    ingestctl: Ingestctl, lane: Lane, database_url: str
) -> None:
    sent_as = dead_item(lane)
    dead_text(lane)
    mend_items(lane)

    with retrying_worker(lane, database_url):
        found = ingestctl.json("dead", "retry", "--all", "--yes", REDIS_URL=AWAY_REDIS)
        said = ingestctl.says("dead", "retry", "--all", "--yes")

    assert found == {"letters": 2, "bytes": found["bytes"], "retried": 2, "gone": 0, "diedAgain": 1}
    assert said == "1 dead letter retried, 1 of them died again.\n"
    assert ingestctl.json("trace", sent_as)["state"] == "applied"
    assert len(letters(lane)) == 1


def test_a_letter_that_died_after_the_count_is_not_retried(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "_KEYS_A_PAGE", 1)
    for _ in range(3):
        dead_text(lane)
    selection = dead_letters.count(lane.connection, Filter())
    dead_text(lane)

    pages = dead_letters.request_retries(lane.connection, selection)
    before = marked(lane)
    mark(lane, reason="none")
    lane.drain_once()

    assert (before, marked(lane), len(letters(lane))) == (3, 0, 4)
    assert list(dead_letters.watch_retries(lane.connection, pages)) == [
        Progress(1, died_again=1),
        Progress(2, died_again=2),
        Progress(3, died_again=3),
    ]


def test_a_letter_that_is_dropped_before_its_retry_is_counted_as_gone(lane: Lane) -> None:
    dead_text(lane)
    dead_text(lane)
    selection = dead_letters.count(lane.connection, Filter())
    pages = dead_letters.request_retries(lane.connection, selection)

    assert list(dead_letters.drop(lane.connection, selection)) == [Progress(2)]

    assert list(dead_letters.watch_retries(lane.connection, pages)) == [Progress(gone=2)]


def test_a_second_request_keeps_the_first_mark_and_watches_the_same_letters(lane: Lane) -> None:
    dead_text(lane)
    mark(lane)
    (first,) = letters(lane)

    pages = dead_letters.request_retries(lane.connection, dead_letters.count(lane.connection, Filter()))

    (second,) = letters(lane)
    assert first["retry_requested_at"] == second["retry_requested_at"]
    lane.drain_once()
    assert list(dead_letters.watch_retries(lane.connection, pages)) == [Progress(1, died_again=1)]


def test_without_a_worker_it_ends_with_a_sentence_and_the_letters_stay_marked(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_PATIENCE_SECONDS", 0.3)
    dead_text(lane)
    selection = dead_letters.count(lane.connection, Filter())

    with pytest.raises(RetryError, match="No worker has retried"):
        list(dead_letters.retry(lane.connection, selection))

    assert marked(lane) == 1

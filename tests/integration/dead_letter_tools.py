"""Dead letters for tests of them.

A letter that is to be applied in the end dies of a constraint that the test adds and removes again: an error of ours
that was fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import Any

from operations import dead_letters
from operations.dead_letters import Filter
from shared.postgres.connections import connect_postgres
from shared.redis.wakeups import wake_queue
from shared.request_id import position_of_entry
from tests.integration.ingestctl_tools import Ingestctl
from tests.integration.lane_tools import Lane
from workers.retry import lanes_to_retry
from workers.sweep import RetryWatch, Sweeper


def request_id(lane: Lane, entry_id: str) -> str:
    return position_of_entry(lane.number, entry_id).request_id


def break_items(lane: Lane) -> None:
    lane.connection.execute("ALTER TABLE items ADD CONSTRAINT broken CHECK (id NOT LIKE 'bad%') NOT VALID")


def mend_items(lane: Lane) -> None:
    lane.connection.execute("ALTER TABLE items DROP CONSTRAINT broken")


def dead_item(lane: Lane) -> str:
    """A letter that can be applied once `mend_items` was called; its request's id. Items are broken from here on."""
    break_items(lane)
    found = request_id(lane, lane.append({"id": "bad", "fields": {"n": 1}}))
    lane.drain_once()
    assert len(letters(lane)) == 1
    return found


def dead_text(lane: Lane, body: bytes = b"not json") -> str:
    """A letter that dies at each retry."""
    found = request_id(lane, lane.append(raw=body))
    lane.drain_once()
    return found


def letters(lane: Lane) -> list[dict[str, Any]]:
    return lane.rows("SELECT * FROM dead_letters ORDER BY version")


def marked(lane: Lane) -> int:
    return len(lane.rows("SELECT FROM dead_letters WHERE retry_requested_at IS NOT NULL"))


def mark(lane: Lane, *, lift_bound: bool = False, **conditions: Any) -> None:
    """Request retries, and tell the lane's next drain as the sweeper does."""
    selection = replace(dead_letters.count(lane.connection, Filter(**conditions)), lift_bound=lift_bound)
    dead_letters.request_retries(lane.connection, selection)
    if lanes_to_retry(lane.connection):
        lane.redis.set(lane.keys.retry, "1", px=60_000)


def retry(lane: Lane, **conditions: Any) -> None:
    mark(lane, **conditions)
    lane.drain_once()


def sweeper_of(lane: Lane, database_url: str) -> Sweeper:
    """A sweeper that looks for retries at each sweep, on the lane's own connection."""
    watch = RetryWatch(lambda: lane.connection)

    class _Sweeper(Sweeper):
        def sweep(self) -> None:
            watch.look()
            super().sweep()

    return _Sweeper(lane.redis, database_url, wake_queue(lane.redis), watch)


@contextmanager
def retrying_worker(lane: Lane, database_url: str) -> Iterator[None]:
    """A worker, with connections of its own, that retries marked letters until the block ends."""
    stop = Event()

    def work() -> None:
        with connect_postgres(database_url, application="another worker") as connection:
            while not stop.wait(0.05):
                if lanes_to_retry(connection):
                    lane.redis.set(lane.keys.retry, "1", px=5_000)
                    lane.drain_once()

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def state(ingestctl: Ingestctl, sent_as: str) -> str:
    return str(ingestctl.json("trace", sent_as)["state"])

"""What operators and clients ask about a lane costs the same whatever the size of its entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from redis import Redis

from shared.credentials.sync import load_lanes
from shared.limits import MB
from shared.redis.lane_status import look_at_redis
from shared.redis.names import CONSUMER, GROUP
from shared.redis.scripts import Scripts
from shared.redis.wakeups import wake_queue
from tests.integration.lane_tools import Lane, batch

LARGE = batch({"id": "large", "fields": {"n": "x" * 100_000}})
SMALL = batch({"id": "small", "fields": {"n": "x"}})
#: Copies all entries of a stream, as a careless question would.
COPY = "return #redis.call('XRANGE', KEYS[1], '-', '+')"


def largest() -> bytes:
    return batch({"id": "large", "fields": {"n": "x" * (20 * MB)}})


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1000, burst=1000) as lane:
        yield lane


def find(lane: Lane, entry_id: str) -> Any:
    return Scripts(lane.redis)("find_entry", [lane.keys.stream, lane.keys.large], [entry_id, GROUP])


def count_ahead(lane: Lane, entry_id: str) -> Any:
    return Scripts(lane.redis)("count_ahead", [lane.keys.stream, lane.keys.large], [entry_id, 1000])


def age(lane: Lane) -> float | None:
    return look_at_redis(lane.redis, wake_queue(lane.redis), lane.lanes).lanes[lane.number].oldest_age_seconds


def copies_nothing(lane: Lane, ask: Callable[[], object]) -> bool:
    """Whether all that is asked takes Redis less than a quarter of the time of a copy: the least of ten, in turn."""

    def microseconds(do: Callable[[], object], command: str) -> int:
        lane.redis.config_resetstat()
        do()
        stats: Any = lane.redis.info("commandstats")
        return int(stats[f"cmdstat_{command}"]["usec"])

    copied = partial(lane.redis.eval, COPY, 1, lane.keys.stream)
    asked, copying = zip(
        *((microseconds(ask, "evalsha"), microseconds(copied, "eval")) for _ in range(10)), strict=True
    )
    return bool(min(asked) < min(copying) / 4)


def deliver(lane: Lane, count: int) -> None:
    lane.redis.xreadgroup(GROUP, CONSUMER, {lane.keys.stream: ">"}, count=count)


def test_a_large_entry_is_found_until_it_is_settled(lane: Lane) -> None:
    large, small = (lane.append(raw=body) for body in (LARGE, SMALL))
    for delivered in (0, 1, 2):
        if delivered:
            deliver(lane, 1)
        for entry_id in (large, small):
            assert find(lane, entry_id) == [str(lane.connector_id).encode(), b'{"kind":"items"}', b"1"]
    assert find(lane, "1-1") is None

    lane.drain_once()

    assert find(lane, large) is find(lane, small) is None
    assert not lane.redis.exists(lane.keys.large)
    lane.assert_empty()


@pytest.mark.parametrize("delivered", [0, 1, 2])
def test_asking_copies_no_body(lane: Lane, delivered: int) -> None:
    ids = [lane.append(raw=largest()), lane.append(raw=largest())]
    if delivered:
        deliver(lane, delivered)

    assert [count_ahead(lane, entry_id) for entry_id in ids] == [0, 1]
    assert age(lane) is not None
    for ask in (lambda: find(lane, ids[0]), lambda: age(lane), lambda: count_ahead(lane, ids[1])):
        assert copies_nothing(lane, ask)


def test_the_age_is_that_of_the_first_entry_whatever_its_size(lane: Lane) -> None:
    assert age(lane) is None
    seconds, _ = lane.redis.time()
    ages = [4000, 3000, 2000, 1000]
    for number, old in enumerate(ages):
        entry_id = f"{(seconds - old) * 1000}-0"
        fields: dict[Any, Any] = {"c": lane.connector_id, "m": '{"kind":"items"}', "n": 1}
        lane.redis.xadd(lane.keys.stream, {**fields, "b": LARGE}, entry_id)
        if number in (1, 3):
            lane.redis.xadd(lane.keys.large, fields, entry_id)
        assert age(lane) == pytest.approx(ages[0], abs=500)
    for old in ages:
        assert age(lane) == pytest.approx(old, abs=500)
        deliver(lane, 1)
        assert age(lane) == pytest.approx(old, abs=500)
        settle(lane)
    assert age(lane) is None


def settle(lane: Lane) -> None:
    pending: Any = lane.redis.xpending(lane.keys.stream, GROUP)
    names = [lane.keys.stream, lane.keys.backlog, lane.keys.large]
    Scripts(lane.redis)("settle", names, [GROUP, pending["min"], lane.connector_id, 1])


def test_entries_of_a_former_version_are_found_too(lane: Lane) -> None:
    former = lane.append(raw=LARGE)
    lane.redis.delete(lane.keys.large)
    later = lane.append(raw=LARGE)

    assert find(lane, former) == find(lane, later)
    assert [count_ahead(lane, entry_id) for entry_id in (former, later)] == [0, 1]


def test_an_entry_that_a_former_version_has_settled_is_not_found(lane: Lane) -> None:
    settled, waiting = lane.append(raw=LARGE), lane.append(raw=LARGE)
    deliver(lane, 1)
    lane.redis.xack(lane.keys.stream, GROUP, settled)
    lane.redis.xdel(lane.keys.stream, settled)

    assert find(lane, settled) is None
    assert find(lane, waiting)
    lane.drain_once()
    assert not lane.redis.exists(lane.keys.large)


def test_reloading_a_lane_copies_no_body_either(lane: Lane) -> None:
    lane.append(raw=SMALL)
    lane.drain_once()
    lane.append(raw=largest())

    def reload() -> None:
        load_lanes(lane.connection, lane.redis, [lane.number])

    assert copies_nothing(lane, reload)

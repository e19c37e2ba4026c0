"""The append script: authentication, token buckets, backlog limits, idempotency, and what it appends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from shared.credentials.sync import load_lanes
from shared.request_id import MAX_SEQUENCE
from tests.integration.lane_tools import Lane, batch

BODY = batch({"id": "a"})


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=10, burst=3) as lane:
        yield lane


def test_an_accepted_submission_is_appended_and_claims_the_wake_up_once(lane: Lane) -> None:
    first_woken, first = lane.ask("append", BODY)
    second_woken, second = lane.ask("append", BODY)

    assert (first_woken, second_woken) == (True, False)
    assert [first[0], second[0]] == ["ok", "ok"]
    assert lane.redis.xlen(lane.keys.stream) == 2


def test_a_wrong_secret_and_an_unknown_key_get_the_same_answer_and_leave_nothing(lane: Lane) -> None:
    good = lane.credential
    lane.credential = good[:-1] + ("a" if good[-1] != "a" else "b")
    _, wrong_secret = lane.ask("append", BODY)
    lane.redis.delete(lane.keys.credential(good.split("_")[1]))
    _, unknown_key = lane.ask("append", BODY)

    assert wrong_secret == unknown_key == ["unauthorized"]
    assert lane.redis.xlen(lane.keys.stream) == 0
    assert lane.redis.exists(lane.keys.bucket(good.split("_")[1])) == 0


def test_a_check_takes_no_token_and_a_charge_takes_one(lane: Lane) -> None:
    remaining = [lane.ask(mode, now_us=1_000_000)[1][3] for mode in ("check", "check", "charge", "check")]

    assert remaining == [3, 3, 2, 2]


def test_a_limited_call_appends_nothing_and_passes_after_retry_after(lane: Lane) -> None:
    statuses = [lane.ask("append", BODY, now_us=1_000_000)[1][0] for _ in range(4)]
    limited = lane.ask("append", BODY, now_us=1_000_000)[1]

    assert statuses == ["ok", "ok", "ok", "limited"]
    assert lane.redis.xlen(lane.keys.stream) == 3
    assert lane.ask("append", BODY, now_us=1_000_000 + limited[-1] * 1_000_000)[1][0] == "ok"


def test_a_full_backlog_refuses_the_submission_and_takes_no_token(lane: Lane) -> None:
    lane.backlog_limit = 10

    _, answer = lane.ask("append", BODY, now_us=1_000_000)

    assert answer[0] == "full"
    assert lane.ask("check", now_us=1_000_000)[1][3] == 3
    assert lane.redis.xlen(lane.keys.stream) == 0


def test_a_connector_with_a_full_backlog_is_refused_alone(lane: Lane) -> None:
    lane.connector_limit = 500

    statuses = [lane.ask("append", BODY, now_us=1_000_000)[1][0] for _ in range(2)]
    lane.drain_once()

    assert statuses == ["ok", "connector_full"]
    assert lane.ask("append", BODY, now_us=2_000_000)[1][0] == "ok", "applied submissions make room again"


def test_bytes_in_other_lanes_count_towards_the_limit(lane: Lane) -> None:
    lane.backlog_limit = 10_000
    lane.redis.hset(lane.keys.backlog, "elsewhere", 9_990)

    assert lane.ask("append", BODY)[1][0] == "full"


def test_a_redis_without_its_data_is_not_ready(lane: Lane) -> None:
    lane.redis.flushall()

    assert lane.ask("append", BODY) == (False, ["not_ready"])
    assert lane.redis.dbsize() == 0


def test_a_server_gives_no_id_that_the_one_before_it_may_still_give(lane: Lane) -> None:
    """After a failover both accept for some seconds, perhaps in the same millisecond."""
    given: list[int] = []
    for _ in range(3):
        given.append(int(lane.append({"id": "a"}).partition("-")[2]))
        lane.redis.set(lane.keys.ready, "another server")
        load_lanes(lane.connection, lane.redis, [lane.number])

    assert given == [0, 4_096, 8_192]


def test_ids_go_on_while_the_clock_is_behind(lane: Lane) -> None:
    lane.redis.hset(lane.keys.backlog, mapping={"era": 3, "last": "no number"})
    last_id = ("XSETID", lane.keys.stream, "3000000000000-7")
    lane.redis.execute_command(*last_id)  # type: ignore[no-untyped-call] # untyped in redis-py

    assert [lane.append({"id": "a"}) for _ in range(2)] == ["3000000000000-8", "3000000000000-9"]


def test_an_empty_bucket_refills_after_the_clock_stepped_back(lane: Lane) -> None:
    hour = 3_600_000_000
    for _ in range(3):
        lane.ask("charge", now_us=2 * hour)

    limited = lane.ask("charge", now_us=hour)[1]

    assert (limited[0], limited[-1]) == ("limited", 1)
    assert lane.ask("charge", now_us=hour + 1_000_000)[1][0] == "ok"


def test_a_clock_that_steps_back_neither_repeats_an_id_nor_outgrows_its_bits(lane: Lane) -> None:
    future = 4_000_000_000_000
    lane.redis.eval("redis.call('XSETID', KEYS[1], ARGV[1])", 1, lane.keys.stream, f"{future}-{MAX_SEQUENCE - 1}")

    ids = [lane.append({"id": "a"}) for _ in range(3)]

    assert ids == [f"{future}-{MAX_SEQUENCE}", f"{future + 1}-1", f"{future + 1}-2"]


@dataclass
class Bucket:
    """A token bucket as a model in Python; times in microseconds."""

    rate: float
    burst: int
    tokens: float
    at: int = 0

    def take(self, now: int) -> tuple[bool, int]:
        """Take a token. Return whether one was there, and the whole tokens left."""
        filled = min(self.burst, self.tokens + max(0, now - self.at) * self.rate / 1_000_000)
        if filled < 1:
            # The script stores the time of a limited call only if the clock stepped back.
            self.at = min(self.at, now)
            return False, 0
        self.tokens, self.at = filled - 1, now
        return True, math.floor(self.tokens)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rate=st.floats(0.1, 10_000),
    burst=st.integers(1, 500),
    steps=st.lists(st.integers(-2_000_000, 5_000_000), min_size=1, max_size=30),
)
def test_the_token_bucket_behaves_like_the_model(lane: Lane, rate: float, burst: int, steps: list[int]) -> None:
    key_id = lane.credential.split("_")[1]
    lane.redis.hset(lane.keys.credential(key_id), mapping={"rate": repr(rate), "burst": burst})
    lane.redis.delete(lane.keys.bucket(key_id))
    model, now = Bucket(rate, burst, burst), 1_800_000_000_000_000
    model.at = now

    for step in steps:
        now += step
        taken, left = model.take(now)
        status, _, limit, remaining, reset, last = lane.ask("charge", now_us=now)[1]

        assert (status == "ok", remaining, limit) == (taken, left, burst)
        assert 0 <= reset <= math.ceil(burst / rate)
        if not taken:
            assert 1 <= last <= math.ceil(1 / rate) + 1


def test_an_idempotency_key_appends_once_and_detects_another_submission(lane: Lane) -> None:
    first = lane.ask("append", BODY, idempotency="k", fingerprint="aa")[1]
    again = lane.ask("append", BODY, idempotency="k", fingerprint="aa")[1]
    other = lane.ask("append", BODY, idempotency="k", fingerprint="bb")[1]

    assert [first[0], again[0], other[0]] == ["ok", "replayed", "reused"]
    assert again[-1] == first[-1]
    assert [first[3], again[3], other[3]] == [2, 1, 0], "each call costs a token"
    assert lane.redis.xlen(lane.keys.stream) == 1


def test_a_replay_is_answered_while_the_backlog_is_full(lane: Lane) -> None:
    first = lane.ask("append", BODY, idempotency="k", fingerprint="aa")[1]
    lane.backlog_limit = 1

    assert lane.ask("append", BODY, idempotency="k", fingerprint="aa")[1][-1] == first[-1]

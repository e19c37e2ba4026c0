"""The sweeper: no lane waits forever, whatever was lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psycopg
import pytest
import structlog
from redis import Redis
from rq.exceptions import InvalidJobOperation

from shared.postgres.connections import Connection
from shared.redis.activity import last_sweep
from shared.redis.wakeups import enqueue_drain, forget_failed_drains, new_job_id, wake_queue
from tests.integration.lane_tools import Lane
from workers.credential_watch import CredentialWatch
from workers.schedule import Schedule
from workers.sweep import RetryWatch, Sweeper, keep_sweeping


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


def test_the_sweeper_wakes_a_lane_that_has_work_and_no_lease(lane: Lane, database_url: str) -> None:
    lane.append({"id": "a"})
    queue = wake_queue(lane.redis)
    sweeper = Sweeper(lane.redis, database_url, queue)

    sweeper.sweep()
    while_claimed = len(queue)
    lane.redis.delete(lane.keys.lease)
    sweeper.sweep()
    after_expiry = len(queue)
    lane.redis.delete(lane.keys.lease)
    sweeper.sweep()

    assert while_claimed == 0, "the append's own claim is younger than its lease"
    assert (after_expiry, len(queue)) == (1, 1), "a job that still stands in the queue is not doubled"
    assert lane.redis.exists(lane.keys.lease) == 1


def test_the_sweeper_forgets_the_failed_job_of_a_lane_that_works_again(lane: Lane, database_url: str) -> None:
    queue = wake_queue(lane.redis)
    sweeper = Sweeper(lane.redis, database_url, queue)
    job_id = new_job_id(lane.number)
    enqueue_drain(queue, lane.number, job_id)
    job = queue.fetch_job(job_id)
    assert job
    queue.failed_job_registry.add(job, ttl=600)
    lane.redis.delete(f"rq:job:{job_id}", "rq:queue:drain")  # a job's hash has a time to live
    lane.append({"id": "a"})
    lane.redis.set(lane.keys.failures, 1)

    sweeper.sweep()
    while_it_fails = queue.failed_job_registry.get_job_ids(cleanup=False)
    lane.redis.delete(lane.keys.failures)
    sweeper.sweep()

    assert while_it_fails == [job_id]
    assert queue.failed_job_registry.get_job_ids(cleanup=False) == []


def test_the_sweeper_forgets_the_failed_job_of_a_lane_that_has_nothing_left(lane: Lane, database_url: str) -> None:
    queue = wake_queue(lane.redis)
    job_id = new_job_id(lane.number)
    enqueue_drain(queue, lane.number, job_id)
    job = queue.fetch_job(job_id)
    assert job
    queue.failed_job_registry.add(job, ttl=600)
    lane.redis.set(lane.keys.failures, 1)

    Sweeper(lane.redis, database_url, queue).sweep()

    assert queue.failed_job_registry.get_job_ids(cleanup=False) == []


def test_processes_that_forget_the_same_failed_jobs_at_once_do_not_mind(lane: Lane) -> None:
    queue = wake_queue(lane.redis)
    for _ in range(60):
        job_id = new_job_id(lane.number)
        enqueue_drain(queue, lane.number, job_id)
        job = queue.fetch_job(job_id)
        assert job
        queue.failed_job_registry.add(job, ttl=600)

    with ThreadPoolExecutor(4) as executor:
        forgetting = [executor.submit(forget_failed_drains, queue, lambda _lane: True) for _ in range(4)]
        for one in forgetting:
            one.result()

    assert queue.failed_job_registry.get_job_ids(cleanup=False) == []


def test_a_failed_job_that_cannot_be_read_is_forgotten(lane: Lane) -> None:
    queue = wake_queue(lane.redis)
    planted = new_job_id(lane.number)
    lane.redis.zadd("rq:failed:drain", {planted: 2**40})
    lane.redis.set(f"rq:job:{planted}", "not a job")

    forget_failed_drains(queue, lambda _lane: True)

    assert queue.failed_job_registry.get_job_ids(cleanup=False) == []


def test_a_step_that_fails_keeps_no_other_from_its_work(
    lane: Lane, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.append({"id": "a"})
    lane.redis.delete(lane.keys.lease)
    sweeper = Sweeper(lane.redis, database_url, wake_queue(lane.redis))

    def fails(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(Schedule, "keep", fails)
    monkeypatch.setattr(Sweeper, "_recount", fails)
    with structlog.testing.capture_logs() as lines:
        sweeper.sweep()

    assert len(wake_queue(lane.redis)) == 1
    assert {line["step"] for line in lines if line["event"] == "sweep_failed"} == {"recount", "schedule"}


@pytest.mark.parametrize("error", [InvalidJobOperation("gone"), psycopg.OperationalError(), KeyError(), OSError()])
def test_no_error_ends_the_sweeper(error: Exception) -> None:
    stop, sweeps = Event(), 0

    def sweep() -> None:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 3:
            stop.set()
        raise error

    keep_sweeping(sweep, stop, seconds=0)

    assert sweeps == 3


def test_only_one_sweeper_acts(lane: Lane, database_url: str) -> None:
    queue = wake_queue(lane.redis)
    first, second = (Sweeper(lane.redis, database_url, queue) for _ in range(2))
    first.sweep()
    lane.append({"id": "a"})
    lane.redis.delete(lane.keys.lease)

    second.sweep()
    assert len(queue) == 0
    first.sweep()
    assert len(queue) == 1


def test_a_sweeper_reloads_a_redis_that_lost_its_memory(lane: Lane) -> None:
    watch = CredentialWatch(lane.redis, lambda: lane.connection, lambda: True)
    watch.look()
    lane.redis.flushall()

    watch.look()

    assert lane.ask("check")[1][0] == "ok"


def test_the_sweeper_corrects_counters_that_were_changed_by_hand(lane: Lane, database_url: str) -> None:
    sweeper = Sweeper(lane.redis, database_url, wake_queue(lane.redis))
    lane.append({"id": "a"})
    right = lane.redis.hgetall(lane.keys.backlog)
    lane.redis.hset(lane.keys.backlog, mapping={"bytes": 7, "c:1": 9, "c:99": 5})

    for _ in range(lane.lanes):
        sweeper.sweep()

    assert {key: value for key, value in lane.redis.hgetall(lane.keys.backlog).items() if key != b"elsewhere"} == right
    lane.drain_once()
    lane.assert_empty()


def test_a_sweeper_wakes_lanes_while_postgres_is_away(lane: Lane, database_url: str) -> None:
    def away() -> Connection:
        raise psycopg.OperationalError("connection refused")

    watch = RetryWatch(away)
    watch.lanes = {lane.number}
    sweeper = Sweeper(lane.redis, database_url, wake_queue(lane.redis), watch)
    with pytest.raises(psycopg.OperationalError):
        watch.look()
    lane.append({"id": "a"})
    lane.redis.delete(lane.keys.lease)

    sweeper.sweep()

    assert len(wake_queue(lane.redis)) == 1
    assert not watch.lanes, "what is not known wakes no lane"


def test_the_sweeper_reports_lanes_that_apply_nothing(lane: Lane, database_url: str) -> None:
    sweeper = Sweeper(lane.redis, database_url, wake_queue(lane.redis), stalled_after_seconds=0)
    assert last_sweep(lane.redis) is None
    for name in ("a", "b"):
        lane.append({"id": name})
    for _ in range(2):
        sweeper.sweep()
    assert last_sweep(lane.redis) == [lane.number]

    lane.drain_once()
    sweeper.sweep()
    assert last_sweep(lane.redis) == []
    assert int(lane.redis.hget(lane.keys.backlog, "settled") or 0) == 2

"""The chore of age in RQ's schedule: one run stands there whatever happens, and a worker does it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from rq.job import Retry

from operations.audit import select_audit
from shared.outage import Outage
from shared.postgres import partitions
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.partitions import TABLES, Tally, make_ahead
from shared.process.setting_values import SecretUrl
from shared.process.settings import Settings
from shared.redis.scripts import Scripts
from shared.redis.wakeups import queued_lanes, wake_queue
from tests.integration.partition_tools import DAY, KEEP, NOON, names, places, put
from workers import tasks
from workers.__main__ import ShutdownFlag, build_worker
from workers.context import DrainContext
from workers.retention import keep_days
from workers.schedule import AGING_TASK, Schedule, enqueue_rest, next_run

LONG_AGO = NOON - 18_000 * DAY


@pytest.fixture(autouse=True)
def _handlers_of_signals_as_before() -> Iterator[None]:
    """A worker of RQ takes the signals over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def work(settings: Settings, redis: Redis) -> None:
    """All that waits in the queue, by a worker as `python -m workers` builds it; but it closes its connection."""
    worker = build_worker(redis, "worker.1", ShutdownFlag(), Outage("redis_lost"), lambda _: None)
    with ExitStack() as stack:
        tasks.use(
            DrainContext(
                redis=redis,
                scripts=Scripts(redis),
                queue=wake_queue(redis),
                connection=lambda: stack.enter_context(connect_postgres(settings.database_url, application="worker")),
                stopping=lambda: False,
            ),
            keep_days(settings),
        )
        worker.work(burst=True, logging_level="CRITICAL")


def scheduled(redis: Redis) -> list[tuple[str, float]]:
    found: Any = redis.zrange("rq:scheduled:drain", 0, -1, withscores=True)
    return [(job_id.decode(), score) for job_id, score in found]


def test_the_next_run_is_at_the_top_of_the_next_hour() -> None:
    assert next_run(NOON) == NOON + timedelta(hours=1)
    assert next_run(NOON + timedelta(minutes=59, seconds=59)) == NOON + timedelta(hours=1)


def test_one_run_stands_in_rqs_schedule_however_many_sweepers_look(redis: Redis) -> None:
    schedules = [Schedule(redis, wake_queue(redis)) for _ in range(2)]

    for schedule in schedules * 3:
        schedule.keep(NOON)

    assert [score for _, score in scheduled(redis)] == [next_run(NOON).timestamp()]
    assert wake_queue(redis).count == 0


def test_a_due_run_waits_once_and_the_next_is_scheduled_when_it_has_begun(settings: Settings, redis: Redis) -> None:
    queue, schedule = wake_queue(redis), Schedule(redis, wake_queue(redis))
    schedule.keep(LONG_AGO)
    for _ in range(3):
        schedule.keep(NOON)
    waiting = queue.get_jobs()

    assert [job.func_name for job in waiting] == [AGING_TASK]
    assert queued_lanes(queue) == set()
    assert scheduled(redis) == []

    work(settings, redis)
    schedule.keep(NOON)
    assert [score for _, score in scheduled(redis)] == [next_run(NOON).timestamp()]


def test_a_worker_runs_it(settings: Settings, redis: Redis, bare: Connection) -> None:
    make_ahead(bare, Tally(), now=NOON - 7_000 * DAY)
    put(bare, NOON - 7_000 * DAY, NOON - 7_100 * DAY)
    Schedule(redis, wake_queue(redis)).keep(LONG_AGO)
    Schedule(redis, wake_queue(redis)).keep(NOON)  # RQ's lock is the first one's: nothing moves
    assert wake_queue(redis).count == 0
    redis.delete("rq:scheduler-lock:drain")
    Schedule(redis, wake_queue(redis)).keep(NOON)

    work(settings, redis)

    assert len(names(bare)) == 18
    assert places(bare, "receipts") == []
    assert wake_queue(redis).failed_job_registry.count == 0
    assert list(redis.scan_iter("rq:job:*")) == [f"rq:job:{job_id}".encode() for job_id, _ in scheduled(redis)]


def test_what_a_run_leaves_is_deleted_by_jobs_behind_those_that_wait(
    settings: Settings, redis: Redis, bare: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "BATCHES", 1)
    monkeypatch.setattr(partitions, "TABLES", tuple(replace(table, batch=10) for table in TABLES))
    put(bare, *(NOON - 7_000 * DAY + timedelta(seconds=second) for second in range(35)))
    enqueue_rest(wake_queue(redis))

    work(settings, redis)

    assert places(bare, "receipts") == places(bare, "dead_letters") == []
    assert names(bare) == [], "the rest of a run only deletes"


def test_a_run_that_fails_is_tried_again_by_rq(settings: Settings, redis: Redis) -> None:
    enqueue_rest(wake_queue(redis))
    away = replace(settings, database_url=SecretUrl("postgresql://127.0.0.1:1/nothing"))
    started = time.time()

    work(away, redis)

    [(job_id, again_at)] = scheduled(redis)
    assert 58 <= again_at - started <= 75
    assert wake_queue(redis).failed_job_registry.count == 0
    job = wake_queue(redis).fetch_job(job_id)
    assert job
    assert job.retries_left == Retry(max=3).max - 1


def test_settings_say_how_long(settings: Settings) -> None:
    keep = keep_days(settings)
    assert keep.items() >= KEEP.items()
    assert set(keep) == {"audit", *(table.name for table in TABLES)}


def test_records_of_changes_are_deleted_when_their_days_are_over(
    settings: Settings, redis: Redis, connection: Connection
) -> None:
    record = (
        b"INSERT INTO audit (at, actor_kind, actor, action, subject) "
        b"VALUES (now() - make_interval(days => %s), 'command', 'a@b', %s, 'x')"
    )
    for days in (2000, settings.keep_audit_days + 1, settings.keep_audit_days - 1):
        connection.execute(record, (days, f"after {days} days"))
    enqueue_rest(wake_queue(redis))

    work(settings, redis)

    [left] = select_audit(connection, actor="a@b")
    assert left["action"] == f"after {settings.keep_audit_days - 1} days"

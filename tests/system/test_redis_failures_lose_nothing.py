"""Redis is killed, hangs, is full, loses its data or its time; what was accepted is applied."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.support.client import JSON, MB, Connector, assert_accepted, assert_refused, batch, item
from tests.support.processes import wait_until
from tests.support.request_ids import lane_of
from tests.support.stack import Stack
from tests.support.submissions import all_is_applied_once, stored, submit

_HEAVY = "x" * (MB // 4)


@contextmanager
def _full(stack: Stack, *, until_freed: int) -> Iterator[None]:
    """Leave Redis without room within the block, until `until_freed` bytes are freed."""
    memory: Any = stack.redis.info("memory")
    before: Any = stack.redis.config_get("maxmemory")["maxmemory"]
    stack.redis.config_set("maxmemory", memory["used_memory"] - until_freed)
    try:
        yield
    finally:
        stack.redis.config_set("maxmemory", before)


def test_full_redis_is_drained_and_accepts_again(workerless: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(workerless)
    workerless.lanes_are_empty()

    def post(number: int) -> int:
        answer = connector.post(batch(item(f"heavy-{number}", notes=_HEAVY)))
        if answer.status_code != 202:
            assert_refused(answer, 503, "store_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status_code

    assert {post(number) for number in range(24)} == {202}
    with _full(workerless, until_freed=3 * MB):
        assert post(24) == 503
        with workerless.worker() as worker:
            worker.says("redis_full")
            wait_until("there is room", lambda: post(24) == 202)
            all_is_applied_once(workerless, connector, {f"heavy-{number}" for number in range(25)})


def test_redis_killed_under_load_loses_nothing_accepted(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    accepted: list[str] = []
    statuses: list[int] = []
    with workerless.api() as api, workerless.worker() as worker, connector.connection(api.url) as connection:

        def post(number: int) -> int:
            name = f"agent-{number}"
            answer = connection.post("/api/ingest", content=batch(item(name)), headers=JSON)
            if answer.status_code == 202:
                accepted.append(name)
            else:
                assert answer.status_code == 503, answer.text
                assert_refused(answer, 503, answer.json()["error"]["code"])
                assert int(answer.headers["Retry-After"]) >= 1
            statuses.append(answer.status_code)
            return answer.status_code

        for number in range(300):
            post(number)
            if number == 100:
                os.kill(workerless.redis_pid(), signal.SIGKILL)
        wait_until("submissions are accepted again", lambda: post(len(statuses)) == 202)
        # The same worker goes on: it did not end.
        workerless.lanes_are_empty()
        assert worker.runs

    assert len(accepted) > 100
    found = stored(workerless, connector)
    assert set(accepted) <= found
    # The request in progress when Redis was killed may have been appended without an answer.
    assert len(found) <= len(accepted) + 1


def test_empty_redis_is_loaded_again_and_newer_versions_still_win(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as worker, connector.connection() as connection:
        connector.send(item("agent-1", turn=1))
        wait_until("it is applied", lambda: workerless.fields(connector, "agent-1") == {"turn": "1"})
        workerless.lanes_are_empty()

        workerless.redis.flushall()
        os.kill(workerless.redis_pid(), signal.SIGKILL)

        def accepted() -> bool:
            answer = connection.post("/api/ingest", content=batch(item("agent-1", turn=2)), headers=JSON)
            assert answer.status_code in (202, 503), answer.text
            return answer.status_code == 202

        wait_until("it is accepted", accepted)
        wait_until("it is applied", lambda: workerless.fields(connector, "agent-1") == {"turn": "2"})
        workerless.lanes_are_empty()
        assert worker.runs
        # The worker waits for Redis without a busy loop.
        assert len(worker.printed.splitlines()) < 100, worker.printed


def test_hung_redis_means_503_and_loses_nothing_accepted(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector, pid = new_connector(workerless), workerless.redis_pid()
    with workerless.worker() as worker, ThreadPoolExecutor(1) as other:
        with workerless.items_locked():
            names = submit(connector)
            wait_until("the worker is held in its transaction", workerless.held_writers)
            os.kill(pid, signal.SIGSTOP)
        try:
            answer = other.submit(connector.post, batch(item("unknown"))).result()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert_refused(answer, 503, "store_unavailable")
        # Redis may still execute what it was sent while it hung: it was not accepted, and is not repeated.
        wait_until("all is applied", lambda: stored(workerless, connector) >= names)
        names |= submit(connector, "later")
        wait_until("all is applied", lambda: stored(workerless, connector) >= names)
        workerless.lanes_are_empty()
        assert worker.runs
    assert stored(workerless, connector) <= {*names, "unknown"}
    assert workerless.count("receipts", connector) <= len(names) + 1


def test_clock_that_steps_back_gives_growing_ids_and_the_newer_submission_wins(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    stream = f"{{lane-{lane_of(connector.send(item('agent-1', turn=0))):02d}}}:stream"
    seconds, _ = workerless.redis.time()
    # The state after a time in which the clock was an hour ahead.
    ahead = ("XSETID", stream, f"{(seconds + 3600) * 1000}-7")
    workerless.redis.execute_command(*ahead)  # type: ignore[no-untyped-call] # redis-py lacks the command, and a type
    with connector.connection() as connection:
        ids = [
            assert_accepted(connection.post("/api/ingest", content=batch(item("agent-1", turn=turn)), headers=JSON))
            for turn in (1, 2, 3)
        ]
        with workerless.worker():
            workerless.lanes_are_empty()
        states = [connection.get(f"/api/requests/{request_id}").json()["state"] for request_id in ids]
    assert len(set(ids)) == 3
    assert states == ["applied"] * 3
    assert workerless.fields(connector, "agent-1") == {"turn": "3"}


def test_full_backlog_refuses_submissions_until_it_is_drained(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    workerless.lanes_are_empty()
    body = batch(item("heavy", notes=_HEAVY))
    with workerless.api(MAX_BACKLOG_BYTES=MB) as api:
        for _ in range(3):
            assert_accepted(connector.post_to(api.url, body, JSON))

        refused = connector.post_to(api.url, body, JSON)

        assert_refused(refused, 503, "backlog_full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert workerless.waiting() == 3
        with workerless.worker():
            wait_until("there is room", lambda: connector.post_to(api.url, body, JSON).status_code == 202)
            workerless.lanes_are_empty()

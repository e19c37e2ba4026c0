"""Redis is killed, hangs, forgets, is full; what was accepted is applied, once there is a way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.system.client import JSON, MB, Connector, assert_accepted, assert_refused, batch, item
from tests.system.effects import all_is_applied_once, stored, submit
from tests.system.processes import wait_until
from tests.system.request_ids import lane_of
from tests.system.stack import Stack

_HEAVY = "x" * (MB // 4)


@contextmanager
def _full(stack: Stack, *, until_freed: int) -> Iterator[None]:
    """Redis has no room within the block until so many bytes have been freed."""
    memory: Any = stack.redis.info("memory")
    before: Any = stack.redis.config_get("maxmemory")["maxmemory"]
    stack.redis.config_set("maxmemory", memory["used_memory"] - until_freed)
    try:
        yield
    finally:
        stack.redis.config_set("maxmemory", before)


def test_redis_full_of_what_was_accepted_is_drained_and_takes_more_by_itself(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
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


def test_redis_killed_under_load_keeps_what_was_accepted(
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
        # The same worker goes on; nobody has started it again.
        workerless.lanes_are_empty()
        assert worker.runs

    assert len(accepted) > 100
    found = stored(workerless, connector)
    assert set(accepted) <= found
    # What was under way when Redis died may have been appended without an answer.
    assert len(found) <= len(accepted) + 1


def test_redis_that_comes_back_empty_is_loaded_again_and_newer_still_wins(
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
        # It waits for what it needs; it does not ask for it as fast as it can.
        assert len(worker.printed.splitlines()) < 100, worker.printed


def test_redis_that_hangs_is_answered_503_and_goes_on_where_it_was(
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
        # What it was asked while it hung it may yet do: nothing was promised, nothing is asked twice.
        wait_until("all is applied", lambda: stored(workerless, connector) >= names)
        names |= submit(connector, "later")
        wait_until("all is applied", lambda: stored(workerless, connector) >= names)
        workerless.lanes_are_empty()
        assert worker.runs
    assert stored(workerless, connector) <= {*names, "unknown"}
    assert workerless.count("receipts", connector) <= len(names) + 1


def test_redis_whose_clock_steps_back_gives_growing_ids_and_the_newer_wins(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    stream = f"{{lane-{lane_of(connector.send(item('agent-1', turn=0))):02d}}}:stream"
    seconds, _ = workerless.redis.time()
    # As if the clock had been an hour ahead until now.
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


def test_full_backlog_puts_submissions_off_until_it_is_worked_off(
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

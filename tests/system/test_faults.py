"""Processes die or hang in the middle of their work; what was accepted is applied, and applied once."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx

from tests.system.client import JSON, MB, Connector, assert_accepted, assert_refused, batch, item, talk
from tests.system.processes import wait_until
from tests.system.stack import Api, Stack

#: A lease runs out after three seconds, and the sweeper looks once a second.
_REPAIRED_WITHIN = 15.0
_SUBMISSIONS = 50


def _submit(connector: Connector, prefix: str = "agent") -> set[str]:
    names = {f"{prefix}-{number}" for number in range(_SUBMISSIONS)}
    with connector.connection() as connection:
        for name in sorted(names):
            assert_accepted(connection.post("/api/ingest", content=batch(item(name, state="Ready")), headers=JSON))
    return names


def _stored(stack: Stack, connector: Connector) -> set[str]:
    return {row["id"] for row in stack.rows("SELECT id FROM items WHERE connector_id = %s", connector.id)}


def _all_is_applied_once(stack: Stack, connector: Connector, names: set[str]) -> None:
    wait_until("all is applied", lambda: _stored(stack, connector) == names, _REPAIRED_WITHIN)
    stack.lanes_are_empty(_REPAIRED_WITHIN)
    assert stack.count("receipts", connector) == len(names)
    assert stack.count("dead_letters", connector) == 0


def test_worker_killed_in_the_middle_of_a_slice_loses_its_lane_to_another_without_a_new_submission(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as victim, ExitStack() as contexts:
        with workerless.items_locked():
            names = _submit(connector)
            wait_until("the worker is held in its transaction", workerless.held_writers)
            contexts.enter_context(workerless.worker())
            assert sum(pending for _, pending, _ in workerless.lanes()) > 0
            victim.kill()
        _all_is_applied_once(workerless, connector, names)


def test_two_drains_on_one_lane_apply_its_entries_once(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with ExitStack() as contexts:
        with workerless.items_locked():
            hung = contexts.enter_context(workerless.worker())
            names = _submit(connector)
            wait_until("the worker is held in its transaction", workerless.held_writers)
            hung.send(signal.SIGSTOP)
        # The lease of the one that hangs runs out; the other takes the same entries, writes and settles them.
        contexts.enter_context(workerless.worker())
        _all_is_applied_once(workerless, connector, names)

        hung.send(signal.SIGCONT)
        later = _submit(connector, "later")
        _all_is_applied_once(workerless, connector, names | later)


def test_wake_up_that_was_lost_is_sent_again_by_the_sweeper(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    names = _submit(connector)
    wait_until("the wake-up is queued", lambda: workerless.redis.llen("rq:queue:drain") > 0)

    workerless.redis.delete("rq:queue:drain")

    with workerless.worker():
        _all_is_applied_once(workerless, connector, names)


def test_api_killed_in_full_career_keeps_what_it_accepted(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    accepted: set[str] = set()

    def pound(api: Api, number: int) -> None:
        with connector.connection(api.url) as connection:
            try:
                for count in range(1_000_000):
                    name = f"agent-{number}-{count}"
                    answer = connection.post("/api/ingest", content=batch(item(name)), headers=JSON)
                    assert_accepted(answer)
                    accepted.add(name)
            except httpx.TransportError:
                return

    with workerless.api() as api:
        threads = [threading.Thread(target=pound, args=(api, number)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until("it has accepted a number of them", lambda: len(accepted) > 100)
        api.kill()
        for thread in threads:
            thread.join()

    with workerless.worker():
        workerless.lanes_are_empty()
        stored = _stored(workerless, connector)
    assert accepted <= stored
    # One each was perhaps appended and not answered any more.
    assert len(stored - accepted) <= len(threads)


def test_lane_that_a_worker_gives_back_on_sigterm_is_taken_up_at_once(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as first:
        with workerless.items_locked():
            names = _submit(connector)
            wait_until("the worker is held in its transaction", workerless.held_writers)
            first.send(signal.SIGTERM)
        assert first.ends() == 0
    with workerless.worker():
        _all_is_applied_once(workerless, connector, names)


def test_request_under_way_is_answered_though_the_api_is_told_to_stop(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    body = batch(item("late"))
    with workerless.api() as api, ThreadPoolExecutor(1) as talker:
        pieces = [connector.head(len(body)), body[:20], body[20:]]
        told = talker.submit(talk, api.url, *pieces, pause=1.0)
        # The head is on its way for sure once a whole second has passed; the body's end comes a second later.
        time.sleep(1.5)
        api.send(signal.SIGTERM)
        head, answer = told.result()
        api.ends()

    assert head[9:12] in (b"202", b"503"), head
    if head[9:12] == b"503":
        assert json.loads(answer)["error"]["code"] == "shutting_down"
    with workerless.worker():
        workerless.lanes_are_empty()
    assert _stored(workerless, connector) == ({"late"} if head[9:12] == b"202" else set())


def test_redis_killed_under_load_keeps_what_was_accepted(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    accepted: list[str] = []
    statuses: list[int] = []
    with workerless.api() as api, workerless.worker(), connector.connection(api.url) as connection:

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
    # Whoever ran the worker starts it again where it ended with Redis.
    with workerless.worker():
        workerless.lanes_are_empty()

    assert len(accepted) > 100
    stored = _stored(workerless, connector)
    assert set(accepted) <= stored
    # What was under way when Redis died may have been appended without an answer.
    assert len(stored) <= len(accepted) + 1


def test_redis_that_lost_its_memory_is_loaded_again_and_newer_still_wins(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker(), connector.connection() as connection:
        connector.send(item("agent-1", turn=1))
        wait_until("it is applied", lambda: workerless.fields(connector, "agent-1") == {"turn": "1"})
        workerless.lanes_are_empty()

        workerless.redis.flushall()

        def accepted() -> bool:
            answer = connection.post("/api/ingest", content=batch(item("agent-1", turn=2)), headers=JSON)
            assert answer.status_code in (202, 503), answer.text
            return answer.status_code == 202

        wait_until("it is accepted", accepted)
        wait_until("it is applied", lambda: workerless.fields(connector, "agent-1") == {"turn": "2"})
    with workerless.worker():
        workerless.lanes_are_empty()


def test_full_backlog_puts_submissions_off_until_it_is_worked_off(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    workerless.lanes_are_empty()
    body = batch(item("heavy", notes="x" * (MB // 4)))
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

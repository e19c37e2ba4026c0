"""Processes are killed or told to stop under load: each answer is 202 or 503, and what was accepted is applied once."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.system.client import JSON, Connector, assert_accepted, assert_refused, batch, item, talk
from tests.system.effects import all_is_applied_once, stored
from tests.system.processes import Process, wait_until
from tests.system.redis_wire import wire
from tests.system.stack import Api, Stack

_SENDERS = 4


class Load:
    """Senders that submit one item a request, without end, each in turn to the API processes that there are."""

    def __init__(self, connector: Connector, urls: list[str]) -> None:
        self._connector = connector
        #: The processes to go to; a sender that gets no answer goes to the next.
        self.urls = urls
        self.accepted: set[str] = set()
        self.statuses: set[int] = set()
        #: Submissions of which nobody knows what became of them.
        self.unknown: set[str] = set()
        self._enough = threading.Event()

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within the block they send."""
        with ThreadPoolExecutor(_SENDERS) as hands:
            senders = [hands.submit(self._send, number) for number in range(_SENDERS)]
            try:
                yield
            finally:
                self._enough.set()
            for sender in senders:
                sender.result()

    def goes_on(self) -> None:
        """Waits until a number of further ones are accepted."""
        before = len(self.accepted)
        wait_until("submissions are accepted", lambda: len(self.accepted) > before + 20)

    def _send(self, sender: int) -> None:
        count = 0
        while not self._enough.is_set():
            with self._connector.connection(self.urls[(sender + count) % len(self.urls)]) as connection:
                try:
                    for count in range(count + 1, 1_000_000):  # noqa: B020 - it goes on where it was
                        name = f"agent-{sender}-{count}"
                        self._note(name, connection.post("/api/ingest", content=batch(item(name)), headers=JSON))
                        if self._enough.is_set():
                            return
                except httpx.TransportError:
                    self.unknown.add(name)
                    time.sleep(0.02)

    def _note(self, name: str, answer: httpx.Response) -> None:
        self.statuses.add(answer.status_code)
        if answer.status_code == 202:
            assert_accepted(answer)
            self.accepted.add(name)


def _judge(stack: Stack, connector: Connector, load: Load) -> None:
    stack.lanes_are_empty()
    found = stored(stack, connector)
    assert load.accepted <= found
    assert found <= load.accepted | load.unknown
    assert stack.count("receipts", connector) == len(found)
    assert load.statuses <= {202, 503}


def test_api_killed_in_full_career_keeps_what_it_accepted(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.api() as api, workerless.api() as other:
        load = Load(connector, [api.url, other.url])
        with load.on():
            load.goes_on()
            api.kill()
            load.goes_on()
    assert load.unknown
    with workerless.worker():
        _judge(workerless, connector, load)


@pytest.mark.parametrize(
    "lost", [pytest.param(None, id="and the answer"), pytest.param(b"rq:queue", id="and the wake-up")]
)
def test_api_killed_between_the_append(
    workerless: Stack, new_connector: Callable[..., Connector], lost: bytes | None
) -> None:
    connector = new_connector(workerless)
    with (
        wire(workerless.redis_url) as redis,
        workerless.api(REDIS_URL=redis.url) as api,
        workerless.worker(),
        ThreadPoolExecutor(1) as other,
    ):
        workerless.lanes_are_empty()
        if lost:
            redis.loses = lost
            assert_accepted(connector.post_to(api.url, batch(item("agent-1")), JSON))
            api.kill()
        else:
            # It has met the connector, so that only the append is left to be lost.
            assert_refused(connector.post_to(api.url, b"[]", JSON), 409, "wrong_type", "$")
            redis.swallows.set()
            unanswered = other.submit(connector.post_to, api.url, batch(item("agent-1")), JSON)
            wait_until("it is appended", workerless.waiting)
            api.kill()
            with pytest.raises(httpx.TransportError):
                unanswered.result()
        # The claim of the dead one runs out; nobody submits anything else.
        all_is_applied_once(workerless, connector, {"agent-1"})


def test_rolling_restart_of_everything_under_load_loses_nothing(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with ExitStack() as contexts:
        workers: list[Process] = [contexts.enter_context(workerless.worker()) for _ in range(2)]
        apis: list[Api] = [contexts.enter_context(workerless.api()) for _ in range(2)]
        load = Load(connector, [api.url for api in apis])
        with load.on():
            load.goes_on()
            for number, api in enumerate(apis):
                api.send(signal.SIGTERM)
                api.ends()
                load.urls[number] = contexts.enter_context(workerless.api()).url
                load.goes_on()
            for worker in workers:
                worker.send(signal.SIGTERM)
                assert worker.ends() == 0, worker.printed
                contexts.enter_context(workerless.worker())
                load.goes_on()
            workerless.restart("workers.sweep")
            load.goes_on()
        _judge(workerless, connector, load)
    assert workerless.failed_jobs() == 0


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
    assert stored(workerless, connector) == ({"late"} if head[9:12] == b"202" else set())

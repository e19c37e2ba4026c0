"""Processes that are killed or stopped under load answer 202 or 503, and what was accepted is applied once."""

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

from tests.support.client import JSON, MB, Connector, assert_accepted, assert_refused, batch, get, item
from tests.support.processes import Process, assert_all_gone, wait_until
from tests.support.raw_http import begin
from tests.support.stack import Api, Stack
from tests.support.submissions import all_is_applied_once, stored
from tests.support.tcp_proxy import RedisProxy

_SENDERS = 4
#: Pause of a sender between two requests: the machine has other work.
_PAUSE_SECONDS = 0.02


class Load:
    """Senders that submit one item a request, until told to stop, and change the API process after a failure."""

    def __init__(self, connector: Connector, urls: list[str]) -> None:
        self._connector = connector
        #: Addresses of the API processes.
        self.urls = urls
        self.accepted: set[str] = set()
        self.statuses: set[int] = set()
        #: Items of submissions without an answer, which may have been accepted.
        self.unknown: set[str] = set()
        self._enough = threading.Event()

    @contextmanager
    def on(self) -> Iterator[None]:
        """Send within the block."""
        with ThreadPoolExecutor(_SENDERS) as hands:
            senders = [hands.submit(self._send, number) for number in range(_SENDERS)]
            try:
                yield
            finally:
                self._enough.set()
            for sender in senders:
                sender.result()

    def goes_on(self) -> None:
        """Wait until 20 further submissions are accepted."""
        before = len(self.accepted)
        wait_until("submissions are accepted", lambda: len(self.accepted) > before + 20)

    def _send(self, sender: int) -> None:
        count = 0
        while not self._enough.is_set():
            with self._connector.connection(self.urls[(sender + count) % len(self.urls)]) as connection:
                try:
                    for count in range(count + 1, 1_000_000):  # noqa: B020 - the count continues
                        name = f"agent-{sender}-{count}"
                        self._note(name, connection.post("/api/ingest", content=batch(item(name)), headers=JSON))
                        if self._enough.wait(_PAUSE_SECONDS):
                            return
                except httpx.TransportError:
                    self.unknown.add(name)
                    time.sleep(0.02)

    def _note(self, name: str, answer: httpx.Response) -> None:
        self.statuses.add(answer.status_code)
        if answer.status_code == 202:
            assert_accepted(answer)
            self.accepted.add(name)


def _assert_applied(stack: Stack, connector: Connector, load: Load) -> None:
    stack.lanes_are_empty()
    found = stored(stack, connector)
    assert load.accepted <= found
    assert found <= load.accepted | load.unknown
    assert stack.count("receipts", connector) == len(found)
    assert load.statuses <= {202, 503}


def test_api_killed_under_load_loses_nothing_accepted(
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
        _assert_applied(workerless, connector, load)


@pytest.mark.parametrize(
    "lost", [pytest.param(None, id="before the answer"), pytest.param(b"rq:queue", id="before the wake-up")]
)
def test_api_killed_after_the_append(
    workerless: Stack, new_connector: Callable[..., Connector], lost: bytes | None
) -> None:
    connector = new_connector(workerless)
    with (
        RedisProxy(workerless.redis_url) as redis,
        workerless.api(REDIS_URL=redis.url) as api,
        workerless.worker(),
        ThreadPoolExecutor(1) as other,
    ):
        workerless.lanes_are_empty()
        if lost:
            redis.drops_requests_with = lost
            assert_accepted(connector.post_to(api.url, batch(item("agent-1")), JSON))
            api.kill()
        else:
            # A refused request first, so that the process knows the connector and only the append is left to fail.
            assert_refused(connector.post_to(api.url, b"[]", JSON), 409, "wrong_type", "$")
            redis.drops_replies = True
            unanswered = other.submit(connector.post_to, api.url, batch(item("agent-1")), JSON)
            wait_until("it is appended", workerless.waiting)
            api.kill()
            with pytest.raises(httpx.TransportError):
                unanswered.result()
        # The lease that the killed process claimed runs out; there is no further submission.
        all_is_applied_once(workerless, connector, {"agent-1"})


def test_rolling_restart_under_load_loses_nothing(workerless: Stack, new_connector: Callable[..., Connector]) -> None:
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
        _assert_applied(workerless, connector, load)
    assert workerless.failed_jobs() == 0


def test_request_in_progress_is_answered_while_the_api_stops(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    # So large that the gauge of bodies in memory, which moves in steps, shows its first part.
    body = batch(item("late")).ljust(MB)
    begun = len(body) // 2
    with workerless.api() as api, begin(api.url, connector.head(len(body)) + body[:begun]) as connection:
        wait_until("the API has begun to read the body", lambda: _inflight_bytes(api) > 0)
        api.send(signal.SIGTERM)
        connection.sendall(body[begun:])
        head, _, answer = b"".join(iter(lambda: connection.recv(65_536), b"")).partition(b"\r\n\r\n")
        api.ends()

    assert head[9:12] in (b"202", b"503"), head
    if head[9:12] == b"503":
        assert json.loads(answer)["error"]["code"] == "shutting_down"
    with workerless.worker():
        workerless.lanes_are_empty()
    assert stored(workerless, connector) == ({"late"} if head[9:12] == b"202" else set())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_api_that_ends_leaves_no_process_for_large_bodies(
    stack: Stack, new_connector: Callable[..., Connector], number: signal.Signals
) -> None:
    connector = new_connector(stack)
    with stack.api() as api:
        with connector.connection(api.url) as connection:
            large = batch(item("large", notes="x" * (2 * MB)))
            assert_accepted(connection.post("/api/ingest", content=large, headers=JSON), items=1)
        [own] = [pid for pid in api.family() if pid != api.pid]
        api.send(number)
        api.ends()
        assert_all_gone([own])
        assert "Traceback" not in api.printed


def _inflight_bytes(api: Api) -> float:
    """Return the bytes of bodies that the process holds, from its metrics."""
    samples = get(f"{api.url}/metrics").json()["metrics"]
    return sum(float(sample["value"]) for sample in samples if sample["name"] == "ingest_inflight_bytes")

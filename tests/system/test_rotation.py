"""A credential that is rotated or taken away is dead everywhere at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

import pytest

from tests.system.client import JSON, Connector, assert_refused, batch, item
from tests.system.processes import wait_until
from tests.system.stack import Stack

_BODY = batch(item("agent-1", state="Ready"))
_CONNECTIONS = 8
#: Answers that each connection waits for before and after the change.
_ENOUGH = 25


@dataclass
class Hammer:
    """Connections that submit as fast as they can; of each request: when it was begun, and the status it got."""

    connector: Connector
    urls: list[str]
    stop: threading.Event = field(default_factory=threading.Event)
    seen: list[list[tuple[float, int]]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.seen = [[] for _ in range(_CONNECTIONS)]
        self._threads = [threading.Thread(target=self._pound, args=(number,)) for number in range(_CONNECTIONS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _pound(self, number: int) -> None:
        with self.connector.connection(self.urls[number % len(self.urls)]) as connection:
            while not self.stop.is_set():
                began = time.monotonic()
                status = connection.post("/api/ingest", content=_BODY, headers=JSON).status_code
                self.seen[number].append((began, status))

    def everyone_goes_on(self, *, begun_after: float) -> None:
        """Waits until each connection has had a number of answers to requests that were begun later."""
        wait_until(
            f"each of {_CONNECTIONS} connections was answered {_ENOUGH} times",
            lambda: all(sum(began > begun_after for began, _ in mine) >= _ENOUGH for mine in self.seen),
        )

    def statuses(self, *, begun_after: float) -> set[int]:
        """What requests got that were begun later."""
        return {status for mine in self.seen for began, status in mine if began > begun_after}


@pytest.mark.parametrize("change", ["credential rotate", "connector disable"])
def test_not_one_request_passes_with_a_key_once_the_command_that_ends_it_has_returned(
    stack: Stack, new_connector: Callable[..., Connector], change: str
) -> None:
    connector = new_connector(stack)
    with ExitStack() as contexts:
        urls = [contexts.enter_context(stack.api()).url for _ in range(2)]
        hammer = contexts.enter_context(Hammer(connector, urls))
        hammer.everyone_goes_on(begun_after=0)
        assert hammer.statuses(begun_after=0) == {202}

        told = stack.ingestctl(*change.split(), str(connector.id))
        returned = time.monotonic()

        if change == "credential rotate":
            for url in urls:
                Connector(connector.id, told["credential"], url).send(item("agent-2"))
        hammer.everyone_goes_on(begun_after=returned)
        assert hammer.statuses(begun_after=0) == {202, 401}
        assert hammer.statuses(begun_after=returned) == {401}
    assert_refused(connector.post(_BODY), 401, "unauthorized")


def test_connector_that_is_enabled_again_goes_on_with_its_key(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    stack.ingestctl("connector", "disable", str(connector.id))
    assert_refused(connector.post(_BODY), 401, "unauthorized")

    stack.ingestctl("connector", "enable", str(connector.id))

    connector.send(item("agent-1"))


def test_disabled_connector_stays_out_though_its_key_is_rotated(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    stack.ingestctl("connector", "disable", str(connector.id))

    rotated = stack.rotate(connector)

    assert_refused(rotated.post(_BODY), 401, "unauthorized")

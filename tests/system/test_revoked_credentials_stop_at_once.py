"""A rotated or disabled credential is refused everywhere as soon as the command returns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

import pytest

from tests.support.client import JSON, Connector, assert_refused, batch, item
from tests.support.processes import wait_until
from tests.support.stack import Stack

_BODY = batch(item("agent-1", state="Ready"))
_CONNECTIONS = 8
#: Answers that each connection must get before and after the change.
_ENOUGH = 10


@dataclass
class Load:
    """Connections that submit as fast as they can, and record when each request began and its status."""

    connector: Connector
    urls: list[str]
    stop: threading.Event = field(default_factory=threading.Event)
    seen: list[list[tuple[float, int]]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.seen = [[] for _ in range(_CONNECTIONS)]
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(_CONNECTIONS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, number: int) -> None:
        with self.connector.connection(self.urls[number % len(self.urls)]) as connection:
            while not self.stop.is_set():
                began = time.monotonic()
                status = connection.post("/api/ingest", content=_BODY, headers=JSON).status_code
                self.seen[number].append((began, status))

    def wait_for_answers(self, *, begun_after: float) -> None:
        """Wait until each connection has enough answers to requests that began later."""
        wait_until(
            f"each of {_CONNECTIONS} connections was answered {_ENOUGH} times",
            lambda: all(sum(began > begun_after for began, _ in mine) >= _ENOUGH for mine in self.seen),
        )

    def statuses(self, *, begun_after: float) -> set[int]:
        """Return the statuses of requests that began later."""
        return {status for mine in self.seen for began, status in mine if began > begun_after}


@pytest.mark.parametrize("change", ["credential rotate", "connector disable"])
def test_no_request_passes_after_the_command_that_revokes_its_credential(
    stack: Stack, new_connector: Callable[..., Connector], change: str
) -> None:
    connector = new_connector(stack)
    with ExitStack() as contexts:
        urls = [contexts.enter_context(stack.api()).url for _ in range(2)]
        load = contexts.enter_context(Load(connector, urls))
        load.wait_for_answers(begun_after=0)
        assert load.statuses(begun_after=0) == {202}

        changed = stack.ingestctl(*change.split(), str(connector.id))
        returned = time.monotonic()

        if change == "credential rotate":
            for url in urls:
                Connector(connector.id, changed["credential"], url).send(item("agent-2"))
        load.wait_for_answers(begun_after=returned)
        assert load.statuses(begun_after=0) == {202, 401}
        assert load.statuses(begun_after=returned) == {401}
    assert_refused(connector.post(_BODY), 401, "unauthorized")


def test_connector_that_is_enabled_again_keeps_its_credential(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    stack.ingestctl("connector", "disable", str(connector.id))
    assert_refused(connector.post(_BODY), 401, "unauthorized")

    stack.ingestctl("connector", "enable", str(connector.id))

    connector.send(item("agent-1"))


def test_rotation_does_not_enable_a_disabled_connector(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    stack.ingestctl("connector", "disable", str(connector.id))

    rotated = stack.rotate(connector)

    assert_refused(rotated.post(_BODY), 401, "unauthorized")

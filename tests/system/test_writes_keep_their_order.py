"""Writes of one item take effect in the order of their acceptance, even if workers are stopped and killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from typing import Self

import psycopg

from tests.support.client import JSON, Connector, assert_accepted, batch, item
from tests.support.processes import Process, wait_until
from tests.support.stack import Stack

_POSTS = 400
#: Signals to the workers, one after the other, during the submissions.
_SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
_POSTS_A_SIGNAL = _POSTS // (len(_SIGNALS) + 1)


class Reader:
    """Reads an item all the time, and records each value of its counter."""

    def __init__(self, stack: Stack, connector: Connector) -> None:
        self.seen: list[int] = [0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(stack.database_url, connector.id))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def last(self) -> int:
        """The last value."""
        return self.seen[-1]

    def _look(self, url: str, connector_id: int) -> None:
        query = "SELECT (fields->>'counter')::int FROM items WHERE connector_id = %s"
        with psycopg.connect(url, autocommit=True) as connection:
            while not self._stop.wait(0.002):
                row = connection.execute(query, (connector_id,)).fetchone()
                if row and row[0] != self.last:
                    self.seen.append(row[0])


def test_counter_never_goes_back_while_workers_are_stopped_killed_and_started(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with ExitStack() as contexts:
        workers: list[Process] = [contexts.enter_context(workerless.worker()) for _ in range(2)]
        reader = contexts.enter_context(Reader(workerless, connector))
        connection = contexts.enter_context(connector.connection())
        signals, turns = iter(_SIGNALS), cycle(range(len(workers)))
        for counter in range(1, _POSTS + 1):
            body = batch(item("agent-1", counter=counter))
            assert_accepted(connection.post("/api/ingest", content=body, headers=JSON))
            if counter % _POSTS_A_SIGNAL == 0 and (number := next(signals, None)):
                # Each signal is sent to workers that work again after the one before.
                wait_until("the workers go on", lambda counter=counter: reader.last > counter - _POSTS_A_SIGNAL)  # type: ignore[misc] # bound per round
                one = next(turns)
                workers[one].send(number)
                workers[one] = contexts.enter_context(workerless.worker())

        wait_until("the last value is stored", lambda: reader.last == _POSTS)
    assert reader.seen == sorted(reader.seen)
    assert len(reader.seen) > len(_SIGNALS)
    assert workerless.count("receipts", connector) == _POSTS

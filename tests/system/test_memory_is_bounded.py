"""The memory of an API process is bounded while the largest bodies are in flight, and small while idle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.support.client import MB, Connector, batch, item
from tests.support.processes import resident_bytes, wait_until
from tests.support.raw_http import begin
from tests.support.stack import Stack

_BODIES = 16
_BODY_LIMIT = 30 * MB


def _largest() -> bytes:
    """Return a batch of exactly 30 MB."""
    items = [item(f"heavy-{number}", notes="x" * (4 * MB)) for number in range(7)]
    padding = _BODY_LIMIT - len(batch(*items, item("last", notes="")))
    return batch(*items, item("last", notes="x" * padding))


def test_sixteen_of_the_largest_bodies_in_flight_stay_under_700_mb(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    body = _largest()
    assert len(body) == _BODY_LIMIT
    with workerless.cold_api() as api, ExitStack() as held:
        idle = resident_bytes(api.pid)
        senders = [held.enter_context(begin(api.url, connector.head(_BODY_LIMIT) + body[:-1])) for _ in range(_BODIES)]
        peak = [resident_bytes(api.pid)]
        with ThreadPoolExecutor(1) as watcher:
            # All of them end at once, so that they are validated and sent to Redis concurrently.
            for sender in senders:
                sender.sendall(body[-1:])
            watch = watcher.submit(lambda: [sender.recv(12) for sender in senders])

            def watched() -> bool:
                peak.append(resident_bytes(api.pid))
                return watch.done()

            wait_until("all are answered", watched, 120)

        # All were validated and sent to Redis; the backlog has room for four of one connector.
        assert sorted(watch.result()) == [b"HTTP/1.1 202"] * 4 + [b"HTTP/1.1 503"] * (_BODIES - 4)
        assert idle < 120 * MB
        assert max(peak) < 700 * MB
    with workerless.worker():
        workerless.lanes_are_empty(120)

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
_CONNECTORS = 4
_BODY_LIMIT = 30 * MB


def _largest() -> bytes:
    """Return a batch of exactly 30 MB."""
    items = [item(f"heavy-{number}", notes="x" * (4 * MB)) for number in range(7)]
    padding = _BODY_LIMIT - len(batch(*items, item("last", notes="")))
    return batch(*items, item("last", notes="x" * padding))


def test_sixteen_of_the_largest_bodies_in_flight_stay_under_700_mb(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connectors = [new_connector(workerless) for _ in range(_CONNECTORS)]
    body = _largest()
    assert len(body) == _BODY_LIMIT
    # The backlog has room for one of each connector.
    with workerless.cold_api(MAX_CONNECTOR_BACKLOG_BYTES=40 * MB) as api, ExitStack() as held:
        idle = resident_bytes(api.pid)
        heads = [connector.head(_BODY_LIMIT) for connector in connectors] * (_BODIES // _CONNECTORS)
        senders = [held.enter_context(begin(api.url, head + body[:-1])) for head in heads]
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

        # All were validated and sent to Redis.
        assert sorted(watch.result()) == [b"HTTP/1.1 202"] * 4 + [b"HTTP/1.1 503"] * (_BODIES - 4)
        assert idle < 120 * MB
        assert max(peak) < 700 * MB
    with workerless.worker():
        workerless.lanes_are_empty(120)

"""The memory of an API process: bounded while the largest bodies are in flight, and small when nothing is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.system.client import MB, Connector, batch, item
from tests.system.processes import resident_bytes, wait_until
from tests.system.raw import begin
from tests.system.stack import Stack

_BODIES = 16
_BODY_LIMIT = 30 * MB


def _largest() -> bytes:
    """A batch of 30 MB, to the byte."""
    items = [item(f"heavy-{number}", notes="x" * (4 * MB)) for number in range(7)]
    padding = _BODY_LIMIT - len(batch(*items, item("last", notes="")))
    return batch(*items, item("last", notes="x" * padding))


def test_sixteen_of_the_largest_bodies_in_flight_stay_under_700_mb(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    body = _largest()
    assert len(body) == _BODY_LIMIT
    with workerless.api() as api, ExitStack() as held:
        idle = resident_bytes(api.pid)
        senders = [held.enter_context(begin(api.url, connector.head(_BODY_LIMIT) + body[:-1])) for _ in range(_BODIES)]
        peak = [resident_bytes(api.pid)]
        with ThreadPoolExecutor(1) as watcher:
            # All of them end at once: judged, packed and sent to Redis beside one another.
            for sender in senders:
                sender.sendall(body[-1:])
            watch = watcher.submit(lambda: [sender.recv(12) for sender in senders])

            def watched() -> bool:
                peak.append(resident_bytes(api.pid))
                return watch.done()

            wait_until("all are answered", watched, 120)

        # All were judged and put to Redis; the backlog has room for four of one connector.
        assert sorted(watch.result()) == [b"HTTP/1.1 202"] * 4 + [b"HTTP/1.1 503"] * (_BODIES - 4)
        assert idle < 120 * MB
        assert max(peak) < 700 * MB
    with workerless.worker():
        workerless.lanes_are_empty(120)

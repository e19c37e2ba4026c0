"""Items vanish once their removal was accepted, and stay away, though workers are killed; the status tells how many."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.client import JSON, Connector, item
from tests.support.processes import wait_until
from tests.support.stack import Stack
from tests.support.submissions import stored

_ROUNDS, _ITEMS = 10, 40


def _retain(connector: Connector, ids: list[str], **more: Any) -> str:
    body = json.dumps({"stream": "agents", "ids": ids, **more}).encode()
    answer = connector.post(body, path="/api/ingest/retain")
    assert (answer.status_code, answer.json()["idsReceived"]) == (202, len(ids))
    return str(answer.json()["requestId"])


def _outcome(connector: Connector, request_id: str) -> dict[str, Any]:
    with connector.connection() as client:
        found: dict[str, Any] = client.get(f"/api/requests/{request_id}?wait=30", headers=JSON).json()
        return found


def test_what_is_removed_vanishes_though_a_worker_is_killed(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    names = [f"agent-{number}" for number in range(_ITEMS)]
    connector.send(*(item(name, turn=0) for name in names))
    for turn in range(1, _ROUNDS):
        connector.send(*(item(name, turn=turn) for name in names[turn:]), {"id": names[turn - 1], "deleted": True})
        last = _retain(connector, names[turn + 1 :], atMost=2)
    with workerless.items_locked(), workerless.worker() as victim:
        wait_until("the worker is held in its transaction", workerless.held_writers)
        victim.kill()
    with workerless.worker():
        assert _outcome(connector, last)["state"] == "applied"
        emptied = _retain(connector, [], atMost=_ITEMS - _ROUNDS - 1)
        dead = _outcome(connector, emptied)
        assert (dead["state"], dead["reason"]) == ("dead", "too_many_removals")
        assert stored(workerless, connector) == set(names[_ROUNDS:])

        connector.send(item("agent-new"))
        assert workerless.ingestctl("dead", "retry", emptied, "--lift-bound", "--yes")["retried"] == 1
        applied = _outcome(connector, emptied)

    assert (applied["state"], applied["idsReceived"], applied["removed"]) == ("applied", 0, _ITEMS - _ROUNDS)
    assert stored(workerless, connector) == {"agent-new"}
    assert workerless.ingestctl("trace", emptied)["removed"] == _ITEMS - _ROUNDS

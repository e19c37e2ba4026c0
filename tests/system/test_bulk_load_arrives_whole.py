"""A bulk load through several processes arrives complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.support.client import JSON, Connector, assert_accepted, batch, item
from tests.support.stack import Stack

_CONNECTORS, _BATCHES, _ITEMS_A_BATCH = 20, 25, 100
#: Number of times that each item is sent; the last state counts.
_ROUNDS = 2
_ITEMS = _BATCHES * _ITEMS_A_BATCH // _ROUNDS


def _send_all(connector: Connector, url: str) -> None:
    with connector.connection(url) as connection:
        for start in range(0, _ITEMS * _ROUNDS, _ITEMS_A_BATCH):
            numbers = range(start, start + _ITEMS_A_BATCH)
            items = [item(f"agent-{number % _ITEMS}", turn=number // _ITEMS, owner=connector.id) for number in numbers]
            answer = connection.post("/api/ingest", content=batch(*items), headers=JSON)
            assert_accepted(answer, items=_ITEMS_A_BATCH)


def test_50_000_items_of_20_connectors_through_two_api_processes_and_two_workers_all_arrive(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    with ThreadPoolExecutor(4) as makers:
        connectors = list(makers.map(lambda _: new_connector(stack), range(_CONNECTORS)))

    with stack.api() as second, ThreadPoolExecutor(_CONNECTORS) as senders:
        urls = [stack.url, second.url] * (_CONNECTORS // 2)
        list(senders.map(_send_all, connectors, urls))
    stack.lanes_are_empty(60)

    for connector in connectors:
        rows = stack.rows("SELECT id, fields::text AS fields FROM items WHERE connector_id = %s", connector.id)
        assert {row["id"] for row in rows} == {f"agent-{number}" for number in range(_ITEMS)}
        assert len(rows) == _ITEMS
        assert all(json.loads(row["fields"]) == {"turn": _ROUNDS - 1, "owner": connector.id} for row in rows)
        assert stack.count("receipts", connector) == _BATCHES
        assert stack.count("dead_letters", connector) == 0
    assert stack.failed_jobs() == 0

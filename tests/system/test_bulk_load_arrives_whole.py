"""A bulk load through several processes arrives complete."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.client import JSON, Connector, assert_accepted, batch, item
from tests.support.described import create
from tests.support.stack import Stack

_CONNECTORS, _ITEMS_A_BATCH = 20, 100
#: Number of times that each item is sent; the last state counts.
_ROUNDS = 2


def _send_all(connector: Connector, url: str, different: int) -> None:
    with connector.connection(url) as connection:
        for start in range(0, different * _ROUNDS, _ITEMS_A_BATCH):
            numbers = range(start, start + _ITEMS_A_BATCH)
            items = [item(f"agent-{n % different}", turn=n // different, owner=connector.id) for n in numbers]
            answer = connection.post("/api/ingest", content=batch(*items), headers=JSON)
            assert_accepted(answer, items=_ITEMS_A_BATCH)


@pytest.mark.parametrize("total", [10_000, pytest.param(50_000, marks=pytest.mark.heavy)])
def test_items_of_20_connectors_through_two_api_processes_and_two_workers_all_arrive(
    stack: Stack, tmp_path: Path, total: int
) -> None:
    different = total // _CONNECTORS // _ROUNDS
    connectors = create(stack.ingestctl, tmp_path, (f"bulk {total} {n}" for n in range(_CONNECTORS)), stack.url)

    with stack.api() as second, ThreadPoolExecutor(_CONNECTORS) as senders:
        urls = [stack.url, second.url] * (_CONNECTORS // 2)
        list(senders.map(_send_all, connectors, urls, [different] * _CONNECTORS))
    stack.lanes_are_empty(60)

    for connector in connectors:
        rows = stack.rows("SELECT id, fields::text AS fields FROM items WHERE connector_id = %s", connector.id)
        assert {row["id"] for row in rows} == {f"agent-{number}" for number in range(different)}
        assert len(rows) == different
        assert all(json.loads(row["fields"]) == {"turn": _ROUNDS - 1, "owner": connector.id} for row in rows)
        assert stack.count("receipts", connector) == different * _ROUNDS // _ITEMS_A_BATCH
        assert stack.count("dead_letters", connector) == 0
    assert stack.failed_jobs() == 0

"""Every submission updates when its connector was last seen, and many of them cost few writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.client import Connector
from tests.support.processes import wait_until
from tests.support.raw_http import heartbeats
from tests.support.stack import Stack

_SUBMISSIONS = {
    "/api/ingest/heartbeat": b"{}",
    "/api/ingest": b'{"stream":"agents","items":[]}',
    "/api/ingest/log": b'{"entries":[]}',
    "/api/webhook/agents": b'{"id":1}',
}
#: Age in seconds from which on a connector's `last_seen_at` is written again.
_STEP_SECONDS = 5
#: Heartbeats of each connector.
_EACH = 40


def last_seen(stack: Stack, connector: Connector) -> datetime | None:
    seen: datetime | None = stack.value(
        "SELECT last_seen_at FROM connector_liveness WHERE connector_id = %s", connector.id
    )
    return seen


def seen_since(stack: Stack, connector: Connector, moment: datetime) -> Callable[[], bool]:
    """Return a condition: the connector was seen since `moment`. The engines have the clock of the tests."""

    def look() -> bool:
        seen = last_seen(stack, connector)
        return seen is not None and seen >= moment - timedelta(milliseconds=1)

    return look


@pytest.mark.parametrize("path", _SUBMISSIONS)
def test_every_submission_updates_last_seen(stack: Stack, new_connector: Callable[..., Connector], path: str) -> None:
    connector = new_connector(stack)
    assert last_seen(stack, connector) is None

    for _ in ("the first", "one after an hour"):
        before = datetime.now(UTC)
        assert connector.post(_SUBMISSIONS[path], path=path).status_code == 202
        wait_until("the connector was seen", seen_since(stack, connector, before))
        seen = last_seen(stack, connector)
        assert seen is not None
        assert seen <= datetime.now(UTC)
        stack.rows("UPDATE connector_liveness SET last_seen_at = last_seen_at - interval '1 hour' "
                   "WHERE connector_id = %s RETURNING 1", connector.id)  # fmt: skip


def test_refused_submission_does_not_update_last_seen(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)

    assert connector.post(b"[]", path="/api/ingest/heartbeat").status_code == 409

    stack.lanes_are_empty()
    assert last_seen(stack, connector) is None


def test_heartbeat_without_a_body_updates_last_seen(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)

    assert connector.post(b"", path="/api/ingest/heartbeat", headers={}).status_code == 202

    wait_until("the connector was seen", lambda: last_seen(stack, connector))


def test_many_heartbeats_cost_few_writes(workerless: Stack, crowd: list[Connector]) -> None:
    workerless.lanes_are_empty()
    before, receipts_before = _writes(workerless, "connector_liveness"), _writes(workerless, "receipts_%")
    began, began_at = time.monotonic(), datetime.now(UTC)

    async def beat() -> None:
        await asyncio.gather(*(heartbeats(connector, workerless.url, _EACH) for connector in crowd))

    with workerless.worker():
        asyncio.run(beat())
        workerless.lanes_are_empty()
        seconds = time.monotonic() - began

    # A session reports its statistics at its end at the latest, and the worker has ended.
    wait_until(
        "Postgres has counted every write",
        lambda: _writes(workerless, "receipts_%") - receipts_before == _EACH * len(crowd),
    )
    written = _writes(workerless, "connector_liveness") - before
    assert len(crowd) <= written <= len(crowd) * (seconds / _STEP_SECONDS + 1)
    for connector in crowd:
        assert seen_since(workerless, connector, began_at)()


def _writes(stack: Stack, table: str) -> int:
    """Count the inserts and updates in tables whose names are LIKE `table`."""
    query = "SELECT sum(n_tup_ins + n_tup_upd) FROM pg_stat_user_tables WHERE relname LIKE %s"
    return int(stack.value(query, table))

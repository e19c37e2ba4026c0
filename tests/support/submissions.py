"""Submissions of a test, and the check that all of them are applied exactly once."""

from __future__ import annotations

from tests.support.client import JSON, Connector, assert_accepted, batch, item
from tests.support.processes import PATIENCE, wait_until
from tests.support.stack import Stack

SUBMISSIONS = 50


def submit(connector: Connector, prefix: str = "agent", url: str | None = None) -> set[str]:
    """Submit items, one a request, which must be accepted; return their ids."""
    names = {f"{prefix}-{number}" for number in range(SUBMISSIONS)}
    with connector.connection(url) as connection:
        for name in sorted(names):
            assert_accepted(connection.post("/api/ingest", content=batch(item(name, state="Ready")), headers=JSON))
    return names


def stored(stack: Stack, connector: Connector) -> set[str]:
    """Return the ids of a connector's stored items."""
    return {row["id"] for row in stack.rows("SELECT id FROM items WHERE connector_id = %s", connector.id)}


def all_is_applied_once(stack: Stack, connector: Connector, names: set[str], seconds: float = PATIENCE) -> None:
    """Wait until exactly these items are stored, the lanes are empty, and each submission has one receipt."""
    wait_until("all is applied", lambda: stored(stack, connector) == names, seconds)
    stack.lanes_are_empty(seconds)
    assert stack.count("receipts", connector) == len(names)
    assert stack.count("dead_letters", connector) == 0

"""Submissions that a test keeps account of, and what they must have come to in the end."""

from __future__ import annotations

from tests.system.client import JSON, Connector, assert_accepted, batch, item
from tests.system.processes import PATIENCE, wait_until
from tests.system.stack import Stack

SUBMISSIONS = 50


def submit(connector: Connector, prefix: str = "agent", url: str | None = None) -> set[str]:
    """Submits an item a request, is accepted; the ids of the items."""
    names = {f"{prefix}-{number}" for number in range(SUBMISSIONS)}
    with connector.connection(url) as connection:
        for name in sorted(names):
            assert_accepted(connection.post("/api/ingest", content=batch(item(name, state="Ready")), headers=JSON))
    return names


def stored(stack: Stack, connector: Connector) -> set[str]:
    """The ids of a connector's items."""
    return {row["id"] for row in stack.rows("SELECT id FROM items WHERE connector_id = %s", connector.id)}


def all_is_applied_once(stack: Stack, connector: Connector, names: set[str], seconds: float = PATIENCE) -> None:
    """Waits until just these items are there, nothing is owed, and each submission has its one receipt."""
    wait_until("all is applied", lambda: stored(stack, connector) == names, seconds)
    stack.lanes_are_empty(seconds)
    assert stack.count("receipts", connector) == len(names)
    assert stack.count("dead_letters", connector) == 0

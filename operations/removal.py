"""Delete connectors: a connector's credential and hooks are refused first, then its items and itself are deleted.

What it logged, its receipts and its statuses expire as always. It is deleted only when nothing of it waits any more:
what is applied afterwards would bring items back that belong to no connector.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from redis import Redis

from operations import dead_letters
from operations.audit import Actor
from operations.connectors import Connectors, select_connectors
from operations.dead_letters import Filter, Progress
from operations.errors import ConflictError
from operations.jobs import Work
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.names import lane_keys

#: Maximum time for what waits to be applied, in seconds.
_PATIENCE_SECONDS: Final = 15.0
_LOOK_AGAIN_SECONDS: Final = 0.1
#: Items that one statement deletes.
_ITEMS_A_STEP: Final = 5_000


def delete_connector(connectors: Connectors, connector_id: int, generation: int | None = None) -> Iterator[int]:
    """Delete a connector, step by step; yields how many items are deleted so far."""
    lane = select_connectors(connectors.connection, connector_id)[0]["lane"]
    connectors.change([connector_id], generation, enabled=False)
    _wait_until_applied(connectors, connector_id, lane)
    selection = dead_letters.count(connectors.connection, Filter(connector_id))
    for _ in dead_letters.drop(connectors.connection, selection, connectors.actor):
        yield 0
    deleted = 0
    values = {"connector_id": connector_id, "limit": _ITEMS_A_STEP}
    while count := connectors.connection.execute(sql("delete_some_items"), values).rowcount:
        deleted += count
        yield deleted
    connectors.forget(connector_id)
    yield deleted


def deletion(redis: Redis, actor: Actor, connector_id: int) -> Work:
    """Return the work of a job that deletes a connector."""
    return lambda connection: map(Progress, delete_connector(Connectors(connection, redis, actor), connector_id))


def count_items(connection: Connection, connector_id: int) -> int:
    """Return how many items a connector has."""
    return int(connection.execute(sql("count_items"), {"connector_id": connector_id}).fetchall()[0]["items"])


def _wait_until_applied(connectors: Connectors, connector_id: int, lane: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    former = connectors.connection.execute(sql("select_former_lanes"), {"lane": lane}).fetchall()
    while any(connectors.redis.hexists(lane_keys(one["lane"]).backlog, f"c:{connector_id}") for one in former):
        if time.monotonic() > deadline:
            raise ConflictError(
                f"Submissions of connector {connector_id} still wait to be applied. It is disabled: delete it again "
                "once they are applied."
            )
        time.sleep(_LOOK_AGAIN_SECONDS)

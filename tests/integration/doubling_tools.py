"""An API process that knows four lanes, connectors that stay or move if these are doubled, and what a worker does."""

from __future__ import annotations

import json
from typing import Any

import httpx
from redis import Redis

from operations import lanes
from operations.connectors import Connectors, CreatedConnector
from shared.credentials.splitting import complete_doubling
from shared.postgres.connections import Connection
from shared.redis.names import lane_keys, lane_of
from shared.redis.scripts import Scripts
from shared.redis.wakeups import new_job_id, wake_queue
from tests.integration.hook_tools import HookApi
from tests.integration.lane_tools import batch
from workers.context import DrainContext
from workers.drain import Drain

#: Those of the migrated template.
BEFORE = 4


class Doubling:
    """Four lanes, and what happens while they are doubled."""

    def __init__(self, api: HookApi, connection: Connection, redis: Redis) -> None:
        self.api = api
        self.connection = connection
        self.redis = redis
        self.connectors = Connectors(connection, redis)

    def connector(self, *, moves: bool) -> CreatedConnector:
        """Create a connector that will move to a new lane, or will not."""
        while True:
            made = self.connectors.create(f"connector {len(self.rows('SELECT FROM connectors'))}")
            if (lane_of(made.credential.key_id, BEFORE) != lane_of(made.credential.key_id, 2 * BEFORE)) is moves:
                return made

    def double(self) -> list[int]:
        """Double the lanes, with all that follows at once; return the new ones that wait for their former lane."""
        lanes.double_lanes(self.connection, self.redis)
        return next(iter(lanes.complete(self.connection, self.redis)))

    def send(self, connector: CreatedConnector, n: int, key: str = "", *, attempts: int = 200) -> httpx.Response:
        """Submit an item, again while the answer is 503: the process learns how many lanes there are."""
        body = batch({"id": "agent", "fields": {"n": n}})
        headers = {"Authorization": f"Bearer {connector.credential.text}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        for attempt in range(attempts):
            answer = self.api.ask("/api/ingest", body, headers)
            if answer.status_code != 503 or attempt == attempts - 1:
                break
            assert answer.json()["error"]["code"] == "not_ready"
        return answer

    def state(self, connector: CreatedConnector, request_id: str) -> str:
        """Return what the API says of a submission."""
        headers = {"Authorization": f"Bearer {connector.credential.text}"}
        for _ in range(200):
            answer = self.api.runner.run(self.api.client.get(f"/api/requests/{request_id}", headers=headers))
            if answer.status_code != 503:
                break
        return str(answer.json().get("state", answer.status_code))

    def drain(self, lane: int) -> None:
        """Do one job's work on a lane, without lingering."""
        self.redis.delete(lane_keys(lane).lease)
        self.redis.rpush("rq:queue:drain", "another-lane-waits")
        try:
            Drain(self._context(), lane, new_job_id(lane)).run()
        finally:
            self.redis.lrem("rq:queue:drain", 0, "another-lane-waits")

    def drain_all(self) -> None:
        """Drain every lane, the new ones first, until nothing waits."""
        number = len(self.rows("SELECT FROM lanes"))
        for _ in range(5):
            for lane in reversed(range(number)):
                self.drain(lane)
            complete_doubling(self.connection, self.redis)
        assert not any(self.redis.xlen(lane_keys(lane).stream) for lane in range(number))

    def _context(self) -> DrainContext:
        connection = self.connection
        return DrainContext(self.redis, Scripts(self.redis), wake_queue(self.redis), lambda: connection, lambda: False)

    def lane_of(self, connector: CreatedConnector) -> int:
        """Return the lane of a connector, as Postgres knows it."""
        (row,) = self.rows("SELECT lane FROM connectors WHERE connector_id = %s", connector.connector_id)
        return int(row["lane"])

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return what Postgres holds."""
        return self.connection.execute(query.encode(), values).fetchall()

    def number(self, connector: CreatedConnector) -> Any:
        """Return the `n` of the connector's item; None if there is none."""
        rows = self.rows("SELECT fields::text AS fields FROM items WHERE connector_id = %s", connector.connector_id)
        return json.loads(rows[0]["fields"])["n"] if rows else None

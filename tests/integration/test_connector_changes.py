"""Changes of connectors while Redis loses its data: a revoked credential is never accepted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from redis import Redis

from operations.connectors import Connectors
from shared.credentials.credential import NewCredential
from shared.credentials.sync import load_lanes
from shared.postgres.connections import Connection, connect_postgres
from shared.redis.names import lane_keys


@pytest.mark.parametrize("change", [Connectors.rotate, Connectors.disable])
def test_a_redis_that_is_emptied_and_loaded_during_a_change_does_not_accept_the_old_credential(
    database_url: str,
    connection: Connection,
    redis: Redis,
    change: Callable[[Connectors, int], NewCredential | None],
) -> None:
    created = Connectors(connection, redis).create("crm")

    class Interrupted(Connectors):
        """Just before the commit, Redis loses its data and another process loads it."""

        def revoke(self, row: dict[str, object], generation: int, key_ids: Sequence[str]) -> bool:
            known = super().revoke(row, generation, key_ids)
            if not redis.exists(lane_keys(0).ready):
                redis.flushall()
                with connect_postgres(database_url, application="tests") as other:
                    load_lanes(other, redis, [0])
            return known

    made = change(Interrupted(connection, redis), created.connector_id)
    assert redis.exists(lane_keys(0).ready)
    assert not redis.exists(lane_keys(0).credential(created.credential.key_id))
    if made:
        assert redis.exists(lane_keys(0).credential(made.key_id))

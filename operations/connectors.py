"""Connectors and their credentials, as operators manage them: create, list, enable, disable, rotate.

Postgres holds the truth and Redis a copy. A change that revokes a credential removes it from Redis first, then commits
to Postgres, then writes the new state to Redis. If this process dies in between, the old credential is refused already,
which is the safe side, and running the same command again completes the change.

The credential is revoked again after the commit, on a new connection: if Redis lost its data in between, or another
server took over, the first revocation is lost, and Redis may have been loaded from what Postgres still held. What is
loaded after the commit is the new state. An old primary that is cut off knows of neither revocation, so such a change
returns only when no process asks it any more.

If Redis knows a newer generation of the connector than Postgres, Postgres was restored. Then the lane is loaded: Redis
may hold a key that Postgres does not know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from redis import Redis

from shared.credentials.credential import NewCredential, new_credential
from shared.credentials.sync import count_lanes, load_lanes, put_credential, revoke_credential
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.connections import reopen, wait_until_others_follow
from shared.redis.names import lane_keys
from shared.redis.scripts import Scripts


class ConnectorError(Exception):
    """A change can't be made; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class CreatedConnector:
    """A new connector and its credential, of which only a digest is stored."""

    connector_id: int
    name: str
    credential: NewCredential


def select_connectors(connection: Connection, connector_id: int | None = None) -> list[dict[str, Any]]:
    """Return all connectors, or the one with an id, from Postgres alone."""
    rows = connection.execute(sql("select_connectors"), {"connector_id": connector_id}).fetchall()
    if connector_id is not None and not rows:
        raise ConnectorError(f"There is no connector {connector_id}.")
    return rows


class Connectors:
    """The connectors of one installation."""

    def __init__(self, connection: Connection, redis: Redis) -> None:
        self._connection = connection
        self._redis = redis
        self._scripts = Scripts(redis)

    def create(self, name: str, *, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST) -> CreatedConnector:
        """Create a connector that may send `rate` requests a second and `burst` at once."""
        lanes = count_lanes(self._connection, self._redis)
        lane = self._least_used_lane()
        credential = new_credential(lane=lane, lanes=lanes)
        values = {"name": name, "rate": rate, "burst": burst, "lane": lane}
        try:
            while (row := self._insert(values, credential, lanes)) is None:
                pass
        except errors.UniqueViolation:
            raise ConnectorError(f"A connector named {name} exists already.") from None
        self._put({**row, **values, "key_id": credential.key_id, "digest": credential.digest})
        return CreatedConnector(row["connector_id"], name, credential)

    def list(self, connector_id: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of `select_connectors`."""
        return select_connectors(self._connection, connector_id)

    def rotate(self, connector_id: int) -> NewCredential:
        """Replace the credential. After this has returned, no process accepts the old one."""
        lanes = count_lanes(self._connection, self._redis)
        with self._change(connector_id) as (row, generation):
            credential = new_credential(lane=row["lane"], lanes=lanes)
            self._revoke(row, generation)
            self._store(connector_id, credential)
        self._revoke_again(row, generation)
        if row["enabled"]:
            self._put({**row, "key_id": credential.key_id, "digest": credential.digest, "generation": generation})
        wait_until_others_follow(self._redis)
        return credential

    def disable(self, connector_id: int) -> None:
        """Refuse the connector's credential everywhere, until the connector is enabled."""
        with self._change(connector_id, enabled=False) as (row, generation):
            self._revoke(row, generation)
        self._revoke_again(row, generation)
        wait_until_others_follow(self._redis)

    def enable(self, connector_id: int) -> None:
        """Accept the connector's current credential again."""
        with self._change(connector_id, enabled=True) as (row, generation):
            pass
        self._put({**row, "generation": generation})

    @contextlib.contextmanager
    def _change(self, connector_id: int, *, enabled: bool | None = None) -> Iterator[tuple[dict[str, Any], int]]:
        """Open a transaction that locks the connector and commits its next generation; yields its row and that."""
        with self._connection.transaction():
            rows = self._connection.execute(sql("lock_connector"), {"connector_id": connector_id}).fetchall()
            if not rows:
                raise ConnectorError(f"There is no connector {connector_id}.")
            generation = rows[0]["generation"] + 1
            yield rows[0], generation
            values = {"connector_id": connector_id, "generation": generation, "enabled": enabled}
            self._connection.execute(sql("bump_generation"), values)

    def _insert(self, values: dict[str, Any], credential: NewCredential, lanes: int) -> dict[str, Any] | None:
        """Insert a connector; None if Redis knows its id, of a connector that a restored Postgres has forgotten.

        Entries that wait in a lane, and idempotency keys, would be the other connector's. The id is used up then.
        """
        with contextlib.suppress(psycopg.Rollback), self._connection.transaction():
            row = self._connection.execute(sql("insert_connector"), values).fetchall()[0]
            self._store(row["connector_id"], credential)
            pipeline = self._redis.pipeline(transaction=False)
            for lane in range(lanes):
                pipeline.hexists(lane_keys(lane).generations, str(row["connector_id"]))
            if any(pipeline.execute()):
                raise psycopg.Rollback
            return row
        return None

    def _store(self, connector_id: int, credential: NewCredential) -> None:
        values = {"connector_id": connector_id, "key_id": credential.key_id, "digest": credential.digest}
        self._connection.execute(sql("upsert_credential"), values)

    def _revoke_again(self, row: dict[str, Any], generation: int) -> None:
        reopen(self._redis)
        if not self._revoke(row, generation):
            load_lanes(self._connection, self._redis, [row["lane"]])

    def _revoke(self, row: dict[str, Any], generation: int) -> bool:
        return revoke_credential(
            self._scripts,
            row["lane"],
            connector_id=row["connector_id"],
            generation=generation,
            key_id=row["key_id"],
        )

    def _put(self, row: dict[str, Any]) -> None:
        if not put_credential(self._scripts, row["lane"], row):
            load_lanes(self._connection, self._redis, [row["lane"]])

    def _least_used_lane(self) -> int:
        return int(self._connection.execute(sql("select_least_used_lane")).fetchall()[0]["lane"])

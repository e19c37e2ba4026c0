"""Connectors and their credentials, as operators manage them: create, list, enable, disable, rotate.

Hooks are changed in the same way (`operations/hooks.py`): a change of one is a change of its connector.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from redis import Redis

from shared.causes import SentenceError
from shared.credentials.credential import NewCredential, new_credential
from shared.credentials.sync import count_lanes, load_lanes, put_credential, revoke_credentials, select_credentials
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.connections import reopen, wait_until_others_follow
from shared.redis.names import lane_keys
from shared.redis.scripts import Scripts


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
        raise SentenceError(f"There is no connector {connector_id}.")
    return rows


class Connectors:
    """The connectors of one installation."""

    def __init__(self, connection: Connection, redis: Redis) -> None:
        self.connection = connection
        self.redis = redis
        self._scripts = Scripts(redis)

    def create(self, name: str, *, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST) -> CreatedConnector:
        """Create a connector that may send `rate` requests a second and `burst` at once."""
        lanes = count_lanes(self.connection, self.redis)
        lane = self._least_used_lane()
        credential = new_credential(lane=lane, lanes=lanes)
        values = {"name": name, "rate": rate, "burst": burst, "lane": lane}
        try:
            while (row := self._insert(values, credential, lanes)) is None:
                pass
        except errors.UniqueViolation:
            raise SentenceError(f"A connector named {name} exists already.") from None
        self.put(row["connector_id"], lane)
        return CreatedConnector(row["connector_id"], name, credential)

    def rotate(self, connector_id: int) -> NewCredential:
        """Replace the credential. After this has returned, no process accepts the old one."""
        lanes = count_lanes(self.connection, self.redis)
        with self.changing(connector_id) as (row, generation):
            credential = new_credential(lane=row["lane"], lanes=lanes)
            self.revoke(row, generation, [row["key_id"]])
            self._store(connector_id, credential)
        self.revoke_again(row, generation, [row["key_id"]])
        self.put(connector_id, row["lane"])
        wait_until_others_follow(self.redis)
        return credential

    def disable(self, connector_id: int) -> None:
        """Refuse the connector's credential and hooks everywhere, until the connector is enabled."""
        with self.changing(connector_id, enabled=False) as (row, generation):
            hooks = self.connection.execute(sql("select_hook_ids"), {"connector_id": connector_id}).fetchall()
            key_ids = [row["key_id"], *(hook["hook_id"] for hook in hooks)]
            self.revoke(row, generation, key_ids)
        self.revoke_again(row, generation, key_ids)
        wait_until_others_follow(self.redis)

    def enable(self, connector_id: int) -> None:
        """Accept the connector's current credential and its enabled hooks again."""
        with self.changing(connector_id, enabled=True) as (row, _):
            pass
        self.put(connector_id, row["lane"])

    @contextlib.contextmanager
    def changing(self, connector_id: int, *, enabled: bool | None = None) -> Iterator[tuple[dict[str, Any], int]]:
        """Open a transaction that locks the connector and commits its next generation; yields its row and that."""
        with self.connection.transaction():
            rows = self.connection.execute(sql("lock_connector"), {"connector_id": connector_id}).fetchall()
            if not rows:
                raise SentenceError(f"There is no connector {connector_id}.")
            generation = rows[0]["generation"] + 1
            yield rows[0], generation
            values = {"connector_id": connector_id, "generation": generation, "enabled": enabled}
            self.connection.execute(sql("bump_generation"), values)

    def revoke(self, row: dict[str, Any], generation: int, key_ids: Sequence[str]) -> bool:
        """Refuse a credential or hooks from now on, within a change. Return False if Redis knows a newer generation."""
        return revoke_credentials(
            self._scripts, row["lane"], connector_id=row["connector_id"], generation=generation, key_ids=key_ids
        )

    def revoke_again(self, row: dict[str, Any], generation: int, key_ids: Sequence[str]) -> None:
        """Revoke on a new connection what was revoked within a change that has committed."""
        reopen(self.redis)
        if not self.revoke(row, generation, key_ids):
            load_lanes(self.connection, self.redis, [row["lane"]])

    def put(self, connector_id: int, lane: int) -> None:
        """Write to Redis what Postgres holds of a connector, if it is enabled: its credential and hooks."""
        rows = select_credentials(self.connection, lane, connector_id)
        if not all(put_credential(self._scripts, lane, row) for row in rows):
            load_lanes(self.connection, self.redis, [lane])

    def _insert(self, values: dict[str, Any], credential: NewCredential, lanes: int) -> dict[str, Any] | None:
        """Insert a connector; None if Redis knows its id, of a connector that a restored Postgres has forgotten.

        Entries that wait in a lane, and idempotency keys, would be the other connector's. The id is used up then.
        """
        with contextlib.suppress(psycopg.Rollback), self.connection.transaction():
            row = self.connection.execute(sql("insert_connector"), values).fetchall()[0]
            self._store(row["connector_id"], credential)
            pipeline = self.redis.pipeline(transaction=False)
            for lane in range(lanes):
                pipeline.hexists(lane_keys(lane).generations, str(row["connector_id"]))
            if any(pipeline.execute()):
                raise psycopg.Rollback
            return row
        return None

    def _store(self, connector_id: int, credential: NewCredential) -> None:
        values = {"connector_id": connector_id, "key_id": credential.key_id, "digest": credential.digest}
        self.connection.execute(sql("upsert_credential"), values)

    def _least_used_lane(self) -> int:
        return int(self.connection.execute(sql("select_least_used_lane")).fetchall()[0]["lane"])

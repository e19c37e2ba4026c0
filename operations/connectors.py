"""Connectors and their credentials, as operators manage them: one, or many in one transaction.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from redis import Redis

from operations.audit import Actor, State, local_actor, recorded, recorded_transaction
from operations.errors import ChangedMeanwhileError, ConflictError, NotFoundError
from operations.rules import connector_name, request_burst, request_rate
from shared.credentials.credential import NewCredential, new_credential
from shared.credentials.sync import (
    count_lanes,
    load_lanes,
    put_credential,
    read_lanes,
    revoke_credentials,
    select_credentials,
)
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.connections import reopen, wait_until_others_follow
from shared.redis.names import lane_keys, lane_of
from shared.redis.primaries import lanes_by_node
from shared.redis.scripts import Scripts


@dataclass(frozen=True, slots=True)
class CreatedConnector:
    """A new connector and its credential, of which only a digest is stored."""

    connector_id: int
    name: str
    credential: NewCredential


def select_some_connectors(
    connection: Connection, *, after: int, enabled: bool | None, search: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the next connectors after one, in the order of their ids."""
    values = {"after": after, "enabled": enabled, "search": search, "limit": limit}
    return connection.execute(sql("select_some_connectors"), values).fetchall()


def select_connectors(connection: Connection, connector_id: int | None = None) -> list[dict[str, Any]]:
    """Return all connectors, or the one with an id, from Postgres alone."""
    rows = connection.execute(sql("select_connectors"), {"connector_id": connector_id}).fetchall()
    if connector_id is not None and not rows:
        raise unknown_connector(connector_id)
    return rows


def unknown_connector(connector_id: int) -> NotFoundError:
    """Return the error for a connector that does not exist."""
    return NotFoundError(f"There is no connector {connector_id}.")


class Connectors:
    """The connectors of one installation, as one actor changes them.

    A change of several connectors is made of all of them or of none. `generation`, if given, is the one that they must
    have; else ChangedMeanwhileError is raised.
    """

    def __init__(self, connection: Connection, redis: Redis, actor: Actor | None = None) -> None:
        self.connection = connection
        self.redis = redis
        self.actor = actor or local_actor()
        self._scripts = Scripts(redis)

    def create(self, name: str, *, rate: float = DEFAULT_RATE, burst: int = DEFAULT_BURST) -> CreatedConnector:
        """Create a connector that may send `rate` requests a second and `burst` at once."""
        limits = possible({"name": name, "rate": rate, "burst": burst})
        with _refusing_known_names(limits):
            while (made := self._insert(limits)) is None:
                pass
        self._put_all(select_connectors(self.connection, made.connector_id))
        return made

    def rotate(self, connector_id: int, generation: int | None = None) -> NewCredential:
        """Replace the credential. After this has returned, no process accepts the old one."""
        return self.rotate_many([connector_id], generation)[connector_id]

    def rotate_many(self, connector_ids: Sequence[int], generation: int | None = None) -> dict[int, NewCredential]:
        """Replace the credentials of connectors; return the new ones."""
        with self.changing(connector_ids, "connector.rotate", generation) as rows:
            lanes = count_lanes(self.connection, self.redis)  # within: the rows' lanes are those of this number
            made = {row["connector_id"]: new_credential(lane=row["lane"], lanes=lanes) for row in rows}
            for row in rows:
                self.revoke(row, row["generation"] + 1, [row["key_id"]])
                self._store(row["connector_id"], made[row["connector_id"]])
        self.revoke_again([(row, [row["key_id"]]) for row in rows])
        self._put_all(rows)
        wait_until_others_follow(self.redis)
        return made

    def disable(self, *connector_ids: int) -> None:
        """Refuse connectors' credentials and hooks everywhere, until the connectors are enabled."""
        self.change(connector_ids, enabled=False)

    def enable(self, *connector_ids: int) -> None:
        """Accept connectors' current credentials and their enabled hooks again."""
        self.change(connector_ids, enabled=True)

    def change(self, connector_ids: Sequence[int], generation: int | None = None, **new: Any) -> None:
        """Change what is given of connectors: `name`, `enabled`, `rate`, `burst`. It holds when this has returned."""
        new = possible(new)
        with _refusing_known_names(new), self.changing(connector_ids, _action(new), generation, **new) as rows:
            revoked = [(row, self._key_ids(row)) for row in rows] if new.get("enabled") is False else []
            for row, key_ids in revoked:
                self.revoke(row, row["generation"] + 1, key_ids)
        if revoked:
            self.revoke_again(revoked)
            wait_until_others_follow(self.redis)
        else:
            self._put_all(rows)

    def forget(self, connector_id: int) -> None:
        """Delete a connector that is disabled, with its credential, hooks and configurations."""
        with self.changing([connector_id], "connector.delete"):
            self.connection.execute(sql("delete_connector"), {"connector_id": connector_id})

    @contextlib.contextmanager
    def changing(
        self,
        connector_ids: Sequence[int],
        action: str,
        generation: int | None = None,
        *,
        look: Callable[[], State] | None = None,
        **new: Any,
    ) -> Iterator[list[dict[str, Any]]]:
        """Open a transaction that locks connectors and commits their next generation and `new`; yields their rows.

        `look` returns what is recorded; by default, the connectors.
        """
        ids = list(connector_ids)
        with self.connection.transaction():
            rows = self.connection.execute(sql("lock_connectors"), {"connector_ids": ids}).fetchall()
            for missing in sorted(set(ids) - {row["connector_id"] for row in rows}):
                raise unknown_connector(missing)
            if generation is not None and any(row["generation"] != generation for row in rows):
                raise ChangedMeanwhileError("The connector was changed meanwhile: read it again.")
            with recorded(self.connection, self.actor, action, look or (lambda: self._state(ids))):
                yield rows
                unchanged = dict.fromkeys(("name", "enabled", "rate", "burst"))
                self.connection.execute(sql("update_connectors"), {**unchanged, **new, "connector_ids": ids})

    def revoke(self, row: dict[str, Any], generation: int, key_ids: Sequence[str]) -> bool:
        """Refuse a credential or hooks from now on, within a change. Return False if Redis knows a newer generation."""
        ids = {"connector_id": row["connector_id"], "generation": generation, "key_ids": key_ids}
        lanes = self._lanes_of(row["lane"], key_ids)
        known = [revoke_credentials(self._scripts, lane, **ids) for lane in lanes]
        return all(known)

    def _lanes_of(self, lane: int, key_ids: Sequence[str]) -> set[int]:
        """Return the lanes in which a connector of `lane` may have these keys and hooks.

        While the lanes are being doubled, its former lane may still have them.
        """
        lanes = read_lanes(self.connection, self.redis)
        former = lanes.split_from(lane)
        return {lane, *([] if former is None else [former]), *(lane_of(key_id, lanes.number) for key_id in key_ids)}

    def revoke_again(self, revoked: Sequence[tuple[dict[str, Any], Sequence[str]]]) -> None:
        """Revoke on a new connection what was revoked within a change that has committed: rows, and their key ids."""
        reopen(self.redis)
        behind = [row["lane"] for row, key_ids in revoked if not self.revoke(row, row["generation"] + 1, key_ids)]
        if behind:
            load_lanes(self.connection, self.redis, sorted(set(behind)))

    def put(self, connector_ids: Sequence[int], lane: int) -> None:
        """Write to Redis what Postgres holds of connectors of a lane that are enabled: credentials and hooks."""
        one = connector_ids[0] if len(connector_ids) == 1 else None
        rows = [row for row in select_credentials(self.connection, lane, one) if row["connector_id"] in connector_ids]
        lanes = count_lanes(self.connection, self.redis)
        puts = {(place, row["key_id"]): row for row in rows for place in (lane, lane_of(row["key_id"], lanes))}
        behind = {place for (place, _), row in puts.items() if not put_credential(self._scripts, place, row)}
        if behind:
            load_lanes(self.connection, self.redis, sorted(behind))

    def _insert(self, limits: dict[str, Any]) -> CreatedConnector | None:
        """Insert a connector; None if Redis knows its id, of a connector that a restored Postgres has forgotten.

        Entries that wait in a lane, and idempotency keys, would be the other connector's. The id is used up then.
        """
        name = limits["name"]
        state = partial(self._state, name=name)
        with (
            contextlib.suppress(psycopg.Rollback),
            recorded_transaction(self.connection, self.actor, "connector.create", state),
        ):
            self.connection.execute(sql("keep_lanes"))
            lane, lanes = self._least_used_lane(), count_lanes(self.connection, self.redis)
            credential = new_credential(lane=lane, lanes=lanes)
            row = self.connection.execute(sql("insert_connector"), {**limits, "lane": lane}).fetchall()[0]
            self._store(row["connector_id"], credential)
            if any(_knows(node, part, row["connector_id"]) for node, part in lanes_by_node(self.redis, range(lanes))):
                raise psycopg.Rollback
            return CreatedConnector(row["connector_id"], name, credential)
        return None

    def _put_all(self, rows: Sequence[dict[str, Any]]) -> None:
        for lane in {row["lane"] for row in rows}:
            self.put([row["connector_id"] for row in rows if row["lane"] == lane], lane)

    def _key_ids(self, row: dict[str, Any]) -> list[str]:
        """Return the ids of a connector's credential and hooks."""
        hooks = self.connection.execute(sql("select_hook_ids"), {"connector_id": row["connector_id"]}).fetchall()
        return [row["key_id"], *(hook["hook_id"] for hook in hooks)]

    def _state(self, connector_ids: Sequence[int] = (), name: str | None = None) -> State:
        values = {"connector_ids": list(connector_ids), "name": name}
        rows = self.connection.execute(sql("select_connector_states"), values).fetchall()
        return {f"connector {row.pop('connector_id')}": row for row in rows}

    def _store(self, connector_id: int, credential: NewCredential) -> None:
        values = {"connector_id": connector_id, "key_id": credential.key_id, "digest": credential.digest}
        self.connection.execute(sql("upsert_credential"), values)

    def _least_used_lane(self) -> int:
        return int(self.connection.execute(sql("select_least_used_lane")).fetchall()[0]["lane"])


def _knows(node: Redis, lanes: Sequence[int], connector_id: int) -> bool:
    """Return True if a server has a generation of a connector in one of its lanes."""
    pipeline = node.pipeline(transaction=False)
    for lane in lanes:
        pipeline.hexists(lane_keys(lane).generations, str(connector_id))
    return any(pipeline.execute())


def possible(new: dict[str, Any]) -> dict[str, Any]:
    """Return changes as they may be made. Raises SentenceError."""
    given = {name: value for name, value in new.items() if value is not None}
    rules: dict[str, Callable[[Any], Any]] = {
        "name": connector_name,
        "rate": request_rate,
        "burst": request_burst,
        "enabled": bool,
    }
    return {name: rules[name](value) for name, value in given.items()}


def _action(new: dict[str, Any]) -> str:
    """Return the name under which a change is recorded."""
    if list(new) == ["enabled"]:
        return "connector.enable" if new["enabled"] else "connector.disable"
    return "connector.rename" if list(new) == ["name"] else "connector.set"


@contextlib.contextmanager
def _refusing_known_names(new: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except errors.UniqueViolation:
        raise ConflictError(f"A connector named {new['name']} exists already.") from None

"""Connectors, their credentials and hooks, in the fake Redis alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis import Redis

from emulator.memory import LANE, Memory
from shared.credentials.credential import new_credential
from shared.credentials.sync import put_credential, revoke_credentials
from shared.hooks.hook import DEFAULT_TOLERANCE, Hook, SealedSecret, new_hook_id, path_of
from shared.hooks.schemes import SCHEMES
from shared.hooks.sealing import Keyring
from shared.redis.connections import server_of
from shared.redis.names import GROUP, LANES, lane_keys
from shared.redis.scripts import Scripts

_LANES: Final = 1
_ANY: Final = "emulator"


@dataclass(slots=True)
class Connector:
    """A connector and its credential."""

    connector_id: int
    rate: float
    burst: int
    credential: str = ""
    key_id: str = ""
    digest: bytes = b""
    generation: int = 0


class Connectors:
    """The connectors of one emulator; the first one is that of its credential."""

    def __init__(self, redis: Redis, memory: Memory, keyring: Keyring) -> None:
        self._redis = redis
        self._memory = memory
        self._keyring = keyring
        self._scripts = Scripts(redis)
        self.all: list[Connector] = []

    def load(self) -> None:
        """Empty Redis, and store the credentials again: hooks are gone."""
        keys = lane_keys(LANE)
        self._redis.flushall()
        self._redis.set(LANES, _LANES)
        self._redis.set(keys.loading, _ANY)
        names = [keys.loading, keys.ready, keys.revision, keys.stream, keys.backlog]
        self._scripts("mark_ready", names, [_ANY, server_of(self._redis), _ANY, GROUP, 0, 0])
        # The applier never leaves the lane, so no wake-up is enqueued.
        self._redis.set(keys.lease, f"running:{_ANY}")
        for connector in self.all:
            self._put(connector, connector.key_id, connector.digest)

    def create(self, name: str, *, rate: float, burst: int) -> Connector:
        """Create a connector with a credential."""
        connector = Connector(len(self.all) + 1, rate, burst)
        self._memory.names[connector.connector_id] = name
        self.all.append(connector)
        self.rotate(connector)
        return connector

    def rotate(self, connector: Connector) -> None:
        """Give a connector a new credential; the one before is refused from now on."""
        made = new_credential(lane=LANE, lanes=_LANES)
        connector.generation += 1
        if connector.key_id:
            revoke_credentials(
                self._scripts,
                LANE,
                connector_id=connector.connector_id,
                generation=connector.generation,
                key_ids=[connector.key_id],
            )
        connector.credential, connector.key_id, connector.digest = made.text, made.key_id, made.digest
        self._put(connector, made.key_id, made.digest)

    def create_hook(self, connector: Connector, scheme: str, stream: str, id_field: str) -> tuple[str, str]:
        """Create a hook; return its path and its secret."""
        hook_id, secret = new_hook_id(lane=LANE, lanes=_LANES), SCHEMES[scheme].new_secret()
        sealed = SealedSecret(self._keyring.seal(secret, hook_id))
        hook = Hook(scheme, stream, id_field, DEFAULT_TOLERANCE, connector.key_id, (sealed,))
        self._put(connector, hook_id, secrets.token_bytes(32), msgspec.json.encode(hook).decode())
        return path_of(hook_id), secret

    def _put(self, connector: Connector, key_id: str, digest: bytes, hook: str = "") -> None:
        row: dict[str, Any] = {
            "connector_id": connector.connector_id,
            "generation": connector.generation,
            "digest": digest,
            "rate": connector.rate,
            "burst": connector.burst,
            "key_id": key_id,
            "hook": hook,
        }
        put_credential(self._scripts, LANE, row)

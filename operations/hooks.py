"""Hooks and their signing secrets, as operators manage them.

A change of a hook is a change of its connector (`operations/connectors.py`): one that takes a right away revokes the
hook in Redis first, then commits to Postgres, then writes the new state to Redis. One that only adds a right, such as a
second secret, leaves the hook in Redis meanwhile: a sender may never repeat a delivery that was refused.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from operations.audit import State
from operations.connectors import Connectors
from operations.errors import ConflictError, NotFoundError
from shared import json_pointer
from shared.causes import SentenceError
from shared.credentials.sync import count_lanes
from shared.hooks.hook import MAX_SECRETS, new_hook_id, path_of
from shared.hooks.schemes import SCHEMES
from shared.hooks.sealing import Keyring
from shared.kinds.items import STREAM
from shared.limits import MAX_KEY_BYTES
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.connections import wait_until_others_follow
from shared.rfc3339 import rfc3339

_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class NewHook:
    """What a hook is made of."""

    scheme: str
    stream: str
    id_field: str
    tolerance: int


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of a hook under its connector's lock, and that connector's row."""

    hook: dict[str, Any]
    row: dict[str, Any]


def select_hooks(
    connection: Connection, *, hook_id: str | None = None, connector_id: int | None = None
) -> list[dict[str, Any]]:
    """Return all hooks, those of one connector or the one with an id, without their secrets. Raises SentenceError."""
    values = {"hook_id": hook_id, "connector_id": connector_id}
    rows = connection.execute(sql("select_hooks"), values).fetchall()
    if hook_id is not None and not rows:
        raise NotFoundError(f"There is no hook {hook_id}.")
    return rows


def require_usable(scheme: str, secret: str | None) -> None:
    """Raise SentenceError if the scheme can't use the secret."""
    try:
        if secret is not None:
            SCHEMES[scheme].key_of(secret)
    except ValueError as error:
        raise SentenceError(f"A secret of {scheme} {error}.") from None


def require_possible(made: NewHook, secret: str | None) -> None:
    """Raise SentenceError if a hook can't be made so, or can't use the secret."""
    if made.scheme not in SCHEMES:
        raise SentenceError(f"The scheme must be one of {', '.join(SCHEMES)}.")
    if not re.fullmatch(rf"{STREAM.characters}{{1,{STREAM.max_characters}}}", made.stream):
        raise SentenceError(STREAM.message.format(max=STREAM.max_characters))
    if not 1 <= len(made.id_field.encode()) <= MAX_KEY_BYTES:
        raise SentenceError(f"The id field must have 1 to {MAX_KEY_BYTES} bytes.")
    try:
        json_pointer.parse(made.id_field)
    except ValueError as error:
        raise SentenceError(f"The id field {error}.") from None
    require_usable(made.scheme, secret)


def hook_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `select_hooks` for JSON."""
    return {
        "hookId": row["hook_id"],
        "connectorId": row["connector_id"],
        "path": path_of(row["hook_id"]),
        "scheme": row["scheme"],
        "stream": row["stream"],
        "idField": row["id_field"],
        "toleranceSeconds": row["tolerance"],
        "enabled": row["enabled"],
        "createdAt": rfc3339(row["created_at"]),
        "secrets": [
            {"createdAt": rfc3339(created), "expiresAt": rfc3339(expires)} for created, expires in secret_times(row)
        ],
    }


def secret_times(row: dict[str, Any]) -> Iterator[tuple[datetime, datetime | None]]:
    """Return when each secret was made, and when it ends."""
    return zip(row["secrets_created_at"], row["secrets_expire_at"], strict=True)


class Hooks:
    """The hooks of one installation. Only `create` and `rotate` need a key."""

    def __init__(self, connectors: Connectors, keyring: Keyring) -> None:
        self._connectors = connectors
        self._connection = connectors.connection
        self._keyring = keyring

    def create(self, connector_id: int, made: NewHook, secret: str | None = None) -> tuple[str, str]:
        """Create a hook. Return its id and its secret, made if none is given, which is stored encrypted only."""
        require_possible(made, secret)
        secret = secret or SCHEMES[made.scheme].new_secret()
        with self._changing_of(connector_id, "hook.create") as row:
            lanes = count_lanes(self._connection, self._connectors.redis)
            hook_id = new_hook_id(lane=row["lane"], lanes=lanes)
            values = {**asdict(made), "connector_id": connector_id, "digest": _new_digest()}
            self._execute("insert_hook", hook_id, **values)
            self._store(hook_id, secret)
        self._connectors.put([connector_id], row["lane"])
        return hook_id, secret

    def rotate(self, hook_id: str, *, keep_seconds: int, secret: str | None = None) -> str:
        """Add a secret beside those that are valid, which end after `keep_seconds`; 0: at once. Return the secret."""
        with self._changing(hook_id, "hook.rotate") as change:
            require_usable(change.hook["scheme"], secret)
            secret = secret or SCHEMES[change.hook["scheme"]].new_secret()
            if not keep_seconds:
                self._revoke(change)
                self._execute("renew_hook_digest", hook_id, digest=_new_digest())
            self._execute("expire_hook_secrets", hook_id, seconds=keep_seconds)
            self._execute("delete_expired_hook_secrets", hook_id)
            self._store(hook_id, secret)
            self._require_few_secrets(hook_id)
        if not keep_seconds:
            self._revoke_again(change)
        self._put(change)
        if not keep_seconds:
            wait_until_others_follow(self._connectors.redis)
        return secret

    def disable(self, hook_id: str) -> None:
        """Refuse the hook's deliveries everywhere, until the hook is enabled."""
        with self._changing(hook_id, "hook.disable") as change:
            self._revoke(change)
            self._execute("enable_hook", hook_id, enabled=False)
        self._revoke_again(change)
        wait_until_others_follow(self._connectors.redis)

    def enable(self, hook_id: str) -> None:
        """Accept the hook's deliveries again."""
        with self._changing(hook_id, "hook.enable") as change:
            self._execute("enable_hook", hook_id, enabled=True)
        self._put(change)

    def delete(self, hook_id: str) -> None:
        """Refuse the hook's deliveries everywhere and forget its secrets."""
        with self._changing(hook_id, "hook.delete") as change:
            self._revoke(change)
            self._execute("delete_hook", hook_id)
        self._revoke_again(change)
        wait_until_others_follow(self._connectors.redis)

    def find(self, hook_id: str) -> dict[str, Any]:
        """Return a row of `select_hooks`. Raises SentenceError."""
        return select_hooks(self._connection, hook_id=hook_id)[0]

    @contextlib.contextmanager
    def _changing(self, hook_id: str, action: str) -> Iterator[_Change]:
        with self._changing_of(self.find(hook_id)["connector_id"], action) as row:
            yield _Change(self.find(hook_id), row)

    @contextlib.contextmanager
    def _changing_of(self, connector_id: int, action: str) -> Iterator[dict[str, Any]]:
        with self._connectors.changing([connector_id], action, look=lambda: self._state(connector_id)) as rows:
            yield rows[0]

    def _state(self, connector_id: int) -> State:
        """Return what is recorded of a connector's hooks when one changes."""
        hidden = {"hook_id", "secrets_expire_at"}
        return {
            f"hook {row['hook_id']}": {name: value for name, value in row.items() if name not in hidden}
            for row in select_hooks(self._connection, connector_id=connector_id)
        }

    def _store(self, hook_id: str, secret: str) -> None:
        self._execute("insert_hook_secret", hook_id, sealed=self._keyring.seal(secret, hook_id))

    def _require_few_secrets(self, hook_id: str) -> None:
        if len(self.find(hook_id)["secrets_created_at"]) > MAX_SECRETS:
            raise ConflictError(
                f"The hook has {MAX_SECRETS} secrets that are still valid: end them with `--keep-old 0`, or wait."
            )

    def _revoke(self, change: _Change) -> None:
        self._connectors.revoke(change.row, change.row["generation"] + 1, [change.hook["hook_id"]])

    def _revoke_again(self, change: _Change) -> None:
        self._connectors.revoke_again([(change.row, [change.hook["hook_id"]])])

    def _put(self, change: _Change) -> None:
        self._connectors.put([change.hook["connector_id"]], change.row["lane"])

    def _execute(self, query: str, hook_id: str, **values: Any) -> None:
        self._connection.execute(sql(query), {"hook_id": hook_id, **values})


def _new_digest() -> bytes:
    return secrets.token_bytes(_DIGEST_BYTES)

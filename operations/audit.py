"""Record each change: its author, when, what was changed, before and after.

Every change that an operator or a program makes goes through `recorded`, which writes the record in the change's own
transaction: neither exists without the other. Every role reads the records, so what is looked at holds no secrets.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from psycopg.pq import TransactionStatus

from shared.postgres.connections import Connection
from shared.postgres.queries import sql

#: A thing's members, without secrets, by the thing's name, such as `connector 7`; what does not exist is left out.
State = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a change."""

    kind: Literal["command", "operator", "token"]
    #: user@host of a command; the name of an operator or of a token.
    name: str


def local_actor() -> Actor:
    """Return the user who runs this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "unknown"
    return Actor("command", f"{user}@{socket.gethostname()}")


@contextlib.contextmanager
def recorded(connection: Connection, actor: Actor, action: str, look: Callable[[], State]) -> Iterator[None]:
    """Record what a change makes of what `look` returns, within the change's transaction, which must be open."""
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise RuntimeError("A change is recorded in its own transaction, and none is open.")
    before = look()
    yield
    record(connection, actor, action, before, look())


@contextlib.contextmanager
def recorded_transaction(
    connection: Connection, actor: Actor, action: str, look: Callable[[], State]
) -> Iterator[None]:
    """Open a transaction, and record what it changes."""
    with connection.transaction(), recorded(connection, actor, action, look):
        yield


def record(connection: Connection, actor: Actor, action: str, before: State, after: State) -> None:
    """Write one row for each thing that differs, within the transaction of the change."""
    changed = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    values = {"kind": actor.kind, "actor": actor.name, "action": action, "subjects": changed}
    befores, afters = (
        [_differing(one.get(name), other.get(name)) for name in changed]
        for one, other in ((before, after), (after, before))
    )
    if changed:
        connection.execute(sql("insert_audit"), {**values, "befores": befores, "afters": afters})


def select_audit(connection: Connection, **wanted: Any) -> list[dict[str, Any]]:
    """Return recorded changes as `wanted_changes` says, the newest first."""
    return connection.execute(sql("select_audit"), wanted_changes(**wanted)).fetchall()


def wanted_changes(
    *,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: str | datetime | None = None,
    before_id: int | None = None,
    limit: int | None = 100,
) -> dict[str, Any]:
    """Return the parameters of `select_audit`; `action` may be a group of actions, such as `connector`."""
    values = {"subject": subject, "actor": actor, "action": action, "since": since}
    return {**values, "before_id": before_id, "limit": limit}


def _differing(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str | None:
    """Return the members of `one` that `other` does not have so, as JSON."""
    if one is None:
        return None
    return orjson.dumps({name: value for name, value in one.items() if (other or {}).get(name, ...) != value}).decode()

"""Configurations that operators manage for connectors: each change is a version, which can be shown and restored."""

from __future__ import annotations

import difflib
from typing import Any

import orjson

from operations.audit import Actor, State, local_actor, recorded
from operations.connectors import select_connectors
from operations.errors import ChangedMeanwhileError, NotFoundError
from shared.causes import SentenceError
from shared.limits import MAX_CONFIGURATION_BYTES
from shared.postgres.connections import Connection
from shared.postgres.queries import sql


def checked_configuration(text: bytes) -> str:
    """Apply the rules for a configuration that a connector publishes. Raises SentenceError."""
    if len(text) > MAX_CONFIGURATION_BYTES:
        raise SentenceError(f"A configuration may have at most {MAX_CONFIGURATION_BYTES:,} bytes.")
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SentenceError(f"The configuration is not JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise SentenceError("The configuration must be a JSON object.")
    return text.decode()


def select_configuration(connection: Connection, connector_id: int) -> dict[str, Any]:
    """Return the managed and the published configuration of a connector, and the version of the managed one."""
    select_connectors(connection, connector_id)
    return connection.execute(sql("select_versioned_configuration"), {"connector_id": connector_id}).fetchall()[0]


def select_versions(
    connection: Connection, connector_id: int, *, before: int | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Return the versions of a connector's managed configuration without their texts, the newest first."""
    select_connectors(connection, connector_id)
    values = {"connector_id": connector_id, "before": before, "limit": limit}
    return connection.execute(sql("select_configuration_versions"), values).fetchall()


def read_version(connection: Connection, connector_id: int, version: int) -> str | None:
    """Return the text of a version; None if that cleared the configuration. Version 0: nothing was set yet."""
    if version == 0:
        return None
    values = {"connector_id": connector_id, "version": version}
    rows = connection.execute(sql("select_configuration_version"), values).fetchall()
    if not rows:
        raise NotFoundError(f"Connector {connector_id} has no version {version} of its configuration.")
    managed: str | None = rows[0]["managed"]
    return managed


def difference(old: str | None, new: str | None, names: tuple[str, str]) -> list[str]:
    """Return the lines of a unified difference, of JSON that is indented alike."""
    return list(difflib.unified_diff(_lines(old), _lines(new), *names, lineterm=""))


class Configurations:
    """Changes of managed configurations. `version`, if given, is the one that must be current."""

    def __init__(self, connection: Connection, actor: Actor | None = None) -> None:
        self._connection = connection
        self._actor = actor or local_actor()

    def set_managed(
        self, connector_id: int, text: str | None, *, version: int | None = None, action: str = "configuration.set"
    ) -> int:
        """Set the configuration that the connector gets; None: the one that it published. Return the version."""
        values = {"connector_id": connector_id, "configuration": text, "actor": self._actor.name}
        with self._connection.transaction():
            if not self._connection.execute(sql("lock_configuration"), values).rowcount:
                select_connectors(self._connection, connector_id)
            with recorded(self._connection, self._actor, action, lambda: self._state(connector_id)):
                current = select_configuration(self._connection, connector_id)
                if version is not None and version != current["version"]:
                    raise ChangedMeanwhileError("The configuration was changed meanwhile: read it again.")
                if text == current["managed"]:
                    return int(current["version"])
                self._connection.execute(sql("manage_configuration"), values)
                added = self._connection.execute(sql("insert_configuration_version"), values).fetchall()
        return int(added[0]["version"])

    def revert(self, connector_id: int, version: int) -> int:
        """Set the configuration as a version had it. Return the new version."""
        text = read_version(self._connection, connector_id, version)
        return self.set_managed(connector_id, text, action="configuration.revert")

    def _state(self, connector_id: int) -> State:
        """Return what is recorded: no text, which may hold passwords of the connector's sources."""
        row = select_configuration(self._connection, connector_id)
        told = {"configurationVersion": row["version"], "managedBytes": len((row["managed"] or "").encode())}
        return {f"connector {connector_id}": told}


def _lines(text: str | None) -> list[str]:
    return orjson.dumps(orjson.loads(text or "{}"), option=orjson.OPT_INDENT_2).decode().splitlines()

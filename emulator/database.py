"""Answers the API's statements from memory, in place of Postgres."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from emulator.memory import Memory
from shared.postgres.queries import sql

_Rows = list[dict[str, Any]]


class MemoryDatabase:
    """What the API uses of its pool."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._answers: dict[bytes, Callable[[Mapping[str, Any]], _Rows]] = {
            sql("select_outcome"): self._outcome,
            sql("select_configuration"): self._configuration,
            sql("publish_configuration"): self._publish,
            sql("select_server_settings"): lambda _: [],
        }

    async def fetch(self, query: bytes, values: Mapping[str, Any], *, seconds: float | None = None) -> _Rows:
        """Return the rows of a statement."""
        del seconds
        with self._memory.lock:
            return self._answers[query](values)

    async def open(self, *, wait: bool) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Do nothing."""

    def _outcome(self, values: Mapping[str, Any]) -> _Rows:
        found = self._memory.outcomes.get((values["connector_id"], values["version"]))
        if found is None:
            return []
        names = ("state", "kind", "received", "removed", "ended_at", "reason")
        return [{name: getattr(found, name) for name in names}]

    def _configuration(self, values: Mapping[str, Any]) -> _Rows:
        connector_id, memory = values["connector_id"], self._memory
        row = {"connector_id": connector_id, "name": memory.names[connector_id]}
        return [row | {"published": memory.published.get(connector_id), "managed": memory.managed.get(connector_id)}]

    def _publish(self, values: Mapping[str, Any]) -> _Rows:
        self._memory.published[values["connector_id"]] = values["configuration"]
        return []

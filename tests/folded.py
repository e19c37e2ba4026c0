"""The rows of a slice, all parts together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared.entry import Entry
from workers.fold import AppendedRow, Part, Receipt, Slice


@dataclass(frozen=True)
class Folded:
    """The rows of a slice."""

    #: By connector, stream and id: the version, and the item.
    items: dict[tuple[int, str, str], tuple[int, Any]]
    logs: list[AppendedRow]
    receipts: list[Receipt]
    last_versions: dict[int, int]
    highest_version: int


def folded(lane: int, entries: Iterable[Entry]) -> Folded:
    """Return the rows of `entries`; a later part has newer states than an earlier one."""
    result = Slice(lane, entries)
    items: dict[tuple[int, str, str], tuple[int, Any]] = {}
    logs: list[AppendedRow] = []
    for part in result.parts():
        assert isinstance(part, Part)
        for (connector_id, stream), group in part.items.items():
            for item_id, row in group.items():
                known = items.get((connector_id, stream, item_id), (0,))
                if known[0] <= row[0]:
                    items[connector_id, stream, item_id] = row
        logs += part.appended.get("log", [])
    return Folded(items, logs, list(result.receipts.values()), result.last_versions, result.highest_version)

"""What a slice comes to, all parts together, for tests to look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.entry import Entry, Item
from workers.fold import LogRow, Receipt, Slice


@dataclass(frozen=True)
class Folded:
    """A slice, unfolded."""

    #: By connector, stream and id: the version, and the state that it brought.
    items: dict[tuple[int, str, str], tuple[int, Item]]
    logs: list[LogRow]
    receipts: list[Receipt]
    last_versions: dict[int, int]
    highest_version: int


def folded(lane: int, entries: Iterable[Entry]) -> Folded:
    """What `entries` come to; a later part says more of an item than an earlier one."""
    result = Slice(lane, entries)
    items: dict[tuple[int, str, str], tuple[int, Item]] = {}
    logs: list[LogRow] = []
    for part in result.parts():
        for (connector_id, stream), group in part.items.items():
            for item_id, row in group.items():
                known = items.get((connector_id, stream, item_id), (0,))
                if known[0] <= row[0]:
                    items[connector_id, stream, item_id] = row
        logs += part.logs
    return Folded(items, logs, list(result.receipts.values()), result.last_versions, result.highest_version)

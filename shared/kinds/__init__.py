"""The kinds of submissions, each declared once in a module of its own. A new kind is a module and a line here."""

from __future__ import annotations

from typing import Final

from shared.kinds.heartbeat import HEARTBEAT
from shared.kinds.items import ITEMS
from shared.kinds.log import LOG
from shared.kinds.retain import RETAIN
from shared.kinds.shapes import Kind, Table
from shared.kinds.webhook import WEBHOOK

#: By the name that receipts and entries of lanes have.
KINDS: Final[dict[str, Kind]] = {kind.name: kind for kind in (ITEMS, RETAIN, LOG, HEARTBEAT, WEBHOOK)}
#: What the count of a kind is called in answers.
COUNTED: Final[dict[str, str]] = {kind.name: kind.counted for kind in KINDS.values() if kind.counted}
#: The tables to which kinds append.
TABLES: Final[tuple[Table, ...]] = tuple(kind.table for kind in KINDS.values() if kind.table)


def counts(kind: str, received: int, removed: int | None = None) -> dict[str, int]:
    """Return what answers tell of a submission: what was received and, if it is applied, how many items it removed.

    A retain always tells `removed`; a batch of items does if it removed some.
    """
    found = {COUNTED[kind]: received} if kind in COUNTED else {}
    if removed or (removed is not None and KINDS[kind].retains):
        found["removed"] = removed
    return found

"""Batches whose items change each time that they are sent, for the cost of one `bytes.join`.

A template is a body that is split where a number stands in every item; `fill` inserts the number. A batch has
consecutive ids, like that of a connector that reads a table in the order of its key.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

BATCH: Final = 100
#: Seven digits, so that every number gives a body the same length.
FIRST_STAMP: Final = 1_000_000
#: Placeholder of the number in the source of a template.
PLACE: Final = 7_777_777

Template = list[bytes]


def item(number: int, stamp: int = PLACE) -> dict[str, Any]:
    """Return an item with 8 fields, 210 bytes of JSON."""
    fields = {
        "state": "Ready",
        "queue": "Sales",
        "calls": number % 90 + 10,
        "talkSeconds": stamp,
        "rate": 0.75,
        "skill": "german",
        "team": "Blue",
        "away": False,
    }
    return {"id": f"agent-{number:08d}", "name": "Alice Smith", "fields": fields, "tags": {"site": "Londonderry"}}


def batch(first: int, size: int = BATCH) -> bytes:
    """Return a body with `size` items from `first` on."""
    items = [item(number) for number in range(first, first + size)]
    return json.dumps({"stream": "agents", "items": items}, separators=(",", ":")).encode()


def templates(ids: int, size: int, count: int) -> list[Template]:
    """Return up to `count` of the batches that `ids` items make; always the same ones."""
    starts = range(0, ids, size)
    chosen = starts if len(starts) <= count else random.Random(count).sample(starts, count)
    return [cut(batch(first, size)) for first in chosen]


def cut(body: bytes) -> Template:
    """Return the template of a text with placeholders."""
    return body.split(b"%d" % PLACE)


def fill(template: Template, stamp: int) -> bytes:
    """Return the text with its number."""
    return (b"%d" % stamp).join(template)


def sequence(count: int, batches: int, *, shuffled: bool) -> list[int]:
    """Return the template of each of `count` requests: in order, or shuffled in the same way in every run."""
    if not shuffled:
        return [number % batches for number in range(count)]
    chosen = random.Random(batches)
    return [chosen.randrange(batches) for _ in range(count)]

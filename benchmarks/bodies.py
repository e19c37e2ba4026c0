"""Batches whose items change from sending to sending, at the price of one `bytes.join`.

A template is a body cut at the places of a number that stands in every item; `fill` puts the number in. A batch is a
run of neighbouring ids, as a poller sends that reads a table in the order of its key.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

BATCH: Final = 100
#: Seven digits, so that a body's length stays whatever the number is.
FIRST_STAMP: Final = 1_000_000
#: Stands in a template's source where the number goes.
PLACE: Final = 7_777_777

Template = list[bytes]


def item(number: int, stamp: int = PLACE) -> dict[str, Any]:
    """An item of 8 fields, 210 bytes of JSON."""
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
    """A whole body with the items from `first` on."""
    items = [item(number) for number in range(first, first + size)]
    return json.dumps({"stream": "agents", "items": items}, separators=(",", ":")).encode()


def templates(ids: int, size: int, count: int) -> list[Template]:
    """Up to `count` batches out of those that `ids` items make; always the same ones."""
    starts = range(0, ids, size)
    chosen = starts if len(starts) <= count else random.Random(count).sample(starts, count)
    return [cut(batch(first, size)) for first in chosen]


def cut(body: bytes) -> Template:
    """A body or any other text with the number's place in it, as a template."""
    return body.split(b"%d" % PLACE)


def fill(template: Template, stamp: int) -> bytes:
    """The text with its number."""
    return (b"%d" % stamp).join(template)


def sequence(count: int, batches: int, *, shuffled: bool) -> list[int]:
    """Which template each of `count` requests sends: at random, but the same in every run; or one after the other."""
    if not shuffled:
        return [number % batches for number in range(count)]
    chosen = random.Random(batches)
    return [chosen.randrange(batches) for _ in range(count)]

"""What the producers of a soak send.

Everything follows from an item's name and a counter, so that the judge can make it again and nobody has to keep it.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.system.bodies import EXACT
from tests.system.client import GZIP, JSON

#: Of a connector's items: stream and id.
ItemKey = tuple[str, str]
#: What comes by webhook; every other stream comes in batches.
HOOKS = "hooks"
STREAMS = ("agents", "queues", "calls:open", HOOKS)

_TEXTS = ("", "Ready", 'quoted "and" \\ escaped', "Zürich · 東京 · 🙂", "line\nbreak\ttab", "\u007f\u2028", "x" * 300)
#: One in so many states is large.
_LARGE_ONE_IN = 60
_LARGE_BYTES = (20_000, 60_000, 400_000)
#: Their members' spelling has to survive: white space, exponents, trailing zeros.
_NESTED = ('{"b" : [1, 2.50 ,1E2],"a":null}', "[ ]", '{"deep":{"er":{"est":"\\u00e9"}}}')
_LEVELS = {"trace": "trace", "Debug": "debug", "INFO": "info", "warning": "warn", "error": "error", "critical": "fatal"}


@dataclass(frozen=True, slots=True)
class State:
    """What an item is: its name, and the JSON texts of its fields and tags."""

    name: str | None
    fields: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Submission:
    """A request, and what it would oblige the service to."""

    path: str
    body: bytes
    headers: dict[str, str]
    #: What a 202 is to count.
    received: int
    #: The state that it leaves each of its items in.
    items: dict[ItemKey, int] = field(default_factory=dict)
    #: Of a submission of logs: who sent it, and the how manieth of his it is.
    log: tuple[str, int] | None = None

    @property
    def repeats(self) -> int:
        """Items that a later one of the same batch replaces."""
        return self.received - len(self.items) if self.items else 0


def state(key: ItemKey, counter: int) -> State:
    """An item's state number `counter`."""
    dice = random.Random(f"{key}{counter}")
    fields = {
        "counter": str(counter),
        "exact": dice.choice(EXACT),
        "text": json.dumps(dice.choice(_TEXTS), ensure_ascii=dice.random() < 0.5),
        "flag": dice.choice(("true", "false", "null")),
    }
    if dice.randrange(_LARGE_ONE_IN) == 0:
        fields["padding"] = f'"{dice.choice("abc") * dice.choice(_LARGE_BYTES)}"'
    if key[0] == HOOKS:
        fields |= {"id": json.dumps(key[1]), "nested": dice.choice(_NESTED), "name": '"by webhook"'}
        return State("by webhook", fields, {})
    return State(dice.choice((None, "Alice Smith", "Ünal")), fields, {"site": dice.choice(('"London"', "7", "1.50"))})


def stored(key: ItemKey, counter: int) -> tuple[str | None, Any, Any]:
    """Name, fields and tags as Postgres is to hold them, their numbers exact."""
    made = state(key, counter)
    nested = key[0] == HOOKS
    fields = {name: json.dumps(text) if nested and text[0] in "{[" else text for name, text in made.fields.items()}
    return made.name, read_exactly(json_object(fields)), read_exactly(json_object(made.tags))


def read_exactly(text: str) -> Any:
    """JSON, in which a number is no string and loses no digit."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def batch_of(stream: str, states: Sequence[tuple[str, int]], *, packed: bool) -> Submission:
    """A batch of (id, counter), in this order; the last one of an id counts."""
    items = ",".join(_item((stream, item_id), counter) for item_id, counter in states)
    body = f'{{"stream":{json.dumps(stream)},"items":[{items}]}}'.encode()
    left = {(stream, item_id): counter for item_id, counter in states}
    return Submission("/api/ingest", *_packed(body, packed=packed), len(states), left)


def webhook_of(item_id: str, counter: int) -> Submission:
    """The same for one item, by webhook."""
    key = HOOKS, item_id
    body = json_object(state(key, counter).fields).encode()
    return Submission(f"/api/webhook/{HOOKS}?idField=id", body, JSON, 1, {key: counter})


def log_of(producer: str, number: int, *, packed: bool) -> Submission:
    """Log entries."""
    entries = [
        f'{{"level":{json.dumps(level)},"message":{json.dumps(message)},"context":{context}}}'
        for level, message, context in map(_log_entry, *_places(producer, number))
    ]
    body = f'{{"entries":[{",".join(entries)}]}}'.encode()
    return Submission("/api/ingest/log", *_packed(body, packed=packed), len(entries), log=(producer, number))


HEARTBEAT = Submission("/api/ingest/heartbeat", b"", {}, 0)


def log_entries(number: int) -> int:
    """Entries in a producer's submission of logs number `number`."""
    return 1 + number % 4


def stored_log(producer: str, number: int, index: int) -> tuple[str, str, Any]:
    """Level, message and context of an entry as Postgres is to hold them."""
    level, message, context = _log_entry(producer, number, index)
    return _LEVELS[level], message, read_exactly(context)


def log_place(message: str) -> tuple[str, int, int] | None:
    """Whose entry it is, in which of his submissions, and where in it; None where the message is nobody's."""
    producer, _, rest = message.partition(" ")
    number, _, rest = rest.partition(" ")
    index = rest.partition(" ")[0]
    return (producer, int(number), int(index)) if number.isdigit() and index.isdigit() else None


def _places(producer: str, number: int) -> tuple[list[str], list[int], range]:
    entries = log_entries(number)
    return [producer] * entries, [number] * entries, range(entries)


def _log_entry(producer: str, number: int, index: int) -> tuple[str, str, str]:
    dice = random.Random(f"{producer}{number}/{index}")
    message = f"{producer} {number} {index} {dice.choice(_TEXTS)}"
    return dice.choice(list(_LEVELS)), message, f'{{"exact":{dice.choice(EXACT)},"flag":true}}'


def _item(key: ItemKey, counter: int) -> str:
    made = state(key, counter)
    name = json.dumps(made.name, ensure_ascii=False)
    fields, tags = json_object(made.fields), json_object(made.tags)
    return json_object({"id": json.dumps(key[1]), "name": name, "fields": fields, "tags": tags})


def json_object(members: dict[str, str]) -> str:
    """An object, of its members' JSON texts."""
    return f"{{{','.join(f'{json.dumps(name)}:{text}' for name, text in members.items())}}}"


def _packed(body: bytes, *, packed: bool) -> tuple[bytes, dict[str, str]]:
    return (gzip.compress(body, 1), GZIP) if packed else (body, JSON)

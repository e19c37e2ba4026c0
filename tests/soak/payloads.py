"""The submissions of a soak, and the rows that they become.

Everything follows from an item's name and a counter, so that the verification can make it again from those.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.support.body_cases import EXACT
from tests.support.client import GZIP, JSON

#: Stream and id of an item.
ItemKey = tuple[str, str]
#: The stream of webhooks; every other stream is submitted in batches.
HOOKS = "hooks"
STREAMS = ("agents", "queues", "calls:open", HOOKS)

_TEXTS = ("", "Ready", 'quoted "and" \\ escaped', "Zürich · 東京 · 🙂", "line\nbreak\ttab", "\u007f\u2028", "x" * 300)
#: One state in this many is large.
_LARGE_ONE_IN = 60
_LARGE_BYTES = (20_000, 60_000, 400_000)
#: Ids of a roster, a stream of one producer of which only some items are there at a time.
ROSTER_IDS = 200
#: Nested values whose spelling has to survive: white space, exponents, trailing zeros.
_NESTED = ('{"b" : [1, 2.50 ,1E2],"a":null}', "[ ]", '{"deep":{"er":{"est":"\\u00e9"}}}')
_LEVELS = {"trace": "trace", "Debug": "debug", "INFO": "info", "warning": "warn", "error": "error", "critical": "fatal"}


@dataclass(frozen=True, slots=True)
class State:
    """The state of an item: its name, and the JSON texts of its fields and tags."""

    name: str | None
    fields: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Submission:
    """A request, and what its acceptance obliges the service to."""

    path: str
    body: bytes
    headers: dict[str, str]
    #: Count that the 202 must report.
    received: int
    #: State in which it leaves each of its items, by counter; see `deletion`.
    items: dict[ItemKey, int] = field(default_factory=dict)
    #: Items of a batch that a later one of the same batch replaces.
    repeats: int = 0
    #: Of a submission of logs: its producer, and its number among those of the producer.
    log: tuple[str, int] | None = None
    #: Whether it goes to the connector's hook: its body is signed, and its key is the delivery's id.
    signed: bool = False


def deletion(counter: int) -> int:
    """Return the number that stands for "it is gone" where others stand for states; each deletion has its own."""
    return -2 - counter


def is_deletion(counter: int) -> bool:
    """Return whether a number is one of `deletion`."""
    return counter < -1


def state(key: ItemKey, counter: int) -> State:
    """Return the state number `counter` of an item."""
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
    """Return name, fields and tags as Postgres must hold them, with exact numbers."""
    made = state(key, counter)
    nested = key[0] == HOOKS
    fields = {name: json.dumps(text) if nested and text[0] in "{[" else text for name, text in made.fields.items()}
    return made.name, read_exactly(json_object(fields)), read_exactly(json_object(made.tags))


def read_exactly(text: str) -> Any:
    """Decode JSON without losing a digit, and with numbers distinct from strings."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def batch_of(stream: str, states: Sequence[tuple[str, int]], *, packed: bool) -> Submission:
    """Return a batch of pairs of id and counter, in this order; the last one of an id counts."""
    items = ",".join(_item((stream, item_id), counter) for item_id, counter in states)
    body = f'{{"stream":{json.dumps(stream)},"items":[{items}]}}'.encode()
    left = {(stream, item_id): counter for item_id, counter in states}
    return Submission("/api/ingest", *_packed(body, packed=packed), len(states), left, len(states) - len(left))


def retain_of(stream: str, ids: Sequence[str], gone: dict[ItemKey, int], *, bounded: bool) -> Submission:
    """Return a retain of these ids, which of all that may be there leaves out `gone`."""
    body: dict[str, Any] = {"stream": stream, "ids": ids, **({"atMost": ROSTER_IDS} if bounded else {})}
    return Submission("/api/ingest/retain", json.dumps(body).encode(), JSON, len(ids), gone)


def webhook_of(item_id: str, counter: int, *, signed: bool = False) -> Submission:
    """Return a webhook for one item."""
    key = HOOKS, item_id
    body = json_object(state(key, counter).fields).encode()
    return Submission(f"/api/webhook/{HOOKS}?idField=id", body, JSON, 1, {key: counter}, signed=signed)


def log_of(producer: str, number: int, *, packed: bool) -> Submission:
    """Return a submission of log entries."""
    entries = [
        f'{{"level":{json.dumps(level)},"message":{json.dumps(message)},"context":{context}}}'
        for level, message, context in map(_log_entry, *_places(producer, number))
    ]
    body = f'{{"entries":[{",".join(entries)}]}}'.encode()
    return Submission("/api/ingest/log", *_packed(body, packed=packed), len(entries), log=(producer, number))


HEARTBEAT = Submission("/api/ingest/heartbeat", b"", {}, 0)


def log_entries(number: int) -> int:
    """Return how many entries a producer's submission of logs has."""
    return 1 + number % 4


def stored_log(producer: str, number: int, index: int) -> tuple[str, str, Any]:
    """Return level, message and context of an entry as Postgres must hold them."""
    level, message, context = _log_entry(producer, number, index)
    return _LEVELS[level], message, read_exactly(context)


def log_place(message: str) -> tuple[str, int, int] | None:
    """Return the producer of an entry, the number of its submission and its index; None for an unknown message."""
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
    if is_deletion(counter):
        return json_object({"id": json.dumps(key[1]), "deleted": "true"})
    made = state(key, counter)
    name = json.dumps(made.name, ensure_ascii=False)
    fields, tags = json_object(made.fields), json_object(made.tags)
    return json_object({"id": json.dumps(key[1]), "name": name, "fields": fields, "tags": tags})


def json_object(members: dict[str, str]) -> str:
    """Join the JSON texts of members to an object."""
    return f"{{{','.join(f'{json.dumps(name)}:{text}' for name, text in members.items())}}}"


def _packed(body: bytes, *, packed: bool) -> tuple[bytes, dict[str, str]]:
    return (gzip.compress(body, 1), GZIP) if packed else (body, JSON)

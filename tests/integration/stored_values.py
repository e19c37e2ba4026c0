"""What an accepted submission must come to in Postgres, worked out anew by the standard library, and what is there.

Numbers are compared as numbers, everything else as it is; of a nested member of a webhook the source text counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from shared.postgres.connections import Connection

#: A JSON value whose numbers are exact and never taken for booleans.
Value = Any
#: connector, stream, id -> name, fields, tags.
Items = dict[tuple[int, str, str], tuple[str | None, Value, Value]]
#: connector, version, index -> level, message, context, and the moment in microseconds.
Logs = dict[tuple[int, int, int], tuple[str, str, Value, int]]

_LEVELS: Final = {"warning": "warn", "critical": "fatal"}
_WHITE: Final = re.compile(r"[ \t\r\n]*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Stored:
    """What Postgres holds, or is to hold, of some connectors."""

    items: Items = field(default_factory=dict)
    logs: Logs = field(default_factory=dict)
    #: connector, version -> kind, what its sender was told.
    receipts: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)

    def take(
        self, body: bytes, kind: str, *, connector: int, version: int, counted: int, stream: str, id_field: str
    ) -> None:
        """Adds what a submission brings; the newest one comes last."""
        self.receipts[connector, version] = kind, counted
        if kind == "items":
            self._take_items(body, connector, counted)
        elif kind == "retain":
            for key in self.others(body, connector):
                del self.items[key]
        elif kind == "log":
            self._take_entries(body, connector, version, counted)
        elif kind == "webhook":
            self._take_webhook(body, connector, stream, id_field)

    def _take_items(self, body: bytes, connector: int, counted: int) -> None:
        batch = json_value(body.decode())
        assert counted == len(batch["items"])
        for item in batch["items"]:
            self.items.pop(key := (connector, batch["stream"], item["id"]), None)
            if not item.get("deleted"):
                self.items[key] = item.get("name"), item.get("fields", {}), item.get("tags", {})

    def _take_entries(self, body: bytes, connector: int, version: int, counted: int) -> None:
        entries = json_value(body.decode())["entries"]
        assert counted == len(entries)
        for index, entry in enumerate(entries):
            level = entry["level"].lower()
            moment = microseconds(entry["timestamp"]) if "timestamp" in entry else (version >> 20) * 1000
            row = _LEVELS.get(level, level), entry["message"], entry.get("context", {}), moment
            self.logs[connector, version, index] = row

    def _take_webhook(self, body: bytes, connector: int, stream: str, id_field: str) -> None:
        members = top_level_members(body.decode())
        item_id, name = json.loads(members[id_field], parse_int=str, parse_float=str), members.get("name", "")
        item_id = item_id if isinstance(item_id, str) else members[id_field]
        fields = {one: text if text[0] in "[{" else json_value(text) for one, text in members.items()}
        self.items[connector, stream, item_id] = (json.loads(name) if name.startswith('"') else None, fields, {})

    def others(self, body: bytes, connector: int) -> list[tuple[int, str, str]]:
        """What a retain removes."""
        batch = json_value(body.decode())
        return [key for key in self.items if key[:2] == (connector, batch["stream"]) and key[2] not in batch["ids"]]

    def is_bounded(self, body: bytes, connector: int) -> bool:
        """Whether a retain would remove more than it may."""
        bound = json.loads(body).get("atMost")
        return bound is not None and len(self.others(body, connector)) > bound


def json_value(text: str) -> Value:
    """A JSON text; of members of one name the last counts."""
    return json.loads(text, parse_int=_number, parse_float=_number)


def _number(literal: str) -> tuple[str, Decimal]:
    return "number", Decimal(literal)


def top_level_members(text: str) -> dict[str, str]:
    """The exact source text of each member of an object; of members of one name the last counts."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    members: dict[str, str] = {}
    place = _past_white(text, _past_white(text, 0) + 1)
    while text[place] != "}":
        name, place = decoder.raw_decode(text, place)
        start = _past_white(text, _past_white(text, place) + 1)
        _, place = decoder.raw_decode(text, start)
        members[name] = text[start:place]
        place = _past_white(text, place)
        if text[place] == ",":
            place = _past_white(text, place + 1)
    return members


def _past_white(text: str, place: int) -> int:
    found = _WHITE.match(text, place)
    assert found
    return found.end()


def microseconds(timestamp: str) -> int:
    """Since 1970, of RFC 3339; half a microsecond goes to the even one. A second of 60 is the next one's beginning."""
    seconds, fraction = int(timestamp[17:19]), Decimal(0)
    offset = timestamp[19:].upper()
    if offset[0] == ".":
        digits = re.match(r"\.[0-9]+", offset)
        assert digits
        fraction, offset = Decimal("0" + digits[0]), offset[len(digits[0]) :]
    minute = datetime.fromisoformat(timestamp[:10] + "T" + timestamp[11:16] + ("+00:00" if offset == "Z" else offset))
    return round((minute - _EPOCH) / timedelta(minutes=1)) * 60_000_000 + round((seconds + fraction) * 1_000_000)


def read(connection: Connection, connectors: list[int]) -> Stored:
    """What is there of these connectors."""
    found = Stored()
    items = b"""SELECT connector_id, stream, id, name, fields::text AS fields, tags::text AS tags
                FROM items WHERE connector_id = ANY (%s)"""
    for row in connection.execute(items, (connectors,)):
        state = row["name"], json_value(row["fields"]), json_value(row["tags"])
        found.items[row["connector_id"], row["stream"], row["id"]] = state
    logs = b"""SELECT connector_id, version, index, level, message, context::text AS context,
                      (extract(epoch FROM logged_at) * 1000000)::bigint AS moment
               FROM connector_logs WHERE connector_id = ANY (%s)"""
    for row in connection.execute(logs, (connectors,)):
        entry = row["level"], row["message"], json_value(row["context"]), row["moment"]
        found.logs[row["connector_id"], row["version"], row["index"]] = entry
    receipts = b"SELECT connector_id, version, kind, received FROM receipts WHERE connector_id = ANY (%s)"
    for row in connection.execute(receipts, (connectors,)):
        found.receipts[row["connector_id"], row["version"]] = row["kind"], row["received"]
    return found

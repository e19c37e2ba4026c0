r"""The shapes of bodies as JSON Schema: read from what judges them, wherever that can be read.

Batches are described by the very types that `validation` decodes into, so a new property or another limit is a new
document. What their decode leaves to the exact walk is added here for every string alike: no U+0000, and a size where
the type has none.

Our sizes are bytes of UTF-8, and JSON Schema counts characters. `maxLength` is the size in bytes all the same: what
breaks it is refused for sure, what keeps it passes for sure in ASCII, and the same number in `x-max-bytes` tells what
is meant. The rules that JSON Schema has no word for (digits of a number, depth, bytes of an item or body together, JSON
within a string) are told in descriptions, with their number in an `x-` member.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ingest_api.validation.fast import ENTRIES, ITEMS, Timestamp
from ingest_api.validation.timestamps import FORM
from shared.limits import (
    MAX_CONFIGURATION_BYTES,
    MAX_FIELDS,
    MAX_ID_BYTES,
    MAX_ITEM_BYTES,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    MAX_NESTING,
    MAX_NUMBER_DIGITS,
    MAX_VALUE_BYTES,
)

Schema = dict[str, Any]

_PLACE: Final = "#/components/schemas/"
_NO_NUL: Final = r"^[^\u0000]*$"

#: What the types don't say of themselves, by component and property.
_MEANINGS: Final = {
    "ItemBatch": "A batch of items. It is taken whole or not at all.",
    "ItemBatch.stream": "What the items are of. With the connector and the item's id, it names an item.",
    "ItemBatch.items": "May be empty. Of an id that comes twice, the last item counts.",
    "Item": "The new state of an item: it replaces the whole former one, name, fields and tags.",
    "Item.id": "Stable name of the item within its stream.",
    "Item.name": "Label for people.",
    "Item.fields": f"The item's state. All values together: up to {MAX_ITEM_BYTES:,} bytes, names not counted.",
    "Item.tags": "What is for display, not state.",
    "EntryBatch": "A batch of log entries. It is taken whole or not at all.",
    "EntryBatch.entries": "May be empty.",
    "Entry": "One line of the connector's log.",
    "Entry.level": "In any case. `warning` is kept as `warn`, `critical` as `fatal`.",
    "Entry.message": "What happened.",
    "Entry.timestamp": "RFC 3339 with an offset; missing: the time of receipt. The instant is of the years 1 to 9999.",
    "Entry.context": "What belongs to the message.",
}
_SIZED_TOGETHER: Final = {"Item.fields": MAX_ITEM_BYTES}


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": _PLACE + name}


def bodies() -> dict[str, Schema]:
    """What is sent, by the components' names."""
    return {
        **_of_types(),
        "WebhookItem": _WEBHOOK_ITEM,
        "PublishedConfiguration": _PUBLISHED_CONFIGURATION,
        "AnyObject": _ANY_OBJECT,
        "AnyValue": _ANY_VALUE,
    }


def _of_types() -> dict[str, Schema]:
    """The components that describe what `validation` decodes into."""
    _, found = msgspec.json.schema_components(
        [ITEMS.batch_type, ENTRIES.batch_type], schema_hook=_schema_of, ref_template=_PLACE + "{name}"
    )
    named = {_spoken(name): _refined(schema) for name, schema in found.items()}
    for name, schema in named.items():
        schema["description"] = _MEANINGS[name]
        for member, described in schema["properties"].items():
            place = f"{name}.{member}"
            described["description"] = " ".join(filter(None, (_MEANINGS[place], described.get("description"))))
            if place in _SIZED_TOGETHER:
                described["x-max-bytes"] = _SIZED_TOGETHER[place]
    return named


def _spoken(name: str) -> str:
    """`Item` of `_Item_typing.Annotated_…`: the parameters of a generic type are part of its name."""
    return re.sub(r"_.*", "", name.removeprefix(_PLACE).lstrip("_"))


def _schema_of(kind: type) -> Schema:
    if kind is Timestamp:
        return {"type": "string", "format": "date-time", "pattern": f"^(?!0000)(?:{FORM.pattern})$"}
    raise NotImplementedError(kind)


def _refined(schema: Schema) -> Schema:
    """A schema of msgspec's with what the exact walk judges besides, and without Python's spelling."""
    if "$ref" in schema:
        return ref(_spoken(schema["$ref"]))
    if "anyOf" in schema:
        schema = _merged(schema)
    refined = {name: _refined(part) if isinstance(part, dict) else part for name, part in schema.items()}
    refined.pop("title", None)
    if refined.get("default", ...) is None:
        # "Missing" needs no default, and openapi-typescript makes a property with a default a required one.
        del refined["default"]
    if "properties" in schema:
        refined["properties"] = {name: _refined(part) for name, part in schema["properties"].items()}
    if "propertyNames" in schema:
        refined["propertyNames"] = text(schema["propertyNames"]["maxLength"], schema["propertyNames"]["minLength"])
    if "pattern" in schema:
        refined["pattern"] = _portable(schema["pattern"])
    elif "string" in _types(schema):
        refined |= text(schema.get("maxLength", MAX_VALUE_BYTES), schema.get("minLength"), type_=schema["type"])
        if "number" in _types(schema):
            refined |= _NUMBERS
    return refined


def _merged(schema: Schema) -> Schema:
    """One schema of alternatives that differ in type: each type's rules concern that type alone."""
    alternatives = schema["anyOf"]
    merged = {name: value for one in alternatives for name, value in one.items()}
    types = [one["type"] for one in alternatives]
    merged["type"] = [one for one in types if one != "integer" or "number" not in types]
    return {name: value for name, value in schema.items() if name != "anyOf"} | merged


def _types(schema: Schema) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _portable(pattern: str) -> str:
    r"""A pattern in the dialect of JSON Schema, which has neither `\Z` nor a part that ignores case."""
    spelled = re.sub(r"\(\?ai:([^)]*)\)", lambda part: f"(?:{_in_any_case(part[1])})", pattern)
    return spelled.replace(r"\Z", "$")


def _in_any_case(words: str) -> str:
    return re.sub(r"[a-z]", lambda letter: f"[{letter[0].upper()}{letter[0]}]", words)


def text(most_bytes: int, least: int | None = None, type_: str | list[str] = "string") -> Schema:
    """A string without U+0000, of up to so many bytes."""
    at_least = {} if least is None else {"minLength": least}
    return {
        "type": type_,
        **at_least,
        "maxLength": most_bytes,
        "x-max-bytes": most_bytes,
        "pattern": _NO_NUL,
        "description": f"Up to {most_bytes:,} bytes of UTF-8.",
    }


_NUMBERS: Final[Schema] = {
    "x-max-digits": MAX_NUMBER_DIGITS,
    "description": f"Up to {MAX_VALUE_BYTES:,} bytes of UTF-8; a number: up to {MAX_NUMBER_DIGITS:,} digits in plain "
    "decimal form, kept exactly.",
}
_ANY_VALUE: Final[Schema] = {
    # No type and no rule beside: generators of clients make "any value" of this, and fail at a recursive type.
    "description": f"Any JSON without U+0000. Nesting: up to {MAX_NESTING} levels in all. Numbers: up to "
    f"{MAX_NUMBER_DIGITS:,} digits in plain decimal form.",
    "x-max-nesting": MAX_NESTING,
    "x-max-digits": MAX_NUMBER_DIGITS,
}
_ANY_OBJECT: Final[Schema] = {
    "description": "A JSON object without U+0000.",
    "type": "object",
    "propertyNames": {"pattern": _NO_NUL},
    "additionalProperties": ref("AnyValue"),
}
_WEBHOOK_ITEM: Final[Schema] = {
    "description": "One item, of which each member is a field: a primitive as it is, an object or array as a string of "
    "its exact source text. The member that `idField` names (`id`) must be there: a string, number or boolean of 1 to "
    f"{MAX_ID_BYTES} bytes. A string `name` is the item's name: up to {MAX_NAME_BYTES:,} bytes. All values "
    f"together: up to {MAX_ITEM_BYTES:,} bytes.",
    "type": "object",
    "minProperties": 1,
    "maxProperties": MAX_FIELDS,
    "propertyNames": text(MAX_KEY_BYTES, 1),
    "additionalProperties": {"maxLength": MAX_VALUE_BYTES, "x-max-bytes": MAX_VALUE_BYTES},
    "x-max-bytes": MAX_ITEM_BYTES,
}
#: A configuration: what a connector publishes, and what it gets.
CONFIGURATION_TEXT: Final[Schema] = {
    **text(MAX_CONFIGURATION_BYTES),
    "pattern": r"^[ \t\r\n]*\{[^\u0000]*\}[ \t\r\n]*$",
    "description": f"A JSON object, as text of up to {MAX_CONFIGURATION_BYTES:,} bytes of UTF-8.",
    "contentMediaType": "application/json",
    "contentSchema": ref("AnyObject"),
}
_PUBLISHED_CONFIGURATION: Final[Schema] = {
    "description": "The connector's default configuration.",
    "type": "object",
    "properties": {"configuration": CONFIGURATION_TEXT},
    "required": ["configuration"],
    "additionalProperties": False,
}

r"""JSON Schemas of request bodies, from the declarations of their kinds.

Our sizes are bytes of UTF-8, and JSON Schema counts characters. `maxLength` is the size in bytes all the same: what
breaks it is refused for sure, what keeps it passes for sure in ASCII, and the same number in `x-max-bytes` says what
is meant. Rules that JSON Schema can't express (digits of a number, depth, bytes of an item or body together, JSON
within a string) are in descriptions, with their number in an `x-` member.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ingest_api.validation.timestamps import FORM
from shared.kinds import KINDS
from shared.kinds.items import FIELDS, ID, NAME
from shared.kinds.shapes import Choice, Elements, Flag, Name, Primitives, Property, Shape, Text, Timestamp, WholeNumber
from shared.limits import (
    MAX_CONFIGURATION_BYTES,
    MAX_KEY_BYTES,
    MAX_NESTING,
    MAX_NUMBER_DIGITS,
    MAX_VALUE_BYTES,
)

Schema = dict[str, Any]

_PLACE: Final = "#/components/schemas/"
_NO_NUL: Final = r"^[^\u0000]*$"


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": _PLACE + name}


def bodies() -> dict[str, Schema]:
    """Return the schemas of request bodies, by the components' names."""
    shapes = (kind.body for kind in KINDS.values() if isinstance(kind.body, Shape))
    return {
        **dict(_components(shapes)),
        "WebhookItem": _WEBHOOK_ITEM,
        "PublishedConfiguration": _PUBLISHED_CONFIGURATION,
        "AnyObject": _ANY_OBJECT,
        "AnyValue": _ANY_VALUE,
    }


def _components(shapes: Iterable[Shape]) -> Iterator[tuple[str, Schema]]:
    for shape in shapes:
        yield shape.component, _object(shape)
        inner = [one.shape for one in shape.properties.values() if isinstance(one, Elements)]
        yield from _components(one for one in inner if isinstance(one, Shape))


def _object(shape: Shape) -> Schema:
    return {
        "description": shape.doc,
        "type": "object",
        "properties": {name: _property(one) for name, one in shape.properties.items()},
        "required": [name for name, one in shape.properties.items() if one.required],
        "additionalProperties": False,
        **_together(shape),
    }


def _together(shape: Shape) -> Schema:
    """Return what one property says of the others."""
    for name, one in shape.properties.items():
        if isinstance(one, Flag):
            others = {other: False for other in shape.properties if other not in (name, *one.beside)}
            is_set = {"properties": {name: {"const": True}}, "required": [name]}
            return {"if": is_set, "then": {"properties": others}}
        if isinstance(one, Elements) and one.rule:
            return {"if": {"not": {"required": [one.rule.unless]}}, "then": {"properties": {name: {"minItems": 1}}}}
    return {}


def _property(one: Property) -> Schema:
    schema = _rules(one)
    schema["description"] = " ".join(filter(None, (one.doc, schema.get("description"))))
    return schema


def _rules(one: Property) -> Schema:
    match one:
        case Text():
            return text(one.max_bytes, one.min_bytes or None, ["string", "null"] if one.null else "string")
        case Primitives():
            return _primitives(one)
        case Elements():
            elements = _rules(one.shape) if isinstance(one.shape, Text) else ref(one.shape.component)
            return {"type": "array", "items": elements}
    return _scalar_rules(one)


def _scalar_rules(one: Property) -> Schema:
    match one:
        case Name():
            return {"type": "string", "pattern": f"^{one.characters}{{1,{one.max_characters}}}$"}
        case Choice():
            return {"type": "string", "pattern": f"^(?:{'|'.join(map(_in_any_case, one.stored))})$"}
        case Timestamp():
            return {"type": "string", "format": "date-time", "pattern": f"^(?!0000)(?:{FORM})$"}
        case Flag():
            return {"type": "boolean"}
        case WholeNumber():
            return {"type": "integer", "minimum": 0, "maximum": one.max}
    raise AssertionError(f"no rule for {one}")


def _primitives(one: Primitives) -> Schema:
    return {
        "type": "object",
        "maxProperties": one.max_members,
        "propertyNames": text(MAX_KEY_BYTES, 1),
        "additionalProperties": {**text(MAX_VALUE_BYTES, type_=["string", "number", "boolean", "null"]), **_NUMBERS},
        **({} if one.max_bytes is None else {"x-max-bytes": one.max_bytes}),
    }


def _in_any_case(word: str) -> str:
    """Return a pattern: JSON Schema has no way to ignore case."""
    return re.sub(r"[a-z]", lambda letter: f"[{letter[0].upper()}{letter[0]}]", word)


def text(most_bytes: int, least: int | None = None, type_: str | list[str] = "string") -> Schema:
    """Return the schema of a string without U+0000, of up to so many bytes."""
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
    "description": f"Any JSON. Nesting: up to {MAX_NESTING} levels in all.",
    "x-max-nesting": MAX_NESTING,
}
_ANY_OBJECT: Final[Schema] = {
    "description": "A JSON object without U+0000.",
    "type": "object",
    "propertyNames": {"pattern": _NO_NUL},
    "additionalProperties": ref("AnyValue"),
}
_WEBHOOK_ITEM: Final[Schema] = {
    "description": "One item, of which each member is a field: a primitive as it is, an object or array as a string of "
    "its exact source text. What `idField` names (`id`) must be there: a string, number or boolean of 1 to "
    f"{ID.max_bytes} bytes. A string `name` is the item's name: up to {NAME.max_bytes:,} bytes. All values "
    f"together: up to {FIELDS.max_bytes:,} bytes. Strings and numbers within nested values may be any.",
    "type": "object",
    "minProperties": 1,
    "maxProperties": FIELDS.max_members,
    "propertyNames": text(MAX_KEY_BYTES, 1),
    "additionalProperties": {"maxLength": MAX_VALUE_BYTES, "x-max-bytes": MAX_VALUE_BYTES},
    "x-max-bytes": FIELDS.max_bytes,
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

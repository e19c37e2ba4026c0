"""Where a webhook's body holds the item's id: a member's name, or a JSON Pointer (RFC 6901) into nested objects.

The API and the worker step through a body with the same functions, so both find the same text. Of a name given twice
the last one counts. Each step is one parse in C of what the steps before have found, and keeps nothing else of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from shared.limits import MAX_KEY_BYTES

#: Steps of a pointer: each reads what is left of the body.
MAX_STEPS: Final = 8
#: Elements of an array that a pointer can name, from the first.
MAX_ELEMENTS: Final = 100
# No quote, backslash or control character: msgspec takes no such names of members. No half of a surrogate pair:
# it can't be encoded, and no body holds one.
_POINTER: Final = re.compile(rf'(?:/(?:[^"\\\x00-\x1f/~\ud800-\udfff]|~[01])*){{1,{MAX_STEPS}}}')
_INDEX: Final = re.compile("0|[1-9][0-9]?")


def parse(id_field: str) -> list[str]:
    """Return the names to step through; a text that does not begin with a slash is one name.

    Raises ValueError, which says what a pointer must be, if it is malformed or too long, or has a name that can't be
    looked for.
    """
    if not id_field.startswith("/"):
        return [id_field]
    if len(id_field.encode(errors="replace")) > MAX_KEY_BYTES or not _POINTER.fullmatch(id_field):
        raise ValueError(
            f"begins with `/`, so it must be a JSON Pointer such as `/data/object/id`: up to {MAX_KEY_BYTES} bytes and "
            f"{MAX_STEPS} names without quotes, backslashes and control characters; write `~0` for `~` and `~1` for `/`"
        )
    return [name.replace("~1", "/").replace("~0", "~") for name in id_field[1:].split("/")]


def step(text: bytes | msgspec.Raw, name: str) -> msgspec.Raw:
    """Return the text of an object's member or of an array's element. Raises KeyError if there is none."""
    first = bytes(memoryview(text)[:1])
    found: Any = UNSET
    if first == b"{":
        found = _member(name).decode(text)
    elif first == b"[" and _INDEX.fullmatch(name):
        found = _element(int(name)).decode(text)
    if found is UNSET or found.value is UNSET:
        raise KeyError(name)
    value: msgspec.Raw = found.value
    return value


@lru_cache(256)
def _member(name: str) -> msgspec.json.Decoder[Any]:
    """Return a decoder that keeps the text of one member."""
    kind = msgspec.defstruct("Member", [("value", msgspec.Raw | UnsetType, UNSET)], rename={"value": name})
    return msgspec.json.Decoder(kind)


@lru_cache(MAX_ELEMENTS)
def _element(index: int) -> msgspec.json.Decoder[Any]:
    """Return a decoder that keeps the text of one element."""
    names = [*(f"before_{number}" for number in range(index)), "value"]
    fields = [(name, msgspec.Raw | UnsetType, UNSET) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Element", fields, array_like=True))

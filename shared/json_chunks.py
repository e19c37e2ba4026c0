"""Reads a long array of objects or strings a chunk at a time, so that millions of them never stand in memory decoded.

Pure. The text between two elements looks the same inside a string, or an element. If quotes tell that it is outside of
strings, the chunk is decoded; if they don't, or it does not decode, a pattern finds where the last of the flat elements
ends. The parser finds the end of an element that is not flat, or longer than a chunk, and it is read alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from shared.linear_patterns import FLAT_OBJECT, PRIMITIVES, STRING, WHITE, compiled

Chunk = TypeVar("Chunk")

#: Source text of one chunk: its objects take some ten times as much.
CHUNK_BYTES: Final = 262_144
#: An element whose properties are primitives and objects of them.
_ELEMENT: Final = rf"\{{(?:{PRIMITIVES}{FLAT_OBJECT})*{PRIMITIVES}\}}"


class Between(NamedTuple):
    """What stands between two elements; its first byte ends one."""

    #: Without white space.
    bare: bytes
    #: Pattern of flat elements with what is between, up to the beginning of the next one.
    run: Any


BETWEEN_OBJECTS: Final = Between(b"},{", compiled(f"(?:{WHITE}{_ELEMENT}{WHITE},)*"))
BETWEEN_STRINGS: Final = Between(b'","', compiled(f"(?:{WHITE}{STRING}{WHITE},)*"))
_EMPTY: Final = re.compile(rb"\[[ \t\r\n]*+\]")
_BEHIND_ELEMENT: Final = re.compile(rb"[ \t\r\n]*+([,\]])")
#: What msgspec says of text behind a whole value; the number counts from 1.
_BEHIND: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_json_syntax: Final = msgspec.json.Decoder(msgspec.Raw)


def chunks(
    text: bytes | memoryview | msgspec.Raw,
    decode: Callable[[bytes], Chunk],
    size: int = CHUNK_BYTES,
    *,
    between: Between = BETWEEN_OBJECTS,
) -> Iterator[tuple[int, Chunk]]:
    """Decode the array at the beginning of a text a chunk at a time; more text may follow it.

    `decode` gets each chunk as an array of its own. `size`: bytes that a chunk may have, unless it is one element.
    Yields how far the text was read, and what was decoded. Raises msgspec.DecodeError if the text does not begin with
    an array, or `decode` does not take it.
    """
    view = memoryview(text)
    if empty := _EMPTY.match(view):
        yield empty.end(), decode(b"[]")
        return
    start = 1  # behind the bracket
    while start:
        refused: msgspec.DecodeError | None = None
        for end in _ends(view, start, size, between):
            try:
                decoded = decode(_array(view, start, end))
            except msgspec.DecodeError as error:
                refused = error
                if behind := _end_of_value(error):
                    yield start + behind - 1, decode(b"".join((b"[", view[start : start + behind - 1])))
                    return
                continue
            mark = _BEHIND_ELEMENT.match(view, end)
            if mark or end == len(view):
                yield mark.end() if mark else end, decoded
                start = mark.end() if mark and mark[1] == b"," else 0
                break
        else:
            raise refused or msgspec.DecodeError("the text goes on behind no element")


def _ends(view: memoryview, start: int, size: int, between: Between) -> Iterator[int]:
    """Yield where a chunk may end, the likeliest first."""
    window = bytes(view[start : start + size])
    if len(view) <= start + size and (bracket := window.rfind(b"]")) >= 0:
        yield start + bracket  # of the array, unless more of them follow
    if b'\\"' not in window:
        found = window.rfind(between.bare)
        if found >= 0 and window.count(b'"', 0, found + 1) % 2 == 0:
            yield start + found + 1
    if run := between.run.match(window).end():
        yield start + window.rfind(between.bare[:1], 0, run) + 1
    yield start + value_end(view[start:])


def _array(view: memoryview, start: int, end: int) -> bytes:
    """Return some elements as an array; up to the end of the text, it has its own bracket."""
    return b"".join((b"[", view[start:end], b"]" if end < len(view) else b""))


def value_end(text: bytes | memoryview) -> int:
    """Return where the value ends with which valid JSON begins; white space behind it may be counted in."""
    try:
        _json_syntax.decode(text)
    except msgspec.DecodeError as error:
        if end := _end_of_value(error):
            return end
        raise
    return len(text)


def _end_of_value(error: msgspec.DecodeError) -> int | None:
    """Return where a value ended behind which the decoder found more text; None if that was not the error."""
    found = _BEHIND.search(str(error))
    return int(found[1]) - 1 if found else None

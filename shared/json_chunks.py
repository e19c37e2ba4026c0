"""Reads a long array of objects or strings a chunk at a time, so that millions of them never stand in memory decoded.

Pure. The text between two elements looks the same inside a string: where quotes don't tell at once, a pattern passes
over the strings. If it stands within an element, the chunk does not decode, and its first element is read alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from shared.linear_patterns import STRING, WHITE, compiled

Chunk = TypeVar("Chunk")

#: Source text of one chunk: its objects take some ten times as much.
CHUNK_BYTES: Final = 262_144
_STRINGS: Final = rf'(?:[^"]|{STRING})*'


class Between(NamedTuple):
    """What stands between two elements; its first byte ends one."""

    #: Without white space.
    bare: bytes
    #: Text up to the last such place.
    last: Any


BETWEEN_OBJECTS: Final = Between(b"},{", compiled(rf"{_STRINGS}\}}{WHITE},{WHITE}\{{"))
BETWEEN_STRINGS: Final = Between(b'","', compiled(rf'{_STRINGS}{STRING}{WHITE},{WHITE}"'))
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

    `decode` gets each chunk as an array of its own. `size`: the most of several elements. Yields how far the text was
    read, and what was decoded. Raises msgspec.DecodeError if the text does not begin with
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
                if behind := end_of_value(error):
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
    if len(view) <= start + size:
        yield len(view)
    if cut := _last_cut(bytes(view[start : start + size]), between):
        yield start + cut
    yield start + value_end(view[start:])


def _array(view: memoryview, start: int, end: int) -> bytes:
    """Return some elements as an array; up to the end of the text, it has its own bracket."""
    return b"".join((b"[", view[start:end], b"]" if end < len(view) else b""))


def _last_cut(window: bytes, between: Between) -> int | None:
    """Return where the last element ends that another one follows, outside of strings."""
    if b"\\" not in window:
        found = window.rfind(between.bare)
        if found >= 0 and window.count(b'"', 0, found + 1) % 2 == 0:
            return found + 1
    last = between.last.match(window)
    return window.rfind(between.bare[:1], 0, last.end() - 1) + 1 if last else None


def without_escapes(text: bytes) -> bytes:
    """Return a text in which every quote begins or ends a string; places stay."""
    return text.replace(rb"\\", b"..").replace(rb"\"", b"..") if b"\\" in text else text


def value_end(text: bytes | memoryview) -> int:
    """Return where the value ends with which valid JSON begins; white space behind it may be counted in."""
    try:
        _json_syntax.decode(text)
    except msgspec.DecodeError as error:
        if end := end_of_value(error):
            return end
        raise
    return len(text)


def end_of_value(error: msgspec.DecodeError) -> int | None:
    """Return where a value ended behind which the decoder found more text; None if that was not the error."""
    found = _BEHIND.search(str(error))
    return int(found[1]) - 1 if found else None

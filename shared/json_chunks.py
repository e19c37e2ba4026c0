"""Reads a long array of objects or strings a chunk at a time, so that millions of them never stand in memory decoded.

Pure. The text between two elements looks the same inside a string, but a chunk that ends there does not decode. Then it
is cut at the last place that is outside of strings, and if there is none, its first element is read alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec

Chunk = TypeVar("Chunk")

#: Source text of one chunk: its objects take some ten times as much.
CHUNK_BYTES: Final = 262_144
#: What stands between two elements; the first byte ends one.
BETWEEN_OBJECTS: Final = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+\{")
BETWEEN_STRINGS: Final = re.compile(rb"\"[ \t\r\n]*+,[ \t\r\n]*+\"")
_BEHIND_ELEMENT: Final = re.compile(rb"[ \t\r\n]*+([,\]])")
#: What msgspec says of text behind a whole value; the number counts from 1.
_BEHIND: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")
_json_syntax: Final = msgspec.json.Decoder(msgspec.Raw)


def chunks(
    text: bytes | memoryview | msgspec.Raw,
    decode: Callable[[bytes], Chunk],
    size: int = CHUNK_BYTES,
    *,
    between: re.Pattern[bytes] = BETWEEN_OBJECTS,
) -> Iterator[tuple[int, Chunk]]:
    """Decode the array at the beginning of a text a chunk at a time; more text may follow it.

    `decode` gets each chunk as an array of its own. `size`: of a chunk, roughly. Yields how far the text was read, and
    what was decoded. Raises msgspec.DecodeError if the text does not begin with an array, or `decode` does not take it.
    """
    view = memoryview(text)
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


def _ends(view: memoryview, start: int, size: int, between: re.Pattern[bytes]) -> Iterator[int]:
    """Yield where a chunk may end, the likeliest first."""
    limit = min(start + 2 * size, len(view))
    near = between.search(view, start + size, limit)
    yield near.start() + 1 if near else limit
    if last := _last_cut(bytes(view[start:limit]), between):
        yield start + last
    yield start + value_end(view[start:])


def _array(view: memoryview, start: int, end: int) -> bytes:
    """Return some elements as an array; up to the end of the text, it has its own bracket."""
    return b"".join((b"[", view[start:end], b"]" if end < len(view) else b""))


def _last_cut(window: bytes, between: re.Pattern[bytes]) -> int | None:
    """Return where the last element ends that another one follows, for sure: strings are blanked out."""
    parts = without_escapes(window).split(b'"')
    parts[1::2] = [b"." * len(part) for part in parts[1::2]]
    cuts = [cut.start() + 1 for cut in between.finditer(b'"'.join(parts))]
    return cuts[-1] if cuts else None


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

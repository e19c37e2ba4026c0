"""Reads a long array of objects a chunk at a time, so that a body of millions of them never stands in memory decoded.

Pure. The text between two objects looks the same inside a string; but a chunk that ends there does not decode, and then
a chunk of twice the length is tried, so that every byte is read a few times at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec

Chunk = TypeVar("Chunk")

#: Source text of one chunk: its objects take some ten times as much.
CHUNK_BYTES: Final = 262_144
_BETWEEN_OBJECTS: Final = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+\{")
#: What msgspec says of text behind a whole value; the number counts from 1.
_BEHIND: Final = re.compile(r"trailing characters \(byte ([0-9]+)\)")


def chunks(
    text: bytes | memoryview | msgspec.Raw, decode: Callable[[bytes], Chunk], size: int = CHUNK_BYTES
) -> Iterator[tuple[int, Chunk]]:
    """Decode the array at the beginning of a text a chunk at a time; more text may follow it.

    `decode` gets each chunk as an array of its own. `size`: of a chunk, roughly. Yields how far the text was read, and
    what was decoded. Raises msgspec.DecodeError if the text does not begin with an array, or `decode` does not take it.
    """
    view = memoryview(text)
    start, reach = 1, size  # behind the bracket
    while start:
        cut = _BETWEEN_OBJECTS.search(view, start + reach, start + 2 * reach)
        end = cut.start() + 1 if cut else min(start + 2 * reach, len(view))
        chunk = b"".join((b"[", view[start:end], b"]" if cut else b""))
        try:
            decoded = decode(chunk)
        except msgspec.DecodeError as error:
            if behind := end_of_value(error):
                yield start + behind - 1, decode(chunk[:behind])
                return
            if end == len(view):
                raise
            reach *= 2
            continue
        yield end, decoded
        start, reach = cut.end() - 1 if cut else 0, size


def end_of_value(error: msgspec.DecodeError) -> int | None:
    """Return where a value ended behind which the decoder found more text; None if that was not the error."""
    found = _BEHIND.search(str(error))
    return int(found[1]) - 1 if found else None

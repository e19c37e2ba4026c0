"""Reads a long array of objects a piece at a time, so that a body of millions of them never stands in memory decoded.

Pure. The body was validated when it was accepted, so all that is left to find is where one element ends and the next
begins. The text between two objects looks the same inside a string; but a piece that ends there does not decode, and
then a piece of twice the length is tried, so that every byte is read a few times at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

Element = TypeVar("Element")

#: Source text of one piece: its objects take some ten times as much.
PIECE_BYTES: Final = 262_144
_BETWEEN_OBJECTS: Final = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+\{")


def pieces(
    array: msgspec.Raw, decoder: msgspec.json.Decoder[list[Element]], size: int = PIECE_BYTES
) -> Iterator[tuple[int, list[Element]]]:
    """The elements of an array in their order, a piece at a time, each with the bytes of its source text.

    `size`: of a piece, roughly. Raises msgspec.DecodeError where the text is no array of such elements.
    """
    text = memoryview(array)
    start, reach = 1, size  # behind the bracket
    while cut := _BETWEEN_OBJECTS.search(text, start + reach):
        try:
            piece = decoder.decode(b"".join((b"[", text[start : cut.start() + 1], b"]")))
        except msgspec.DecodeError:
            reach *= 2
            continue
        yield cut.start() - start, piece
        start, reach = cut.end() - 1, size
    yield len(text) - start, decoder.decode(b"".join((b"[", text[start:])))

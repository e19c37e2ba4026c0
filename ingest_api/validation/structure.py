r"""What can be found out about long JSON text without a step of Python for each token.

Windows of it, escaped U+0000, and its depth: by a few passes of `bytes.replace`, `translate`, `count` and `split`, a
pattern, or the parser. Unless a function says so, the text is proven to be JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate, chain
from operator import add
from typing import Final

import msgspec

from shared.linear_patterns import compiled

#: Bytes that are looked at in one pass.
_WINDOW_BYTES: Final = 1_048_576
#: Ends where no escape and no character is cut in two: behind six bytes of which none can begin an escape, or in front
#: of an escape (but not of the second half of a surrogate pair).
_CUT: Final = re.compile(rb"[^\\](?:[^\\]{5}(?![\x80-\xbf])|(?=\\(?!u[dD][c-fC-F])))")
_ESCAPED_NUL: Final = rb"\u0000"
_UP_TO_NUL: Final = compiled(r"(?:[^\\]|\\.)*?\\u0000")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'"[]{}'))
#: A bit for each bracket: whether it opens.
_BITS: Final = bytes.maketrans(b"[{]}", b"1100")
#: Of eight such bits: the levels gained in all, as a signed byte, and the highest level reached on the way.
_LEVELS: Final = [[0, *accumulate(1 if octet >> bit & 1 else -1 for bit in range(7, -1, -1))] for octet in range(256)]
_GAINED: Final = bytes(levels[-1] & 255 for levels in _LEVELS)
_REACHED: Final = bytes(max(levels) for levels in _LEVELS)

#: From so many bytes on, the parser is asked how deep a text is.
_PARSED_BYTES: Final = 65_536
#: More levels than the parser takes.
_TOO_MANY_LEVELS: Final = 1 << 14
_parse: Final = msgspec.json.Decoder(msgspec.Raw).decode


def windows(text: bytes, start: int, end: int, size: int = _WINDOW_BYTES) -> Iterator[bytes]:
    """Cut a part of any text, which must not begin within an escape; yield each window."""
    while start < end:
        cut = _CUT.search(text, start + size, end)
        stop = cut.end() if cut else end
        yield text[start:stop]
        start = stop


def may_hold_nul(text: bytes) -> bool:
    """Return whether any text looks as if it held an escaped U+0000: the backslash may be an escaped one."""
    return b"\\" in text and _ESCAPED_NUL in text  # that there is no backslash is seen thirty times faster


def find_nul(text: bytes, start: int, end: int) -> int:
    """Return the position of the first escaped U+0000 in a part of the text, or -1."""
    if text.find(_ESCAPED_NUL, start, end) < 0:
        return -1
    found = _UP_TO_NUL.match(text, start, end)
    return found.end() - len(_ESCAPED_NUL) if found else -1


def _brackets(text: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield the brackets and braces of a part of the text that stand outside of strings, in order."""
    within = 0
    for window in windows(text, start, end):
        plain = window.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in window else window
        # Two quotes with no bracket between change nothing for those around.
        parts = plain.translate(None, _NO_BRACKETS).replace(b'""', b"").split(b'"')
        yield b"".join(parts[within::2])
        within = (within + len(parts) - 1) & 1


def is_deeper(text: bytes, start: int, end: int, levels: int) -> bool:
    """Return whether objects and arrays in a part of the text, a value, are nested deeper than so many levels."""
    if end - start <= _WINDOW_BYTES and text.count(b"[", start, end) + text.count(b"{", start, end) <= levels:
        return False
    deeper = None
    if end - start >= _PARSED_BYTES:
        deeper = _parses_deeper(memoryview(text)[start:end], levels)
    return _counts_deeper(text, start, end, levels) if deeper is None else deeper


def _parses_deeper(value: memoryview, levels: int) -> bool | None:
    """Parse a value within as many arrays as leave the parser so many levels: a third of the cost of counting brackets.

    None if the parser does not count levels, arrays and objects alike; a Python may look at the bytes of its stack. How
    many it takes depends on the calls around it, so it is asked from here each time.
    """
    most, too_many = 0, _TOO_MANY_LEVELS
    while too_many - most > 1:
        middle = (most + too_many) // 2
        if _is_parsed(b"[" * middle, b"", b"]" * middle):
            most = middle
        else:
            too_many = middle
    if most <= levels or not _is_parsed(b'{"":' * most, b"1", b"}" * most):
        return None
    if _is_parsed(b'{"":' * most, b"{}", b"}" * most):
        return None
    return not _is_parsed(b"[" * (most - levels), value, b"]" * (most - levels))


def _is_parsed(before: bytes, value: bytes | memoryview, behind: bytes) -> bool:
    try:
        _parse(b"".join((before, value, behind)))
    except RecursionError:
        return False
    return True


def _counts_deeper(text: bytes, start: int, end: int, levels: int) -> bool:
    depth, rest = 0, b""
    for window in chain(_brackets(text, start, end), [b"]" * 7]):
        bits = rest + window.translate(_BITS)
        octets = int(b"0" + bits[: len(bits) & ~7], 2).to_bytes(len(bits) // 8, "big")
        rest = bits[len(bits) & ~7 :]
        depths = list(accumulate(memoryview(octets.translate(_GAINED)).cast("b"), initial=depth))
        if max(map(add, depths, octets.translate(_REACHED)), default=0) > levels:
            return True
        depth = depths[-1]
    return False

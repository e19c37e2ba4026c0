r"""JSON text in which each string stands as the bytes of its value, so that patterns of few states can measure strings.

`\u20ac` is three bytes and `\n` one: a pattern that counts what escapes stand for has ten times as many states, and
waits for memory at each byte of strings that are all unlike. The decoder, which is written for it, does it in passing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ingest_api.validation.structure import windows
from shared.linear_patterns import compiled

_QUOTE, _STAND_IN, _ANY = b'"', b"\x7f", b"."
#: White space may not stand in a string as it is, and the stand-in of quotes must be no other character.
_READIED: Final = bytes.maketrans(b"\t\r\n" + _STAND_IN + _QUOTE, b"   " + _ANY + _STAND_IN)
_QUOTES_BACK: Final = bytes.maketrans(_STAND_IN + _QUOTE + b"\\", _QUOTE + _ANY * 2)
#: Of a text of rare characters the decoder makes four times as many bytes.
_WINDOW_BYTES: Final = 16_384
#: Escapes that the decoder would make what stands outside of strings. To look for them costs less than to replace them.
_ESCAPED_MARK: Final = compiled(r'\\["\\]')
_ESCAPED_STAND_IN: Final = compiled(r"\\u007[fF]")
_value: Final = msgspec.json.Decoder(str)


def spelled_out(text: bytes) -> bytes:
    """Return a text that has no escapes: a quote or backslash in a string is a point. White space may be a space.

    `text`: JSON, or a part of one that begins and ends outside of strings. Raises msgspec.DecodeError if an escape is
    wrong.
    """
    return b"".join(_spelled_out(window) for window in windows(text, 0, len(text), _WINDOW_BYTES))


def _spelled_out(window: bytes) -> bytes:
    if b"\\" not in window:
        return window
    plain = window
    if _ESCAPED_MARK.search(plain):
        plain = plain.replace(rb"\\", _ANY).replace(rb"\"", _ANY)
    if _ESCAPED_STAND_IN.search(plain):
        plain = plain.replace(rb"\u007f", _ANY).replace(rb"\u007F", _ANY)
    # As if the whole window were one string.
    value = _value.decode(b'"%b"' % plain.translate(_READIED))
    return value.encode().translate(_QUOTES_BACK)

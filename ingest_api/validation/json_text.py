"""Facts about JSON text that need no walk through it.

Whether it is JSON, how long a string is once decoded, and the path of a place in a body. No function here builds the
values of a body: it is checked in the memory that it already has.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Final

import msgspec

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.structure import windows
from shared.limits import MAX_NESTING
from shared.linear_patterns import compiled

_WHITE_SPACE: Final = b" \t\r\n"
#: Bytes of text that are decoded at once.
_DECODED_AT_ONCE: Final = 262_144
#: Text up to a first half without a second, or the other way round, outside of pairs and other escapes.
_LONE_SURROGATE: Final = compiled(
    r"(?:[^\\]|\\[^u]|\\u[^dD]|\\u[dD][0-7]|\\u[dD][89abAB]..\\u[dD][c-fC-F])*?"
    r"\\u[dD](?:[c-fC-F]|[89abAB]..(?:[^\\]|\\[^u]|\\u[^dD]|\\u[dD][^c-fC-F]|(?:\\(?:u[dD]?)?)?\z))"
)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SHOWN_CHARACTERS: Final = 64

_json_syntax: Final = msgspec.json.Decoder(msgspec.Raw)
_json_string: Final = msgspec.json.Decoder(str)


def check_text(body: bytes) -> None:
    """Raise ApiError if a body is not one JSON value in UTF-8. Nesting is limited by the parser only."""
    if not body.strip(_WHITE_SPACE):
        raise ApiError(ErrorCode.EMPTY_BODY)
    if body.startswith(codecs.BOM_UTF8):
        raise ApiError(
            ErrorCode.INVALID_ENCODING, "The body starts with a byte order mark; send plain UTF-8 without it."
        )
    if not is_utf8(body):
        raise ApiError(ErrorCode.INVALID_ENCODING, "The body is not valid UTF-8; encode it as UTF-8.")
    try:
        _json_syntax.decode(body)
    except RecursionError:
        raise depth_refusal(None) from None
    except msgspec.DecodeError as error:
        raise _explain(body, str(error)) from None


def is_utf8(body: bytes) -> bool:
    """Return whether a body is UTF-8."""
    if body.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        # In pieces: one character beyond the BMP would make the whole text four times as large.
        for start in range(0, len(body), _DECODED_AT_ONCE):
            decoder.decode(body[start : start + _DECODED_AT_ONCE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _explain(body: bytes, error: str) -> ApiError:
    # A parser that wants the second half of a pair reports whatever it finds instead, the end of the text included.
    if ("surrogate" in error or "hex escape" in error or "truncated" in error) and _LONE_SURROGATE.match(body):
        sentence = "A string holds half of a surrogate pair (`\\ud800` to `\\udfff`); send whole characters."
        return ApiError(ErrorCode.INVALID_ENCODING, sentence)
    what = "it ends too early" if "truncated" in error else error.removeprefix("JSON is malformed: ")
    return ApiError(ErrorCode.INVALID_JSON, f"The body is not JSON: {what}; fix how it is serialised.")


def depth_refusal(path: str | None) -> ApiError:
    """Return the error for nesting beyond the limit."""
    sentence = f"The body is nested deeper than {MAX_NESTING} levels of objects and arrays; flatten it."
    return ApiError(ErrorCode.NESTING_TOO_DEEP, sentence, path=path, limit=MAX_NESTING)


def decoded(string: bytes) -> str:
    """Decode a string from its source text with quotes."""
    return _json_string.decode(string)


def decoded_size(text: bytes, start: int, end: int) -> int:
    """Return the UTF-8 bytes of the value of a string that stands, with its quotes, in a part of a text."""
    if text.find(b"\\", start, end) < 0:
        return end - start - 2
    if end - start < _DECODED_AT_ONCE:
        return len(decoded(text[start:end]).encode())
    parts = windows(text, start + 1, end - 1)
    return sum(len(decoded(b'"%b"' % part).encode()) if b"\\" in part else len(part) for part in parts)


def child_path(path: str, name: str) -> str:
    """Return the path of an object's member: `$.fields.notes`, or `$.fields["a b"]`. A long name is cut."""
    if _PLAIN_NAME.fullmatch(name):
        return f"{path}.{name}"
    # ASCII only, so that a path can always be encoded: a name may come from a URL.
    return f"{path}[{json.dumps(cut(name))}]"


def cut(text: str) -> str:
    """Return as much of a text from a request as an answer repeats."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    # A name from a URL may hold what can't be encoded, and the answer must be.
    return shown.encode(errors="replace").decode()

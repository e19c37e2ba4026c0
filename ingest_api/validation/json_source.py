"""A JSON body as text: read in place, never built into Python objects.

Validation must check thirty megabytes of anything without holding a tree of it, and must see what a tree
hides: members that a later one of the same name shadows, the spelling of numbers, the exact text of nested values. So
a body is first proven to be JSON by a parser in C that keeps nothing (`json_text.check_text`), and then walked as
bytes with regular expressions that rely on that proof: they find where things end, they do not check grammar. The
parser finds the end of whatever is long or nested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Final

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.json_text import (
    check_text,
    child_path,
    decoded,
    decoded_size,
    depth_refusal,
)
from ingest_api.validation.numbers import SHORTEST_LONG_NUMBER, digits_in_plain_form
from ingest_api.validation.structure import find_nul, is_deeper, windows
from shared.json_chunks import value_end
from shared.limits import MAX_KEY_BYTES, MAX_NESTING, MAX_NUMBER_DIGITS, MAX_VALUE_BYTES

_WHITE_SPACE: Final = b" \t\r\n"
_WHITE: Final = re.compile(rb"[ \t\r\n]*+")
#: A literal, or a string of up to 64 escapes and 1,024 bytes in front of each and behind.
_SHORT: Final = re.compile(
    rb'"[^"\\]{0,1024}+(?:\\.[^"\\]{0,1024}+){0,64}+"|[^"{\[ \t\r\n,\]}]{1,1024}+(?=[ \t\r\n,\]}]|\Z)'
)
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NUMBER: Final = rb"-?[0-9][0-9.]*+(?:[eE][-+]?[0-9]++)?"
#: What matters to say where in a nested value something stands; the fourth is a name, its colon behind it. The fifth
#: begins a string that is cut off.
_LANDMARK: Final = re.compile(rb"([{\[])|([}\]])|(,)|(" + _STRING + rb")(?=[ \t\r\n]*+:)|" + _STRING + rb'|(")')
#: A bracket, a number, or a string, which may look like either within; the fourth begins a string that is cut off.
_TOKEN: Final = re.compile(rb"([{\[])|([}\]])|(" + _NUMBER + rb")|" + _STRING + rb'|(")')
_OPENING, _CLOSING = 1, 2
_COMMA, _NAME, _OPEN_END = 3, 4, 5
_LITERAL, _CUT_OFF = 3, 4

_KINDS: Final = {
    ord('"'): "string",
    ord("{"): "object",
    ord("["): "array",
    ord("t"): "boolean",
    ord("f"): "boolean",
    ord("n"): "null",
}
NESTED: Final = frozenset({"object", "array"})
#: Source text that is looked at token by token where nothing is stored: for long numbers, or for a better path.
_TOKENIZED_BYTES: Final = 65_536
#: Tokens looked at to find that a value, which is refused anyway, is also nested too deep.
_TOKENS_WORTH_A_LOOK: Final = 20_000
_SHOWN_PATH_CHARACTERS: Final = 400
#: Bytes of a name's source text that are decoded; whatever is longer is too long however it is escaped.
_LONGEST_NAME_READ: Final = 65_536
#: Bytes that one byte of a string may take in the source text: `\u0041`.
LONGEST_ESCAPE: Final = 6
#: Bytes that a character may take there, as a surrogate pair.
_LONGEST_CHARACTER: Final = 2 * LONGEST_ESCAPE
#: What a path says in place of such a name.
OVERLONG: Final = "(overlong)"


def name_refusal(size: int, path: str) -> ApiError:
    """Return the error for a member's name of that size."""
    sentence = f"The name of a member must have 1 to {MAX_KEY_BYTES} bytes; this one has {size:,}."
    return ApiError(ErrorCode.INVALID_NAME, sentence, path=path, limit=MAX_KEY_BYTES, observed=size)


class Source:
    """A cursor over text that is proven to be JSON. It stands on one value, from `start` to `end`.

    Of an object or array within another, `end` is known only when it was walked (`members`), passed over (`skip`) or
    read by somebody who sets it; what follows can't be reached before.
    """

    __slots__ = ("body", "depth", "end", "start")

    def __init__(self, text: bytes, depth: int = 0, start: int = 0, end: int | None = None) -> None:
        self.body = text
        #: Levels of objects and arrays around the value at hand.
        self.depth = depth
        self._stand_at(start)
        if self.kind in NESTED:
            self.end = len(text) if end is None else end

    @classmethod
    def parse(cls, body: bytes) -> Source:
        """Return a cursor over a body. Raises ApiError if it is not JSON."""
        check_text(body)
        return cls(body)

    @property
    def kind(self) -> str:
        """The JSON type of the value at hand."""
        return _KINDS.get(self.body[self.start], "number")

    @property
    def text(self) -> bytes:
        """The source text of the value at hand."""
        return self.body[self.start : self.end]

    def members(self, path: str, overlong: Callable[[str], ApiError] | None = None) -> Iterator[str]:
        """Walk the object at hand: yield each member's name, with the cursor on its value. Shadowed ones too.

        `overlong`: makes, of its path, the error for a name longer than any known one; else its size is told.
        """
        self.depth += 1
        self.end = self.start + 1
        while self.body[_past_white(self.body, self.end)] != ord("}"):
            self._stand_at(self.end)
            name = self._name(path, overlong)
            self._stand_at(_past_white(self.body, self.end) + 1)  # behind the colon
            yield name
            self.end = _past_white(self.body, self.end)
            self.end += self.body[self.end] == ord(",")
        self.end = _past_white(self.body, self.end) + 1
        self.depth -= 1

    def _stand_at(self, position: int) -> None:
        self.start = _past_white(self.body, position)
        if self.body[self.start] in b"{[":
            self.end = self.start
        else:
            short = _SHORT.match(self.body, self.start)
            self.end = short.end() if short else self._value_end()

    def _value_end(self) -> int:
        if not self.depth:  # it is the whole text
            return len(self.body.rstrip(_WHITE_SPACE))
        text = memoryview(self.body)[self.start :]
        return self.start + len(bytes(text[: value_end(text)]).rstrip(_WHITE_SPACE))

    def _name(self, path: str, overlong: Callable[[str], ApiError] | None) -> str:
        if self.end - self.start > _LONGEST_NAME_READ:
            place = child_path(path, OVERLONG)
            raise overlong(place) if overlong else name_refusal(decoded_size(self.body, self.start, self.end), place)
        name = decoded(self.text)
        if "\0" in name:
            raise _nul_refusal(child_path(path, name))
        return name

    def primitive_size(self, path: str) -> int:
        """Return the size of the primitive at hand: a string's decoded bytes, else the bytes of its JSON text."""
        if self.kind == "string":
            return self.string_size(path)
        if self.kind == "number" and self.end - self.start <= MAX_VALUE_BYTES:
            _check_digits(self.text, path)
        return self.end - self.start

    def string_size(self, path: str) -> int:
        """Return the decoded bytes of the string at hand, which must not hold U+0000."""
        if find_nul(self.body, self.start, self.end) >= 0:
            raise _nul_refusal(path)
        return decoded_size(self.body, self.start, self.end)

    def short_string(self, path: str, most: int) -> str:
        """Return a string that is right only if it is short; of one that is sure to be too long, the beginning."""
        if find_nul(self.body, self.start, self.end) >= 0:
            raise _nul_refusal(path)
        if self.end - self.start <= most * _LONGEST_CHARACTER + 2:
            return decoded(self.text)
        return self.body[self.start + 1 : self.start + most + 2].decode("latin-1")

    @property
    def characters(self) -> int:
        """The number of characters of the string at hand."""
        return sum(len(decoded(b'"%b"' % part)) for part in windows(self.body, self.start + 1, self.end - 1))

    def skip(self, path: str) -> None:
        """Pass over the value at hand, of which nothing matters but its depth."""
        if self.kind in NESTED:
            self.end = self._value_end()
            if is_deeper(self.body, self.start, self.end, MAX_NESTING - self.depth):
                raise depth_refusal(path)

    def check_everything(self, path: str) -> None:
        """Check the object at hand by the rules for any text: depth, U+0000, and long numbers in its first 64 KB."""
        self.skip(path)
        for token in self._first_tokens():
            if token.lastindex == _LITERAL:
                _check_digits(token[0], path, self, token.start())
        if (nul := find_nul(self.body, self.start, self.end)) >= 0:
            raise _nul_refusal(self.locate(nul, path))

    def refuse_deep_nesting(self, path: str) -> None:
        """Raise ApiError if the nested value at hand, about to be refused for being nested at all, is too deep."""
        depth = self.depth
        for token in islice(self._first_tokens(), _TOKENS_WORTH_A_LOOK):
            depth += (token.lastindex == _OPENING) - (token.lastindex == _CLOSING)
            if depth > MAX_NESTING:
                raise depth_refusal(path)
            if depth == self.depth:
                return

    def _first_tokens(self) -> Iterator[re.Match[bytes]]:
        """The tokens that end near the beginning of the value at hand."""
        end = self.start + _TOKENIZED_BYTES
        tokens = _TOKEN.finditer(self.body, self.start, end)
        return takewhile(lambda token: token.end() < end and token.lastindex != _CUT_OFF, tokens)

    def locate(self, position: int, path: str) -> str:
        """Return the path of what stands at a position in the nested value at hand; its own path if that is far."""
        if position - self.start > _TOKENIZED_BYTES:
            return path
        for step in self._steps_to(position):
            path = f"{path}[{step}]" if isinstance(step, int) else child_path(path, step)
        return path if len(path) <= _SHOWN_PATH_CHARACTERS else path[:_SHOWN_PATH_CHARACTERS] + "…"

    def _steps_to(self, position: int) -> list[int | str]:
        steps: list[int | str] = []
        end = self.start + 2 * _TOKENIZED_BYTES
        for mark in _LANDMARK.finditer(self.body, self.start, end):
            if mark.start() > position:
                break
            if mark.lastindex == _OPEN_END or mark.end() == end:  # the position is within
                if self._is_name(mark.start()):
                    steps[-1] = OVERLONG
                break
            if mark.lastindex == _OPENING:
                steps.append(0 if mark[0] == b"[" else "")
            elif mark.lastindex == _CLOSING:
                steps.pop()
            elif mark.lastindex == _COMMA and isinstance(steps[-1], int):
                steps[-1] += 1
            elif mark.lastindex == _NAME:
                steps[-1] = decoded(mark[0]) if len(mark[0]) <= _LONGEST_NAME_READ else OVERLONG
        return steps

    def _is_name(self, start: int) -> bool:
        end = start + value_end(memoryview(self.body)[start:])
        return self.body[_past_white(self.body, end)] == ord(":")


def _past_white(text: bytes, position: int) -> int:
    match = _WHITE.match(text, position)
    if match is None:
        raise AssertionError("the pattern matches nothing, too")
    return match.end()


def _check_digits(literal: bytes, path: str, source: Source | None = None, position: int = 0) -> None:
    if len(literal) < SHORTEST_LONG_NUMBER:
        return
    digits = digits_in_plain_form(literal)
    if digits > MAX_NUMBER_DIGITS:
        sentence = f"A number needs more than {MAX_NUMBER_DIGITS:,} digits in plain decimal form; send it as a string."
        path = source.locate(position, path) if source else path
        raise ApiError(ErrorCode.NUMBER_OUT_OF_RANGE, sentence, path=path, limit=MAX_NUMBER_DIGITS, observed=digits)


def _nul_refusal(path: str) -> ApiError:
    sentence = "A string or name holds the character U+0000, which can't be stored; remove it."
    return ApiError(ErrorCode.NUL_CHARACTER, sentence, path=path)

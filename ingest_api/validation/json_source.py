"""A JSON body as text: read in place, never built into Python objects.

Validation must be able to judge thirty megabytes of anything without holding a tree of it, and must see what a tree
hides: members that a later one of the same name shadows, the spelling of numbers, the exact text of nested values. So
a body is first proven to be JSON by a parser in C that keeps nothing (`json_text.check_text`), and then walked as
bytes with regular expressions that rely on that proof: they find where things end, they do not check grammar.

Rules that hold in any body are enforced here, because they need the text: UTF-8 and JSON (400), and 409 for U+0000 in
a string or name, numbers beyond 1,000 digits, and nesting beyond 100 levels. What is refused is named by a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.json_text import (
    check_text,
    child_path,
    decoded,
    decoded_size,
    depth_refusal,
    digits_in_plain_form,
)
from shared.limits import MAX_KEY_BYTES, MAX_NESTING, MAX_NUMBER_DIGITS

_WHITE: Final = rb"[ \t\r\n]*+"
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NUMBER: Final = rb"-?[0-9][0-9.]*+(?:[eE][-+]?[0-9]++)?"
#: A string, the opening of an object or array, or a literal.
_VALUE: Final = rb"(?:" + _STRING + rb"|[{\[]|[^ \t\r\n,\]}]++)"
_MEMBER: Final = re.compile(_WHITE + rb"(" + _STRING + rb")" + _WHITE + rb":" + _WHITE + rb"(" + _VALUE + rb")")
_ELEMENT: Final = re.compile(_WHITE + rb"(?!\])(" + _VALUE + rb")")
_SEPARATOR: Final = re.compile(_WHITE + rb"[,}\]]")
#: What matters when a nested value is passed over: brackets and numbers, and strings, since they may hold either.
_TOKEN: Final = re.compile(rb"([{\[])|([}\]])|(" + _NUMBER + rb")|" + _STRING)
#: What matters to say where in a nested value something stands; the fourth is a name, its colon behind it.
_LANDMARK: Final = re.compile(rb"([{\[])|([}\]])|(,)|(" + _STRING + rb")(?=" + _WHITE + rb":)|" + _STRING)
#: An escaped U+0000: its backslash is not itself escaped.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")

_OPENING, _CLOSING, _LITERAL = 1, 2, 3
_COMMA, _NAME = 3, 4

_KINDS: Final = {
    ord('"'): "string",
    ord("{"): "object",
    ord("["): "array",
    ord("t"): "boolean",
    ord("f"): "boolean",
    ord("n"): "null",
}
NESTED: Final = frozenset({"object", "array"})
#: Tokens looked at to find that a value, which is refused anyhow, is also nested too deep: that is not worth seconds.
_TOKENS_WORTH_A_LOOK: Final = 20_000
_SHOWN_PATH_CHARACTERS: Final = 400
#: Bytes of a name's source text that are decoded; whatever is longer is too long however it is escaped.
_LONGEST_NAME_READ: Final = 65_536
#: What a path says in place of such a name.
_OVERLONG: Final = "(overlong)"


class Source:
    """A cursor over a body that is proven to be JSON. It stands on one value, from `start` to `end`.

    Of an object or array, `end` is known only once one has gone through it (`members`, `elements`) or passed over it
    (`skip`); what follows can't be reached before.
    """

    __slots__ = ("_may_hold_nul", "body", "depth", "digits", "end", "start")

    def __init__(self, body: bytes) -> None:
        check_text(body)
        self.body = body
        #: Levels of objects and arrays around the value at hand.
        self.depth = 0
        #: Of all numbers judged so far, in plain decimal form.
        self.digits = 0
        self._may_hold_nul = b"\\u0000" in body
        self.start, self.end = _found(_ELEMENT.match(body)).span(1)

    @property
    def kind(self) -> str:
        """The JSON type of the value at hand."""
        return _KINDS.get(self.body[self.start], "number")

    @property
    def text(self) -> bytes:
        """The source text of the value at hand."""
        return self.body[self.start : self.end]

    def members(self, path: str) -> Iterator[str]:
        """Goes through the object at hand: each member's name, with the cursor on its value. Shadowed ones too."""
        self.depth += 1
        self.end = self.start + 1
        match = _MEMBER.match(self.body, self.end)
        while match is not None:
            name = self._name(*match.span(1), path)
            self.start, self.end = match.span(2)
            yield name
            match = _MEMBER.match(self.body, self.end) if self._pass_comma() else None
        self._leave()

    def elements(self) -> Iterator[None]:
        """Goes through the array at hand, with the cursor on each element in turn."""
        self.depth += 1
        self.end = self.start + 1
        match = _ELEMENT.match(self.body, self.end)
        while match is not None:
            self.start, self.end = match.span(1)
            yield
            match = _ELEMENT.match(self.body, self.end) if self._pass_comma() else None
        self._leave()

    def _pass_comma(self) -> bool:
        end = _found(_SEPARATOR.match(self.body, self.end)).end()
        if self.body[end - 1] != ord(","):
            return False
        self.end = end
        return True

    def _leave(self) -> None:
        self.end = _found(_SEPARATOR.match(self.body, self.end)).end()
        self.depth -= 1

    def _name(self, start: int, end: int, path: str) -> str:
        if end - start > _LONGEST_NAME_READ:
            raise name_refusal(decoded_size(self.body[start:end]), child_path(path, _OVERLONG))
        name = decoded(self.body[start:end])
        if self._may_hold_nul and "\0" in name:
            raise _nul_refusal(child_path(path, name))
        return name

    def primitive_size(self, path: str) -> int:
        """The size of the primitive at hand: a string's decoded bytes, else the bytes of its JSON text."""
        if self.kind == "string":
            return decoded_size(self.string(path))
        if self.kind == "number":
            digits = digits_in_plain_form(self.text.decode())
            if digits > MAX_NUMBER_DIGITS:
                raise _number_refusal(digits, path)
            self.digits += digits
        return self.end - self.start

    def string(self, path: str) -> bytes:
        """The source text of the string at hand, with its quotes."""
        if self._may_hold_nul and _NUL.search(self.body, self.start, self.end):
            raise _nul_refusal(path)
        return self.text

    def skip(self, path: str) -> None:
        """Passes over the value at hand: whatever is in it, the rules for any body hold there."""
        if self.kind not in NESTED:
            self.primitive_size(path)
            return
        self.end = self._end_of_nested(path)
        if self._may_hold_nul and (nul := _NUL.search(self.body, self.start, self.end)):
            raise _nul_refusal(self._locate(nul.end() - 1, path))

    def _end_of_nested(self, path: str) -> int:
        depth = self.depth
        for token in _TOKEN.finditer(self.body, self.start):
            if token.lastindex == _OPENING:
                depth += 1
                if depth > MAX_NESTING:
                    raise depth_refusal(path)
            elif token.lastindex == _CLOSING:
                depth -= 1
                if depth == self.depth:
                    return token.end()
            elif (
                token.lastindex == _LITERAL and (digits := digits_in_plain_form(token[0].decode())) > MAX_NUMBER_DIGITS
            ):
                raise _number_refusal(digits, self._locate(token.start(), path))
        raise AssertionError("the parser saw the end of this value")

    def refuse_deep_nesting(self, path: str) -> None:
        """Names nesting beyond the limit for what it is, in a value about to be refused for being nested at all."""
        depth = self.depth
        for token in islice(_TOKEN.finditer(self.body, self.start), _TOKENS_WORTH_A_LOOK):
            depth += (token.lastindex == _OPENING) - (token.lastindex == _CLOSING)
            if depth > MAX_NESTING:
                raise depth_refusal(path)
            if depth == self.depth:
                return

    def _locate(self, position: int, path: str) -> str:
        """The path of what stands at a position in the nested value at hand."""
        steps: list[int | str] = []
        for mark in _LANDMARK.finditer(self.body, self.start):
            if mark.start() > position:
                break
            if mark.lastindex == _OPENING:
                steps.append(0 if mark[0] == b"[" else "")
            elif mark.lastindex == _CLOSING:
                steps.pop()
            elif mark.lastindex == _COMMA and isinstance(steps[-1], int):
                steps[-1] += 1
            elif mark.lastindex == _NAME:
                steps[-1] = decoded(mark[0]) if len(mark[0]) <= _LONGEST_NAME_READ else _OVERLONG
        for step in steps:
            path = f"{path}[{step}]" if isinstance(step, int) else child_path(path, step)
        return path if len(path) <= _SHOWN_PATH_CHARACTERS else path[:_SHOWN_PATH_CHARACTERS] + "…"


def _found(match: re.Match[bytes] | None) -> re.Match[bytes]:
    if match is None:
        raise AssertionError("the parser proved that this is here")
    return match


def name_refusal(size: int, path: str) -> ApiError:
    """The refusal of a member's name by its size."""
    sentence = f"A name in `fields`, `tags` or `context` must be 1 to {MAX_KEY_BYTES} bytes; this one has {size:,}."
    return ApiError(ErrorCode.INVALID_NAME, sentence, path=path, limit=MAX_KEY_BYTES, observed=size)


def _nul_refusal(path: str) -> ApiError:
    sentence = "A string or name holds the character U+0000, which can't be stored; remove it."
    return ApiError(ErrorCode.NUL_CHARACTER, sentence, path=path)


def _number_refusal(digits: int, path: str) -> ApiError:
    sentence = f"A number needs more than {MAX_NUMBER_DIGITS:,} digits in plain decimal form; send it as a string."
    return ApiError(ErrorCode.NUMBER_OUT_OF_RANGE, sentence, path=path, limit=MAX_NUMBER_DIGITS, observed=digits)

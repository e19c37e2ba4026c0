"""The rules of the bodies, judged exactly: this decides, and says what is wrong and where.

Every value in the source text is judged, a member that a later one of the same name shadows too: the worker hands
the source text of `fields`, `tags` and `context` to Postgres, which parses all of it. Of a property given twice the
last one counts, as in every parser that reads the body after us.

First comes what is wrong with the text as a whole (400), then the first fault in the order of the text (409).
`validation` has the fast way to say yes; it may only say yes to what passes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.json_source import NESTED, Source, name_refusal
from ingest_api.validation.json_text import child_path, cut, decoded, decoded_size
from ingest_api.validation.timestamps import MAX_TIMESTAMP_CHARACTERS, is_timestamp
from shared.limits import (
    MAX_CONFIGURATION_BYTES,
    MAX_CONTEXT_DIGITS,
    MAX_FIELDS,
    MAX_ID_BYTES,
    MAX_ITEM_BYTES,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    MAX_STREAM_CHARACTERS,
    MAX_TAGS,
    MAX_VALUE_BYTES,
)
from shared.log_levels import STORED_LEVELS, stored_level

#: Judges the value at hand, whose path is given.
Judge = Callable[[Source, str], object]
#: A fast way over many elements of an array. From an element's start in the body: how many elements are sure to
#: pass, and the end of the last of them. Where it can't say, the count is 0, and the position the next to ask at.
Leap = Callable[[bytes, int], tuple[int, int]]

_STREAM: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_STREAM_CHARACTERS}}}")
#: Bytes that one byte of a string may take in the source text: `\u0041`.
_LONGEST_ESCAPE: Final = 6
#: A configuration of nothing but escapes, and what stands around it.
_LONGEST_CONFIGURATION_BODY: Final = MAX_CONFIGURATION_BYTES * _LONGEST_ESCAPE + 1024
#: Fields or tags that are counted, to name their number, before an object with too many of them is given up.
_COUNTED_AT_MOST: Final = 10_000
_ROOT: Final = "$"


def judge_items(body: bytes, leap: Leap) -> int:
    """Judges the body of an ingest; the number of its items."""
    items = _Array(_judge_item, leap)
    properties: Mapping[str, Judge] = {"stream": _judge_stream, "items": items}
    _judge_object(Source(body), _ROOT, "a batch", properties, required=("stream", "items"))
    return items.length


def judge_log_entries(body: bytes, leap: Leap) -> int:
    """Judges the body of a log submission; the number of its entries."""
    entries = _Array(_judge_entry, leap)
    _judge_object(Source(body), _ROOT, "a log submission", {"entries": entries}, required=("entries",))
    return entries.length


def judge_heartbeat(body: bytes) -> None:
    """Judges the body of a heartbeat: any object."""
    source = Source(body)
    _expect(source, _ROOT, "object")
    source.skip(_ROOT)


def judge_webhook(body: bytes, id_field: str) -> None:
    """Judges the body of a webhook: one item, of which every member is a field."""
    source = Source(body)
    _expect(source, _ROOT, "object")
    members = _Tally(MAX_FIELDS, ErrorCode.TOO_MANY_FIELDS, MAX_ITEM_BYTES)
    for name in source.members(_ROOT):
        path = child_path(_ROOT, name)
        _check_webhook_member(source, path, is_id=name == id_field, is_name=name == "name")
        members.add(name, _any_value_size(source, path), path, _ROOT)
    members.check(_ROOT)
    if id_field not in members.names:
        sentence = f"The body has no member `{cut(id_field)}` to take the item's id from; add it or set `idField`."
        raise ApiError(ErrorCode.MISSING_PROPERTY, sentence, path=child_path(_ROOT, id_field))


def judge_configuration(body: bytes) -> str:
    """Judges the body of a configuration; the configuration, which is JSON text itself."""
    if len(body) > _LONGEST_CONFIGURATION_BODY:
        sentence = f"`configuration` may have {MAX_CONFIGURATION_BYTES:,} bytes; this whole body has {len(body):,}."
        raise ApiError(ErrorCode.INVALID_CONFIGURATION, sentence, limit=MAX_CONFIGURATION_BYTES, observed=len(body))
    found: list[str] = []
    judge: Judge = lambda source, path: found.append(_configuration(source, path))  # noqa: E731 - one of a table
    _judge_object(Source(body), _ROOT, "this body", {"configuration": judge}, required=("configuration",))
    return found[-1]


def judge_stream(stream: str, path: str | None) -> None:
    """Judges a stream's name."""
    if not _STREAM.fullmatch(stream):
        sentence = f"`stream` must be 1 to {MAX_STREAM_CHARACTERS} characters of `A-Z a-z 0-9 . _ : -`; rename it."
        refusal = ApiError(ErrorCode.INVALID_STREAM, sentence, path=path)
        if len(stream) > MAX_STREAM_CHARACTERS:
            refusal.limit, refusal.observed = MAX_STREAM_CHARACTERS, len(stream)
        raise refusal


def _judge_object(
    source: Source, path: str, called: str, properties: Mapping[str, Judge], required: tuple[str, ...]
) -> None:
    """Judges an object whose every property is known."""
    _expect(source, path, "object")
    missing = dict.fromkeys(required)
    for name in source.members(path):
        place = child_path(path, name)
        judge = properties.get(name)
        if judge is None:
            sentence = f"`{cut(name)}` is not a property of {called}; remove it or rename it to one of the documented."
            raise ApiError(ErrorCode.UNKNOWN_PROPERTY, sentence, path=place)
        judge(source, place)
        missing.pop(name, None)
    for name in missing:
        raise ApiError(
            ErrorCode.MISSING_PROPERTY, f"`{name}` is required in {called}; add it.", path=child_path(path, name)
        )


class _Array:
    """Judges an array, element by element or by leaps, and counts it. Of an array given twice, the last is counted."""

    def __init__(self, judge: Judge, leap: Leap) -> None:
        self._judge = judge
        self._leap = leap
        self.length = 0

    def __call__(self, source: Source, path: str) -> None:
        _expect(source, path, "array")
        self.length = 0
        ask_at = source.start
        for _ in source.elements():
            passed = 0
            if source.start >= ask_at:
                passed, ask_at = self._leap(source.body, source.start)
            if passed:
                source.end = ask_at
                self.length += passed
            else:
                self._judge(source, f"{path}[{self.length}]")
                self.length += 1


def _judge_item(source: Source, path: str) -> None:
    _judge_object(source, path, "an item", _ITEM, required=("id",))


def _judge_entry(source: Source, path: str) -> None:
    _judge_object(source, path, "a log entry", _ENTRY, required=("level", "message"))


def _judge_stream(source: Source, path: str) -> None:
    _expect(source, path, "string")
    judge_stream(_short_string(source, path, MAX_STREAM_CHARACTERS), path)


def _judge_id(source: Source, path: str) -> None:
    _expect(source, path, "string")
    _check_id_size(decoded_size(source.string(path)), path)


def _judge_name(source: Source, path: str) -> None:
    if source.kind != "null":
        _expect(source, path, "string", "string or null")
        _check_display_name(source, path)


def _judge_fields(source: Source, path: str) -> None:
    _judge_primitives(source, path, _Tally(MAX_FIELDS, ErrorCode.TOO_MANY_FIELDS, MAX_ITEM_BYTES))


def _judge_tags(source: Source, path: str) -> None:
    _judge_primitives(source, path, _Tally(MAX_TAGS, ErrorCode.TOO_MANY_TAGS))


def _judge_context(source: Source, path: str) -> None:
    # Of names there may be any number, so of numbers too; in `fields` and `tags` there are few.
    digits_before = source.digits
    _judge_primitives(source, path, _Tally())
    digits = source.digits - digits_before
    if digits > MAX_CONTEXT_DIGITS:
        sentence = (
            f"The numbers of a `context` may have {MAX_CONTEXT_DIGITS:,} digits together in plain decimal form; "
            f"these have {digits:,}: send them as strings."
        )
        raise ApiError(ErrorCode.NUMBER_OUT_OF_RANGE, sentence, path=path, limit=MAX_CONTEXT_DIGITS, observed=digits)


def _judge_primitives(source: Source, path: str, tally: _Tally) -> None:
    _expect(source, path, "object")
    for name in source.members(path):
        place = child_path(path, name)
        if source.kind in NESTED:
            source.refuse_deep_nesting(place)
            sentence = (
                f"This value is an {source.kind}, and only primitives are kept; flatten it or send it as a string."
            )
            raise ApiError(ErrorCode.NESTED_VALUE, sentence, path=place)
        tally.add(name, source.primitive_size(place), place, path)
    tally.check(path)


def _judge_level(source: Source, path: str) -> None:
    _expect(source, path, "string")
    if stored_level(_short_string(source, path, _LONGEST_LEVEL)) is None:
        raise ApiError(ErrorCode.INVALID_LEVEL, f"`level` must be one of {', '.join(STORED_LEVELS)}.", path=path)


def _configuration(source: Source, path: str) -> str:
    _expect(source, path, "string")
    size = decoded_size(source.string(path))
    if size > MAX_CONFIGURATION_BYTES:
        sentence = f"`configuration` may have {MAX_CONFIGURATION_BYTES:,} bytes; this one has {size:,}: shorten it."
        raise ApiError(
            ErrorCode.INVALID_CONFIGURATION, sentence, path=path, limit=MAX_CONFIGURATION_BYTES, observed=size
        )
    text = decoded(source.text)
    if not _is_json_object(text.encode()):
        raise ApiError(
            ErrorCode.INVALID_CONFIGURATION, "`configuration` must be a string that holds a JSON object.", path=path
        )
    return text


def _is_json_object(text: bytes) -> bool:
    try:
        source = Source(text)
        source.skip(_ROOT)
    except ApiError:
        return False
    return source.text.startswith(b"{")


def _judge_message(source: Source, path: str) -> None:
    _expect(source, path, "string")
    _check_value_size(source.primitive_size(path), path)


def _judge_timestamp(source: Source, path: str) -> None:
    _expect(source, path, "string")
    if not is_timestamp(_short_string(source, path, MAX_TIMESTAMP_CHARACTERS)):
        sentence = (
            "`timestamp` must be RFC 3339 with an offset, of the years 0001 to 9999, such as `2026-04-09T11:08:00Z`."
        )
        raise ApiError(ErrorCode.INVALID_TIMESTAMP, sentence, path=path)


_ITEM: Final[Mapping[str, Judge]] = {
    "id": _judge_id,
    "name": _judge_name,
    "fields": _judge_fields,
    "tags": _judge_tags,
}
_ENTRY: Final[Mapping[str, Judge]] = {
    "level": _judge_level,
    "message": _judge_message,
    "timestamp": _judge_timestamp,
    "context": _judge_context,
}
_LONGEST_LEVEL: Final = max(map(len, STORED_LEVELS))


class _Tally:
    """What the members of one object come to: how many names, and how many bytes."""

    def __init__(
        self, most_names: int | None = None, code: ErrorCode | None = None, most_bytes: int | None = None
    ) -> None:
        self.names: set[str] = set()
        self._count = 0
        self._bytes = 0
        self._most_names = most_names
        self._code = code
        self._most_bytes = most_bytes

    def add(self, name: str, size: int, path: str, whole: str) -> None:
        """Takes a member in; refuses it by its own name or size. The object's path is for what comes of all."""
        name_size = len(name.encode())
        if not 1 <= name_size <= MAX_KEY_BYTES:
            raise name_refusal(name_size, path)
        _check_value_size(size, path)
        self._bytes += size
        # Names, not members: a name given twice is one field in the end.
        if self._most_names is not None and name not in self.names:
            self._count += 1
            if self._count <= self._most_names:
                self.names.add(name)
            elif self._count >= _COUNTED_AT_MOST:
                self.check(whole)

    def check(self, whole: str) -> None:
        """Refuses the object by all that was added."""
        if self._code is not None and self._most_names is not None and self._count > self._most_names:
            what = "tags" if self._code is ErrorCode.TOO_MANY_TAGS else "fields"
            sentence = f"An item may have {self._most_names} {what}; this one has {self._count:,}: split or trim it."
            raise ApiError(self._code, sentence, path=whole, limit=self._most_names, observed=self._count)
        if self._most_bytes is not None and self._bytes > self._most_bytes:
            sentence = (
                f"The field values of an item may have {self._most_bytes:,} bytes together; "
                f"these have {self._bytes:,}: split the item."
            )
            raise ApiError(ErrorCode.ITEM_TOO_LARGE, sentence, path=whole, limit=self._most_bytes, observed=self._bytes)


def _check_webhook_member(source: Source, path: str, *, is_id: bool, is_name: bool) -> None:
    if is_id:
        if source.kind in NESTED or source.kind == "null":
            if source.kind in NESTED:
                source.refuse_deep_nesting(path)
            sentence = f"The item's id must be a string, number or boolean, not {_with_article(source.kind)}."
            raise ApiError(ErrorCode.INVALID_ID, sentence, path=path)
        _check_id_size(source.primitive_size(path), path)
    if is_name and source.kind == "string":
        _check_display_name(source, path)


def _any_value_size(source: Source, path: str) -> int:
    """The size of a webhook's member: of a nested one, its source text, since that is what is kept."""
    if source.kind not in NESTED:
        return source.primitive_size(path)
    source.skip(path)
    return source.end - source.start


def _check_id_size(size: int, path: str) -> None:
    if not 1 <= size <= MAX_ID_BYTES:
        sentence = f"An item's id must be 1 to {MAX_ID_BYTES} bytes; this one has {size:,}."
        raise ApiError(ErrorCode.INVALID_ID, sentence, path=path, limit=MAX_ID_BYTES, observed=size)


def _check_display_name(source: Source, path: str) -> None:
    size = decoded_size(source.string(path))
    if size > MAX_NAME_BYTES:
        sentence = f"An item's `name` may have {MAX_NAME_BYTES:,} bytes; this one has {size:,}: shorten it."
        raise ApiError(ErrorCode.INVALID_NAME, sentence, path=path, limit=MAX_NAME_BYTES, observed=size)


def _check_value_size(size: int, path: str) -> None:
    if size > MAX_VALUE_BYTES:
        sentence = f"One value may have {MAX_VALUE_BYTES:,} bytes; this one has {size:,}: shorten it."
        raise ApiError(ErrorCode.VALUE_TOO_LARGE, sentence, path=path, limit=MAX_VALUE_BYTES, observed=size)


def _short_string(source: Source, path: str, most: int) -> str:
    """A string that is right only if it is short. One that is sure to be too long comes back as its beginning."""
    text = source.string(path)
    return decoded(text) if len(text) <= most * _LONGEST_ESCAPE + 2 else text[1 : most + 2].decode("latin-1")


def _expect(source: Source, path: str, kind: str, called: str | None = None) -> None:
    if source.kind == kind:
        return
    if source.kind in NESTED:
        source.refuse_deep_nesting(path)
    what = "The body" if path == _ROOT else "This value"
    sentence = f"{what} must be {_with_article(called or kind)}, not {_with_article(source.kind)}."
    raise ApiError(ErrorCode.WRONG_TYPE, sentence, path=path)


def _with_article(kind: str) -> str:
    return kind if kind == "null" else f"an {kind}" if kind in NESTED else f"a {kind}"

"""Bodies that must be refused, each with its answer, and the largest bodies that must be accepted."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.client import GZIP, JSON, MB, Body, batch, item

BODY_LIMIT, VALUE_LIMIT, ITEM_LIMIT = 30 * MB, 5 * MB, 10 * MB
_FIRST_FIELDS = "$.items[0].fields"


@dataclass(frozen=True)
class Bad:
    """A submission that must be refused."""

    what: str
    status: int
    code: str
    path: str | None
    #: Makes the body when it is needed: some are large.
    body: Callable[[], Body]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)

    def __str__(self) -> str:
        return self.what


def of_size(size: int) -> bytes:
    """Return a valid body of `size` bytes."""
    return batch(item("agent-1", state="Ready")).ljust(size)


def in_chunks(body: bytes) -> Iterator[bytes]:
    """Yield a body in chunks, so that it is sent without Content-Length."""
    for start in range(0, len(body), MB):
        yield body[start : start + MB]


def item_of_size(size: int) -> bytes:
    """Return one item whose field values have `size` bytes in all, none of them too large."""
    sizes = [min(VALUE_LIMIT, size - start) for start in range(0, size, VALUE_LIMIT)]
    return batch(item("large", **{f"part{number}": "x" * part for number, part in enumerate(sizes)}))


def with_fields(count: int) -> bytes:
    """Return one item with `count` fields."""
    return batch(item("wide", **{f"field{number}": number for number in range(count)}))


def gzip_of_zeros(size: int) -> bytes:
    """Return `size` zeros compressed to a thousandth."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for _ in range(size // MB):
            file.write(bytes(MB))
    return packed.getvalue()


def _fields(text: str) -> Callable[[], bytes]:
    """Return a maker of one item with this source text as its fields."""
    return lambda: b'{"stream":"agents","items":[{"id":"agent-1","fields":%b}]}' % text.encode()


def _text(text: str | bytes) -> Callable[[], bytes]:
    return lambda: text if isinstance(text, bytes) else text.encode()


def _items(text: str) -> Callable[[], bytes]:
    return _text(f'{{"stream":"agents","items":{text}}}')


def _nested(levels: int) -> str:
    return "[" * levels + "]" * levels


_GOOD = batch(item("agent-1", state="Ready"))
#: A good item before each bad one: a batch is taken whole or not at all.
_SECOND = '[{"id":"good"},%s]'

_NOT_JSON = [
    Bad("nothing at all", 400, "empty_body", None, _text("")),
    Bad("white space only", 400, "empty_body", None, _text(" \r\n\t")),
    Bad("no JSON", 400, "invalid_json", None, _text("stream=agents")),
    Bad("JSON that is cut off", 400, "invalid_json", None, _text(_GOOD[:-1])),
    Bad("JSON with something behind it", 400, "invalid_json", None, _text(_GOOD + b"x")),
    Bad("NaN", 400, "invalid_json", None, _fields('{"a":NaN}')),
    Bad("a control character in a string", 400, "invalid_json", None, _fields('{"a":"\n"}')),
    Bad("invalid UTF-8", 400, "invalid_encoding", None, _text(_GOOD.replace(b"Ready", b"\xff"))),
    Bad("UTF-16", 400, "invalid_json", None, _text(_GOOD.decode().encode("utf-16-be"))),
    Bad("a byte order mark", 400, "invalid_encoding", None, _text(b"\xef\xbb\xbf" + _GOOD)),
    Bad("a lone surrogate", 400, "invalid_encoding", None, _fields('{"a":"\\ud800"}')),
    Bad("a lone surrogate in UTF-8", 400, "invalid_encoding", None, _text(_GOOD.replace(b"Ready", b"\xed\xa0\x80"))),
    Bad("gzip that is none", 400, "invalid_compression", None, _text(_GOOD), GZIP),
    Bad("gzip that is cut off", 400, "invalid_compression", None, lambda: gzip.compress(_GOOD)[:-4], GZIP),
    Bad("gzip with a byte behind it", 400, "invalid_compression", None, lambda: gzip.compress(_GOOD) + b"x", GZIP),
    Bad("gzip that is damaged", 400, "invalid_compression", None, lambda: gzip.compress(_GOOD)[:-8] + bytes(8), GZIP),
]
_SHAPES = [
    Bad("an array", 409, "wrong_type", "$", _text("[]")),
    Bad("a number", 409, "wrong_type", "$", _text("1")),
    Bad("no stream", 409, "missing_property", "$.stream", _text('{"items":[]}')),
    Bad("no items", 409, "missing_property", "$.items", _text('{"stream":"agents"}')),
    Bad("an empty stream", 409, "invalid_stream", "$.stream", _text('{"stream":"","items":[]}')),
    Bad("a stream with a space", 409, "invalid_stream", "$.stream", _text('{"stream":"a b","items":[]}')),
    Bad("a stream of 129", 409, "invalid_stream", "$.stream", lambda: batch(stream="s" * 129)),
    Bad("a stream that is a number", 409, "wrong_type", "$.stream", _text('{"stream":1,"items":[]}')),
    Bad("items that are an object", 409, "wrong_type", "$.items", _items("{}")),
    Bad("an item that is null", 409, "wrong_type", "$.items[1]", _items(_SECOND % "null")),
    Bad("an item without id", 409, "missing_property", "$.items[1].id", _items(_SECOND % "{}")),
    Bad("an id that is a number", 409, "wrong_type", "$.items[1].id", _items(_SECOND % '{"id":1}')),
    Bad("an empty id", 409, "invalid_id", "$.items[1].id", _items(_SECOND % '{"id":""}')),
    Bad("an id of 513 bytes", 409, "invalid_id", "$.items[1].id", _items(_SECOND % f'{{"id":"{"é" * 256}x"}}')),
    Bad("a name that is a number", 409, "wrong_type", "$.items[1].name", _items(_SECOND % '{"id":"a","name":1}')),
    Bad(
        "a name of 1,025 bytes", 409, "invalid_name", "$.items[0].name", lambda: batch({"id": "a", "name": "n" * 1025})
    ),
    Bad("fields that are an array", 409, "wrong_type", _FIRST_FIELDS, _fields("[]")),
    Bad("a nested field", 409, "nested_value", f"{_FIRST_FIELDS}.notes", _fields('{"notes":{"a":1}}')),
    Bad("a nested tag", 409, "nested_value", "$.items[0].tags.site", _items('[{"id":"a","tags":{"site":[]}}]')),
    Bad("an unknown property", 409, "unknown_property", "$.items[1].colour", _items(_SECOND % '{"id":"a","colour":1}')),
    Bad("an unknown property of the batch", 409, "unknown_property", "$.source", _text('{"source":1,"stream":"a"}')),
    Bad("U+0000 in a value", 409, "nul_character", f"{_FIRST_FIELDS}.a", _fields('{"a":"x\\u0000"}')),
    Bad("U+0000 in a name", 409, "nul_character", f'{_FIRST_FIELDS}["\\u0000"]', _fields('{"\\u0000":1}')),
    Bad("U+0000 in an id", 409, "nul_character", "$.items[1].id", _items(_SECOND % '{"id":"\\u0000"}')),
    Bad("a number of 1,001 digits", 409, "number_out_of_range", f"{_FIRST_FIELDS}.a", _fields('{"a":1e1000}')),
    Bad("a field without name", 409, "invalid_name", f'{_FIRST_FIELDS}[""]', _fields('{"":1}')),
    Bad("nesting of 10,000", 409, "nesting_too_deep", None, _fields(f'{{"a":{_nested(10_000)}}}')),
    Bad("nesting of 10,000 and nothing else", 409, "nesting_too_deep", None, _text(_nested(10_000))),
    Bad("nesting of 101", 409, "nesting_too_deep", f"{_FIRST_FIELDS}.a", _fields(f'{{"a":{_nested(101 - 4)}}}')),
]
_SIZES = [
    Bad("201 fields", 409, "too_many_fields", _FIRST_FIELDS, lambda: with_fields(201)),
    Bad(
        "201 tags", 409, "too_many_tags", "$.items[0].tags",
        lambda: batch({"id": "a", "tags": {f"tag{number}": 1 for number in range(201)}}),
    ),
    Bad(
        "a value of 5 MB + 1", 409, "value_too_large", f"{_FIRST_FIELDS}.notes",
        lambda: batch(item("a", notes="x" * (VALUE_LIMIT + 1))),
    ),
    Bad(
        "a tag of 5 MB + 1", 409, "value_too_large", "$.items[0].tags.notes",
        lambda: batch({"id": "a", "tags": {"notes": "x" * (VALUE_LIMIT + 1)}}),
    ),
    Bad("an item of 10 MB + 1", 409, "item_too_large", _FIRST_FIELDS, lambda: item_of_size(ITEM_LIMIT + 1)),
    Bad("a body of 30 MB + 1", 413, "body_too_large", None, lambda: of_size(BODY_LIMIT + 1)),
    Bad(
        "a body of 30 MB + 1 without Content-Length", 413, "body_too_large", None,
        lambda: in_chunks(of_size(BODY_LIMIT + 1)),
    ),
    Bad("gzip of 30 MB + 1", 413, "body_too_large", None, lambda: gzip.compress(of_size(BODY_LIMIT + 1), 1), GZIP),
    Bad("a gzip bomb", 413, "body_too_large", None, lambda: gzip_of_zeros(256 * MB), GZIP),
]  # fmt: skip
_HEADERS = [
    Bad("no Content-Type", 415, "unsupported_media_type", None, _text(_GOOD), {}),
    Bad("another Content-Type", 415, "unsupported_media_type", None, _text(_GOOD), {"Content-Type": "text/json"}),
    Bad("brotli", 415, "unsupported_encoding", None, _text(_GOOD), {**JSON, "Content-Encoding": "br"}),
    Bad("gzip twice", 415, "unsupported_encoding", None, _text(_GOOD), {**JSON, "Content-Encoding": "gzip, gzip"}),
]
#: All bodies that must be refused.
BAD = [*_NOT_JSON, *_SHAPES, *_SIZES, *_HEADERS]
#: Those of them that are large.
LARGE_BAD = _SIZES

#: Bodies at a limit, by what is at the limit.
LARGEST: dict[str, Callable[[], Body]] = {
    "a value of 5 MB": lambda: batch(item("value", notes="x" * VALUE_LIMIT)),
    "a value of 5 MB of which each character is escaped": lambda: (
        b'{"stream":"agents","items":[{"id":"escaped","fields":{"notes":"%b"}}]}'
        % (b"\\u0041" * (VALUE_LIMIT - 2 * MB))
    ),
    "an item of 10 MB": lambda: item_of_size(ITEM_LIMIT),
    "a body of 30 MB": lambda: of_size(BODY_LIMIT),
    "a body of 30 MB without Content-Length": lambda: in_chunks(of_size(BODY_LIMIT)),
    "200 fields": lambda: with_fields(200),
    "an id of 512 bytes": lambda: batch(item("é" * 256)),
    "a stream of 128": lambda: batch(item("a"), stream="s" * 128),
}

#: Source texts of numbers that must be stored exactly.
EXACT = ["1e400", "123456789012345678901234567890", "-0.1000000000000000000001", "1E-300", "9007199254740993"]


def example() -> dict[str, object]:
    """Return the batch of the documented example."""
    fields = {"state": "Ready", "queue": "Sales", "callsHandled": "14"}
    item_ = {"id": "agent-1001", "name": "Alice Smith", "fields": fields, "tags": {"site": "London"}}
    example: dict[str, object] = {"stream": "agents", "items": [item_]}
    return json.loads(json.dumps(example))  # type: ignore[no-any-return]

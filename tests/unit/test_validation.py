"""What is refused, with which code and path, and that what just fits passes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ingest_api.errors import ErrorCode
from shared.limits import MAX_BODY_BYTES, MB
from shared.log_levels import STORED_LEVELS, stored_level
from tests.refused import assert_refused, refusal_of
from tests.validators import validate_heartbeat, validate_items, validate_log_entries, validate_webhook


def batch(*items: str, stream: str = '"s"') -> bytes:
    return f'{{"stream":{stream},"items":[{",".join(items)}]}}'.encode()


def item(more: str = "") -> bytes:
    return batch('{"id":"a"' + (f",{more}" if more else "") + "}")


def log(more: str = "", level: str = '"info"', message: str = '"m"') -> bytes:
    entry = f'"level":{level},"message":{message}' + (f",{more}" if more else "")
    return f'{{"entries":[{{{entry}}}]}}'.encode()


def members(count: int) -> str:
    return ",".join(f'"f{number}":{number}' for number in range(count))


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


# --- The text as a whole ------------------------------------------------------------------------------------------

NOT_JSON = [
    (b"", ErrorCode.EMPTY_BODY),
    (b" \r\n\t", ErrorCode.EMPTY_BODY),
    (b"\xef\xbb\xbf{}", ErrorCode.INVALID_ENCODING),
    (b'{"\xff":1}', ErrorCode.INVALID_ENCODING),
    (b'{"a":"\xed\xa0\x80"}', ErrorCode.INVALID_ENCODING),
    (b'{"a":"\xf0\x9f\x98"}', ErrorCode.INVALID_ENCODING),
    (b'{"a":"\xc0\x80"}', ErrorCode.INVALID_ENCODING),
    (rb'{"a":"\ud800"}', ErrorCode.INVALID_ENCODING),
    (rb'{"a":"\ud800 and more text"}', ErrorCode.INVALID_ENCODING),
    (rb'{"a":"\ud800\ud800"}', ErrorCode.INVALID_ENCODING),
    (rb'{"a":"\udc00"}', ErrorCode.INVALID_ENCODING),
    (rb'{"\uDFFF":"a"}', ErrorCode.INVALID_ENCODING),
    (rb'{"a":"\ud83d\ude00"', ErrorCode.INVALID_JSON),
    ('{"a":1}'.encode("utf-16"), ErrorCode.INVALID_ENCODING),
    ('{"a":1}'.encode("utf-16-le"), ErrorCode.INVALID_JSON),
    (b'{"a":"\x00"}', ErrorCode.INVALID_JSON),
    (b'{"a":"\n"}', ErrorCode.INVALID_JSON),
    (b"{'a':1}", ErrorCode.INVALID_JSON),
    (b'{"a":1,}', ErrorCode.INVALID_JSON),
    (b'{"a":01}', ErrorCode.INVALID_JSON),
    (b'{"a":+1}', ErrorCode.INVALID_JSON),
    (b'{"a":1.}', ErrorCode.INVALID_JSON),
    (b'{"a":.5}', ErrorCode.INVALID_JSON),
    (b'{"a":NaN}', ErrorCode.INVALID_JSON),
    (b'{"a":-Infinity}', ErrorCode.INVALID_JSON),
    (b'{"a":1}{}', ErrorCode.INVALID_JSON),
    (b'{"a":1} // comment', ErrorCode.INVALID_JSON),
    (b'{"a" 1}', ErrorCode.INVALID_JSON),
    (rb'{"a":"\x41"}', ErrorCode.INVALID_JSON),
    (rb'{"a":"\u12"}', ErrorCode.INVALID_JSON),
    (b'{"a":"', ErrorCode.INVALID_JSON),
    (b"tru", ErrorCode.INVALID_JSON),
    # The text comes first, whatever else is wrong.
    (b'{"unknown":1,"items":[}', ErrorCode.INVALID_JSON),
]


@pytest.mark.parametrize(("body", "code"), NOT_JSON)
@pytest.mark.parametrize("judge", [validate_items, validate_log_entries, validate_heartbeat, validate_webhook])
def test_what_is_not_json_is_refused_by_every_route(judge: Callable[..., object], body: bytes, code: ErrorCode) -> None:
    if judge is validate_heartbeat and code is ErrorCode.EMPTY_BODY:
        judge(body)
        return
    assert_refused(judge, body, code, None, *(["id"] if judge is validate_webhook else []))


@pytest.mark.parametrize("levels", [2_000, 10_000, 10_000_000])
@pytest.mark.parametrize("closed", [True, False])
def test_the_deepest_nesting_is_refused_at_once(*, levels: int, closed: bool) -> None:
    body = b"[" * levels + b"]" * levels * closed
    assert refusal_of(validate_items, body).code is ErrorCode.NESTING_TOO_DEEP


# --- Batches --------------------------------------------------------------------------------------------------------

FIELD = "$.items[0].fields"
BAD_BATCHES = [
    (b"[]", ErrorCode.WRONG_TYPE, "$"),
    (b"null", ErrorCode.WRONG_TYPE, "$"),
    (nested(101).encode(), ErrorCode.NESTING_TOO_DEEP, "$"),
    (b"{}", ErrorCode.MISSING_PROPERTY, "$.stream"),
    (b'{"stream":"s"}', ErrorCode.MISSING_PROPERTY, "$.items"),
    (b'{"items":[]}', ErrorCode.MISSING_PROPERTY, "$.stream"),
    (b'{"stream":"s","items":[],"x":1}', ErrorCode.UNKNOWN_PROPERTY, "$.x"),
    (b'{"stream":"s","items":[],"a b":1}', ErrorCode.UNKNOWN_PROPERTY, '$["a b"]'),
    (b'{"stream":"s","items":{}}', ErrorCode.WRONG_TYPE, "$.items"),
    (b'{"stream":"s","items":null}', ErrorCode.WRONG_TYPE, "$.items"),
    (b'{"stream":"s","items":[{}],"items":[]}', ErrorCode.MISSING_PROPERTY, "$.items[0].id"),
    (batch(stream="1"), ErrorCode.WRONG_TYPE, "$.stream"),
    (batch(stream='""'), ErrorCode.INVALID_STREAM, "$.stream"),
    (batch(stream='"a b"'), ErrorCode.INVALID_STREAM, "$.stream"),
    (batch(stream='"a\\n"'), ErrorCode.INVALID_STREAM, "$.stream"),
    (batch(stream='"é"'), ErrorCode.INVALID_STREAM, "$.stream"),
    (batch(stream=json.dumps("a" * 129)), ErrorCode.INVALID_STREAM, "$.stream"),
    (batch(stream=json.dumps("a" * 900_000)), ErrorCode.INVALID_STREAM, "$.stream"),
    (batch(stream='"\\u0000"'), ErrorCode.NUL_CHARACTER, "$.stream"),
    (batch("1"), ErrorCode.WRONG_TYPE, "$.items[0]"),
    (batch('{"id":"a"}', "{}"), ErrorCode.MISSING_PROPERTY, "$.items[1].id"),
    (batch('{"id":1}'), ErrorCode.WRONG_TYPE, "$.items[0].id"),
    (batch('{"id":null}'), ErrorCode.WRONG_TYPE, "$.items[0].id"),
    (batch('{"id":""}'), ErrorCode.INVALID_ID, "$.items[0].id"),
    (batch(f'{{"id":"{"a" * 513}"}}'), ErrorCode.INVALID_ID, "$.items[0].id"),
    (batch(f'{{"id":"{"é" * 256}a"}}'), ErrorCode.INVALID_ID, "$.items[0].id"),
    (batch('{"id":"\\u0000"}'), ErrorCode.NUL_CHARACTER, "$.items[0].id"),
    (batch('{"id":"","id":"a"}'), ErrorCode.INVALID_ID, "$.items[0].id"),
    (item('"colour":1'), ErrorCode.UNKNOWN_PROPERTY, "$.items[0].colour"),
    (item('"co\\u0000":1'), ErrorCode.NUL_CHARACTER, '$.items[0]["co\\u0000"]'),
    (item('"name":1'), ErrorCode.WRONG_TYPE, "$.items[0].name"),
    (item(f'"name":"{"a" * 1025}"'), ErrorCode.INVALID_NAME, "$.items[0].name"),
    (item(f'"name":"{"😀" * 256}a"'), ErrorCode.INVALID_NAME, "$.items[0].name"),
    (item('"fields":null'), ErrorCode.WRONG_TYPE, "$.items[0].fields"),
    (item('"tags":[]'), ErrorCode.WRONG_TYPE, "$.items[0].tags"),
    (item('"fields":{"a":{}}'), ErrorCode.NESTED_VALUE, f"{FIELD}.a"),
    (item('"fields":{"a":[1],"a":1}'), ErrorCode.NESTED_VALUE, f"{FIELD}.a"),
    (item('"tags":{"a b":[]}'), ErrorCode.NESTED_VALUE, '$.items[0].tags["a b"]'),
    (item(f'"fields":{{"a":{nested(96)}}}'), ErrorCode.NESTED_VALUE, f"{FIELD}.a"),
    (item(f'"fields":{{"a":{nested(97)}}}'), ErrorCode.NESTING_TOO_DEEP, f"{FIELD}.a"),
    (item('"fields":{"":1}'), ErrorCode.INVALID_NAME, f'{FIELD}[""]'),
    (item(f'"fields":{{"{"a" * 257}":1}}'), ErrorCode.INVALID_NAME, f'{FIELD}["{"a" * 64}\\u2026"]'),
    (item(f'"fields":{{"{"a" * 100_000}":1}}'), ErrorCode.INVALID_NAME, f'{FIELD}["(overlong)"]'),
    (item('"fields":{"a":"x\\u0000"}'), ErrorCode.NUL_CHARACTER, f"{FIELD}.a"),
    (item('"fields":{"a":"\\\\\\u0000"}'), ErrorCode.NUL_CHARACTER, f"{FIELD}.a"),
    (item('"fields":{"a":"\\u0000","a":1}'), ErrorCode.NUL_CHARACTER, f"{FIELD}.a"),
    (item(f'"fields":{{"a":{"9" * 1001}}}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{FIELD}.a"),
    (item(f'"fields":{{"a":{"9" * 5000}}}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{FIELD}.a"),
    (item(f'"fields":{{"a":{"9" * 1001},"a":1}}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{FIELD}.a"),
    (item('"fields":{"a":1e1000,"a":1}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{FIELD}.a"),
    (item('"fields":{"a":1E-1000}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{FIELD}.a"),
    (item(f'"fields":{{"a":0.{"0" * 999}1}}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{FIELD}.a"),
    (item(f'"fields":{{{members(201)}}}'), ErrorCode.TOO_MANY_FIELDS, FIELD),
    (item(f'"fields":{{{members(200)},"f0":1}}'), ErrorCode.TOO_MANY_FIELDS, FIELD),
    (item(f'"tags":{{{members(201)}}}'), ErrorCode.TOO_MANY_TAGS, "$.items[0].tags"),
    (item('"fields":{"":1e9999}'), ErrorCode.INVALID_NAME, f'{FIELD}[""]'),
]


@pytest.mark.parametrize(("body", "code", "path"), BAD_BATCHES)
def test_a_bad_batch_is_refused_where_it_is_bad(body: bytes, code: ErrorCode, path: str) -> None:
    assert_refused(validate_items, body, code, path)


GOOD_BATCHES = [
    (batch(), 0),
    (batch(stream=json.dumps("Aa0._:-" + "x" * 121)), 0),
    (batch('{"id":"a"}', '{"id":"a"}'), 2),
    (b'{"items":[{"id":"a"},{"id":"b"}],"stream":"s","items":[{"id":"c"}]}', 1),
    (b' {\n"stream" : "s" ,\t"items" : [ { "id" : "a" } , { "id" : "b" } ] } ', 2),
    (batch(f'{{"id":"{"a" * 512}"}}'), 1),
    (batch(f'{{"id":"{"é" * 256}"}}'), 1),
    (batch('{"id":"\\u00e9' + "a" * 510 + '"}'), 1),
    (item('"name":null,"fields":{},"tags":{}'), 1),
    (item(f'"name":"{"a" * 1024}"'), 1),
    (item('"name":""'), 1),
    (item(f'"fields":{{"{"a" * 256}":1}}'), 1),
    (item(f'"fields":{{"{"😀" * 64}":1}}'), 1),
    (item(f'"fields":{{{members(200)}}},"tags":{{{members(200)}}}'), 1),
    (item('"fields":{"a":"{[}]","b":true,"c":null,"d":-0,"e":1.50,"f":1e400,"g":false}'), 1),
    (item('"fields":{"a":"\\\\u0000"}'), 1),
    (item(f'"fields":{{"a":{"9" * 1000},"b":1e999,"c":1e-999,"d":0.{"0" * 998}1}}'), 1),
]


@pytest.mark.parametrize(("body", "count"), GOOD_BATCHES)
def test_what_just_fits_is_counted(body: bytes, count: int) -> None:
    assert validate_items(body) == count


def test_a_refusal_says_the_limit_and_what_was_seen() -> None:
    refusal = refusal_of(validate_items, item(f'"fields":{{{members(250)}}}'))
    assert (refusal.limit, refusal.observed) == (200, 201)
    refusal = refusal_of(validate_items, batch(f'{{"id":"{"é" * 300}"}}'))
    assert (refusal.limit, refusal.observed) == (512, 600)
    assert "512 bytes" in refusal.message


@pytest.mark.parametrize("unit", ["x", "\\u00e9", "😀", "\\n"])
def test_a_value_is_measured_decoded(unit: str) -> None:
    size = len(json.loads(f'"{unit}"').encode())
    value = unit * (5 * MB // size)
    padding = "y" * (5 * MB % size)
    if len(value.encode()) > MAX_BODY_BYTES - 1000:
        pytest.skip("such a value doesn't fit into a body")
    assert validate_items(item(f'"fields":{{"a":"{value}{padding}"}}')) == 1
    refusal = refusal_of(validate_items, item(f'"fields":{{"a":"{value}{padding}z"}}'))
    assert (refusal.code, refusal.limit, refusal.observed) == (ErrorCode.VALUE_TOO_LARGE, 5 * MB, 5 * MB + 1)


@pytest.mark.parametrize(
    ("stream", "observed"),
    [("a" * 129, 129), ("a" * 5_000, 5_000), (r"\ud83d\ude00" * 100, None), ("é" * 90_000, 90_000)],
)
def test_a_stream_is_measured_in_characters(stream: str, observed: int | None) -> None:
    refusal = refusal_of(validate_items, f'{{"stream":"{stream}","items":[]}}'.encode())
    assert (refusal.code, refusal.observed) == (ErrorCode.INVALID_STREAM, observed)


def test_an_item_is_measured_whole() -> None:
    half = "x" * (5 * MB - 2)
    exactly = f'"a":"{half}","b":"{half}","c":1234'
    assert validate_items(item(f'"fields":{{{exactly}}}')) == 1
    assert validate_items(item(f'"fields":{{{exactly}}},"tags":{{"t":"{half}"}}')) == 1
    refusal = refusal_of(validate_items, item(f'"fields":{{{exactly},"d":1}}'))
    assert (refusal.code, refusal.path, refusal.observed) == (ErrorCode.ITEM_TOO_LARGE, FIELD, 10 * MB + 1)


# --- Log entries ------------------------------------------------------------------------------------------------------

ENTRY = "$.entries[0]"
A_TIMESTAMP, NO_TIMESTAMP = '"timestamp":"2026-04-09T11:08:00Z"', '"timestamp":"no"'
BAD_LOGS = [
    (b"{}", ErrorCode.MISSING_PROPERTY, "$.entries"),
    (b'{"entries":[],"stream":"s"}', ErrorCode.UNKNOWN_PROPERTY, "$.stream"),
    (b'{"entries":[{"message":"m"}]}', ErrorCode.MISSING_PROPERTY, f"{ENTRY}.level"),
    (b'{"entries":[{"level":"info"}]}', ErrorCode.MISSING_PROPERTY, f"{ENTRY}.message"),
    (log(level="1"), ErrorCode.WRONG_TYPE, f"{ENTRY}.level"),
    (log(level='"notice"'), ErrorCode.INVALID_LEVEL, f"{ENTRY}.level"),
    (log(level='"info\\n"'), ErrorCode.INVALID_LEVEL, f"{ENTRY}.level"),
    (log(level='"\u0131nfo"'), ErrorCode.INVALID_LEVEL, f"{ENTRY}.level"),
    (log(level=json.dumps("a" * 10_000)), ErrorCode.INVALID_LEVEL, f"{ENTRY}.level"),
    (log(message="null"), ErrorCode.WRONG_TYPE, f"{ENTRY}.message"),
    (log(message='"\\u0000"'), ErrorCode.NUL_CHARACTER, f"{ENTRY}.message"),
    (log('"timestamp":null'), ErrorCode.WRONG_TYPE, f"{ENTRY}.timestamp"),
    (log('"timestamp":"2026-04-09"'), ErrorCode.INVALID_TIMESTAMP, f"{ENTRY}.timestamp"),
    (log(f"{A_TIMESTAMP},{NO_TIMESTAMP}"), ErrorCode.INVALID_TIMESTAMP, f"{ENTRY}.timestamp"),
    (log(f"{f'{A_TIMESTAMP},' * 20}{NO_TIMESTAMP}"), ErrorCode.INVALID_TIMESTAMP, f"{ENTRY}.timestamp"),
    (log(f'"timestamp":1,{A_TIMESTAMP}'), ErrorCode.WRONG_TYPE, f"{ENTRY}.timestamp"),
    (log(f'{NO_TIMESTAMP},"context":[]'), ErrorCode.INVALID_TIMESTAMP, f"{ENTRY}.timestamp"),
    (log(f'{NO_TIMESTAMP},"contexts":{{}}'), ErrorCode.INVALID_TIMESTAMP, f"{ENTRY}.timestamp"),
    (log(f'{NO_TIMESTAMP},"context":[],{A_TIMESTAMP}'), ErrorCode.WRONG_TYPE, f"{ENTRY}.context"),
    (log(f'{NO_TIMESTAMP},"timestamp":1,{A_TIMESTAMP}'), ErrorCode.WRONG_TYPE, f"{ENTRY}.timestamp"),
    (log(f'{NO_TIMESTAMP},"timestamp":"\\u0000"'), ErrorCode.NUL_CHARACTER, f"{ENTRY}.timestamp"),
    (log(f'{f"{NO_TIMESTAMP}," * 12}"foo":1,{A_TIMESTAMP}'), ErrorCode.UNKNOWN_PROPERTY, f"{ENTRY}.foo"),
    (log('"context":{"a":[]}'), ErrorCode.NESTED_VALUE, f"{ENTRY}.context.a"),
    (log('"context":{"a":1e9999}'), ErrorCode.NUMBER_OUT_OF_RANGE, f"{ENTRY}.context.a"),
    (log(f'"context":{{{members(201)}}}'), ErrorCode.TOO_MANY_FIELDS, f"{ENTRY}.context"),
    (log('"contexts":{}'), ErrorCode.UNKNOWN_PROPERTY, f"{ENTRY}.contexts"),
    (log(message=json.dumps("a" * (5 * MB + 1))), ErrorCode.VALUE_TOO_LARGE, f"{ENTRY}.message"),
]


@pytest.mark.parametrize(("body", "code", "path"), BAD_LOGS)
def test_a_bad_log_is_refused_where_it_is_bad(body: bytes, code: ErrorCode, path: str) -> None:
    assert_refused(validate_log_entries, body, code, path)


def test_logs_are_counted() -> None:
    assert validate_log_entries(b'{"entries":[]}') == 0
    assert validate_log_entries(log('"timestamp":"2026-04-09T11:08:00Z","context":{"rows":"52"}')) == 1
    assert validate_log_entries(log(message=json.dumps("a" * 5 * MB))) == 1
    entries = ",".join(['{"level":"info","message":"Poll completed","context":{"rows":"52"}}'] * 10_000)
    assert validate_log_entries(f'{{"entries":[{entries}]}}'.encode()) == 10_000
    assert validate_log_entries(log(f'"context":{{{members(200)}}}')) == 1


@pytest.mark.parametrize("shadowed", [1, 12, 40])
def test_a_timestamp_in_whose_place_a_later_one_comes_need_not_be_one(shadowed: int) -> None:
    assert validate_log_entries(log(f"{NO_TIMESTAMP}," * shadowed + A_TIMESTAMP)) == 1


@pytest.mark.parametrize("level", [*STORED_LEVELS, "INFO", "Warning", "cRiTiCaL"])
def test_levels_are_taken_in_any_case(level: str) -> None:
    assert validate_log_entries(log(level=json.dumps(level))) == 1
    assert stored_level(level) in ("trace", "debug", "info", "warn", "error", "fatal")

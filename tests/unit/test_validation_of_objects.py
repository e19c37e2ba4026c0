"""Heartbeats, webhooks and stream names: what is refused, with which code and path, and that what just fits passes."""

from __future__ import annotations

import pytest

from ingest_api.errors import ErrorCode
from shared.limits import MB
from tests.refused import assert_refused, refusal_of
from tests.validators import validate_heartbeat, validate_stream, validate_webhook


def members(count: int) -> str:
    return ",".join(f'"f{number}":{number}' for number in range(count))


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"{}", b' {"a":[{"b":"x"}],"items":1} ', f'{{"a":{nested(99)}}}'.encode()]
)
def test_a_heartbeat_is_any_object(body: bytes) -> None:
    validate_heartbeat(body)


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"[]", ErrorCode.WRONG_TYPE, "$"),
        (b"1", ErrorCode.WRONG_TYPE, "$"),
        (b'{"a":' + nested(100).encode() + b"}", ErrorCode.NESTING_TOO_DEEP, "$"),
        (rb'{"a":[1,{"b c":["x","\u0000"]}]}', ErrorCode.NUL_CHARACTER, '$.a[1]["b c"][1]'),
        (rb'{"a":[1,{"x":"[,{","b\u0000":[]}]}', ErrorCode.NUL_CHARACTER, '$.a[1]["b\\u0000"]'),
        (b'{"a":["1e9999",{"b":[0,1e9999]}]}', ErrorCode.NUMBER_OUT_OF_RANGE, "$.a[1].b[1]"),
    ],
)
def test_a_bad_heartbeat_is_refused(body: bytes, code: ErrorCode, path: str) -> None:
    assert_refused(validate_heartbeat, body, code, path)


@pytest.mark.parametrize(
    ("body", "id_field"),
    [
        (b'{"id":"a"}', "id"),
        (b'{"id":1.50}', "id"),
        (b'{"id":false,"name":1}', "id"),
        (b'{"name":"a","n":{"x":[1, 2.0]}}', "name"),
        (b'{"\\u0069d":"a"}', "id"),
        ('{"ключ":"a"}'.encode(), "ключ"),
        (b'{"id":"' + b"a" * 512 + b'","name":"' + b"b" * 1024 + b'"}', "id"),
        (f'{{"id":"a",{members(199)}}}'.encode(), "id"),
        (f'{{"id":"a","n":{nested(99)}}}'.encode(), "id"),
        (b'{"id":"a","n":["' + b"x" * (5 * MB - 4) + b'"]}', "id"),
        (b'{"id":"a","n":{"b":["\\u0000",1e1000]}}', "id"),
    ],
)
def test_a_webhook_that_just_fits_passes(body: bytes, id_field: str) -> None:
    validate_webhook(body, id_field)


HALF_ITEM = b'["' + b"x" * (5 * MB - 4) + b'"]'


@pytest.mark.parametrize(
    ("body", "id_field", "code", "path"),
    [
        (b"[]", "id", ErrorCode.WRONG_TYPE, "$"),
        (b"{}", "id", ErrorCode.MISSING_PROPERTY, "$.id"),
        (b'{"id":1}', "key", ErrorCode.MISSING_PROPERTY, "$.key"),
        (b'{"id":1}', "", ErrorCode.MISSING_PROPERTY, '$[""]'),
        (b'{"id":1}', "a\udc80", ErrorCode.MISSING_PROPERTY, '$["a?"]'),
        (b'{"id":null}', "id", ErrorCode.INVALID_ID, "$.id"),
        (b'{"id":[]}', "id", ErrorCode.INVALID_ID, "$.id"),
        (b'{"id":""}', "id", ErrorCode.INVALID_ID, "$.id"),
        (b'{"id":"' + b"a" * 513 + b'"}', "id", ErrorCode.INVALID_ID, "$.id"),
        (b'{"id":' + b"1" * 513 + b"}", "id", ErrorCode.INVALID_ID, "$.id"),
        (b'{"id":"a","name":"' + b"b" * 1025 + b'"}', "id", ErrorCode.INVALID_NAME, "$.name"),
        (b'{"id":"a","":1}', "id", ErrorCode.INVALID_NAME, '$[""]'),
        (b'{"id":"a","n":"\\u0000"}', "id", ErrorCode.NUL_CHARACTER, "$.n"),
        (b'{"id":"a","n":1e1000}', "id", ErrorCode.NUMBER_OUT_OF_RANGE, "$.n"),
        (f'{{"id":"a","n":{nested(100)}}}'.encode(), "id", ErrorCode.NESTING_TOO_DEEP, "$.n"),
        (f'{{"id":"a",{members(200)}}}'.encode(), "id", ErrorCode.TOO_MANY_FIELDS, "$"),
        (b'{"id":"a","n":[ "' + b"x" * (5 * MB - 4) + b'"]}', "id", ErrorCode.VALUE_TOO_LARGE, "$.n"),
        (b'{"id":"a","n":%b,"m":%b}' % (HALF_ITEM, HALF_ITEM), "id", ErrorCode.ITEM_TOO_LARGE, "$"),
    ],
)
def test_a_bad_webhook_is_refused(body: bytes, id_field: str, code: ErrorCode, path: str) -> None:
    assert_refused(validate_webhook, body, code, path, id_field)


def test_streams_in_a_path() -> None:
    validate_stream("Aa0._:-")
    validate_stream("a" * 128)
    for stream in ("", "a/b", "a\n", "é", "a" * 129):
        assert refusal_of(validate_stream, stream).code is ErrorCode.INVALID_STREAM

"""`POST /api/webhook/{stream}` makes one item of any JSON object, and keeps the exact text of nested values."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.client import GZIP, JSON, MB, Connector, assert_accepted, assert_refused
from tests.support.processes import wait_until
from tests.support.stack import Stack

_FIELDS_LIMIT, _VALUE_LIMIT = 200, 5 * MB


@pytest.fixture(scope="module")
def sender(stack: Stack) -> Connector:
    """A connector of this file."""
    return stack.connector("sends webhooks")


def stored(stack: Stack, connector: Connector, item_id: str, stream: str) -> dict[str, Any]:
    """Wait for an item and return it, with its numbers as text, so that none is rounded."""

    def look() -> list[dict[str, Any]]:
        query = (
            "SELECT id, name, fields::text AS fields, tags FROM items WHERE (connector_id, stream, id) = (%s, %s, %s)"
        )
        return stack.rows(query, connector.id, stream, item_id)

    row = wait_until(f"item {item_id!r} is stored", look)[0]
    return {**row, "fields": json.loads(row["fields"], parse_int=str, parse_float=str)}


def test_nested_values_are_kept_byte_for_byte(stack: Stack, sender: Connector) -> None:
    body = b'{"id": 7, "a": {"n": 12345678901234567890123, "x": 1.10}, "b": [ 1,2 ]}'

    assert_accepted(sender.post(body, path="/api/webhook/exact"))

    assert stored(stack, sender, "7", "exact") == {
        "id": "7",
        "name": None,
        "fields": {"id": "7", "a": '{"n": 12345678901234567890123, "x": 1.10}', "b": "[ 1,2 ]"},
        "tags": {},
    }
    kinds = stack.value(
        "SELECT jsonb_object_agg(key, jsonb_typeof(value)) FROM items, jsonb_each(fields) "
        "WHERE connector_id = %s AND stream = 'exact'",
        sender.id,
    )
    assert kinds == {"id": "number", "a": "string", "b": "string"}


@dataclass(frozen=True)
class Good:
    """An accepted webhook, and the stored item with its numbers as text."""

    what: str
    body: str
    id: str
    fields: dict[str, Any]
    name: str | None = None
    query: str = ""

    def __str__(self) -> str:
        return self.what


_LONG = "é" * 256
GOOD = [
    Good("primitives keep their types", '{"id":"p","s":"x","i":1,"f":1.50,"t":true,"n":null}', "p",
         {"id": "p", "s": "x", "i": "1", "f": "1.50", "t": True, "n": None}),
    Good("escapes within what is nested", r'{"id":"e","a":{"k":"\u0041\n\"\\ \ud83d\ude00"},"b":[]}', "e",
         {"id": "e", "a": r'{"k":"\u0041\n\"\\ \ud83d\ude00"}', "b": "[]"}),
    Good("white space and repeated names within what is nested", '{"id":"w","a":{\r\n\t"k" : 1 , "k":2 }}', "w",
         {"id": "w", "a": '{\r\n\t"k" : 1 , "k":2 }'}),
    Good("a name", '{"id":"n1","name":"Alice Smith"}', "n1", {"id": "n1", "name": "Alice Smith"}, "Alice Smith"),
    Good("a name that is a number", '{"id":"n2","name":7}', "n2", {"id": "n2", "name": "7"}),
    Good("a name that is nested", '{"id":"n3","name":{"first":"A"}}', "n3", {"id": "n3", "name": '{"first":"A"}'}),
    Good("a name that is null", '{"id":"n4","name":null}', "n4", {"id": "n4", "name": None}),
    Good("an id that is a number with its own spelling", '{"id":1.10}', "1.10", {"id": "1.10"}),
    Good("an id that is a long number", '{"id":12345678901234567890123}', "12345678901234567890123",
         {"id": "12345678901234567890123"}),
    Good("an id that is true", '{"id":true}', "true", {"id": True}),
    Good("an id that is false", '{"id":false}', "false", {"id": False}),
    Good("an id with escapes", r'{"id":"caf\u00e9 \"1\""}', 'café "1"', {"id": 'café "1"'}),
    Good("an id of 512 bytes", f'{{"id":"{_LONG}"}}', _LONG, {"id": _LONG}),
    Good("an id given twice: the last counts", '{"id":"i1","id":"i2"}', "i2", {"id": "i2"}),
    Good("another idField", '{"key":"k1","id":"no"}', "k1", {"key": "k1", "id": "no"}, query="?idField=key"),
    Good("an idField with a space and a letter", '{"ticket né":5}', "5", {"ticket né": "5"},
         query="?idField=ticket%20n%C3%A9"),
    Good("a pointer", '{"data":{"object":{"id":1.50}}}', "1.50", {"data": '{"object":{"id":1.50}}'},
         query="?idField=/data/object/id"),
    Good("a pointer into an array", '{"a~":[{"k/":"x9"}]}', "x9", {"a~": '[{"k/":"x9"}]'},
         query="?idField=%2Fa~0%2F0%2Fk~1"),
    Good("an idField that is the name", '{"name":"n5"}', "n5", {"name": "n5"}, "n5", query="?idField=name"),
    Good("an idField given twice: the last counts", '{"a":"x1","b":"x2"}', "x2", {"a": "x1", "b": "x2"},
         query="?idField=a&idField=b"),
    Good("200 members", json.dumps({"id": "m", **{f"f{n}": n for n in range(199)}}), "m",
         {"id": "m", **{f"f{n}": str(n) for n in range(199)}}),
]  # fmt: skip


def test_members_become_fields_and_one_of_them_the_id(stack: Stack, sender: Connector) -> None:
    with sender.connection() as connection:
        for good in GOOD:
            answer = connection.post(f"/api/webhook/good{good.query}", content=good.body.encode(), headers=JSON)
            assert answer.status_code == 202, (good.what, answer.text)
            assert_accepted(answer)

    for good in GOOD:
        assert stored(stack, sender, good.id, "good") == {
            "id": good.id,
            "name": good.name,
            "fields": good.fields,
            "tags": {},
        }, good.what


@pytest.mark.parametrize("stream", ["a", "A-Z.a_z:0-9", "s" * 128])
def test_stream_is_taken_from_the_path(stack: Stack, sender: Connector, stream: str) -> None:
    body = b'{"id":"in its stream"}'

    for path in (f"/api/webhook/{stream}", f"/datapool/api/webhook/{stream}"):
        assert_accepted(sender.post(gzip.compress(body), path=path, headers=GZIP))

    assert stored(stack, sender, "in its stream", stream)["fields"] == {"id": "in its stream"}


def test_webhook_replaces_an_item_of_a_batch(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    connector.send({"id": "7", "name": "before", "fields": {"old": 1}, "tags": {"site": "London"}}, stream="mixed")

    assert_accepted(connector.post(b'{"id":7,"new":2}', path="/api/webhook/mixed"))

    stack.lanes_are_empty()
    assert stored(stack, connector, "7", "mixed") == {
        "id": "7", "name": None, "fields": {"id": "7", "new": "2"}, "tags": {},
    }  # fmt: skip


@dataclass(frozen=True)
class Bad:
    """A webhook that is refused."""

    what: str
    body: Callable[[], bytes | str] | str
    status: int
    code: str
    path: str | None = None
    to: str = "/api/webhook/bad"

    def __str__(self) -> str:
        return self.what


def _nested(levels: int) -> str:
    return '{"id":1,"a":' + "[" * levels + "]" * levels + "}"


BAD = [
    Bad("an array", "[]", 409, "wrong_type", "$"),
    Bad("a string", '"id"', 409, "wrong_type", "$"),
    Bad("null", "null", 409, "wrong_type", "$"),
    Bad("nothing", "", 400, "empty_body"),
    Bad("no JSON", "id=7", 400, "invalid_json"),
    Bad("no JSON within what is nested", '{"id":7,"a":{"b":01}}', 400, "invalid_json"),
    Bad("two objects", '{"id":7}{"id":8}', 400, "invalid_json"),
    Bad("no id", '{"ID":7}', 409, "missing_property", "$.id"),
    Bad("no member of idField", '{"id":7}', 409, "missing_property", "$.key", "/api/webhook/bad?idField=key"),
    Bad("an empty idField", '{"id":7}', 409, "missing_property", '$[""]', "/api/webhook/bad?idField="),
    Bad("an id that is null", '{"id":null}', 409, "invalid_id", "$.id"),
    Bad("an id that is empty", '{"id":""}', 409, "invalid_id", "$.id"),
    Bad("an id that is an object", '{"id":{"a":1}}', 409, "invalid_id", "$.id"),
    Bad("an id that is an array", '{"id":[7]}', 409, "invalid_id", "$.id"),
    Bad("an id of 513 bytes", f'{{"id":"{_LONG}x"}}', 409, "invalid_id", "$.id"),
    Bad("an id of 513 digits", f'{{"id":{"7" * 513}}}', 409, "invalid_id", "$.id"),
    Bad("a pointer to nothing", '{"id":7,"a":{"id":1},"a":{}}', 409, "missing_property", "$.a.id",
        "/api/webhook/bad?idField=/a/id"),
    Bad("a malformed pointer", '{"id":7}', 409, "invalid_parameter", "idField", "/api/webhook/bad?idField=/~2"),
    Bad("a nested id of idField", '{"id":7,"a":{}}', 409, "invalid_id", "$.a", "/api/webhook/bad?idField=a"),
    Bad("a name of 1,025 bytes", f'{{"id":7,"name":"{"n" * 1025}"}}', 409, "invalid_name", "$.name"),
    Bad("a member without name", '{"id":7,"":1}', 409, "invalid_name", '$[""]'),
    Bad("201 members", json.dumps({"id": 7, **dict.fromkeys(map(str, range(_FIELDS_LIMIT)))}), 409, "too_many_fields",
        "$"),
    Bad("U+0000", r'{"id":7,"a":"\u0000"}', 409, "nul_character", "$.a"),
    Bad("U+0000 in a member's name", r'{"id":7,"\u0000":1}', 409, "nul_character", r'$["\u0000"]'),
    Bad("a number of 1,001 digits", '{"id":7,"a":1e1000}', 409, "number_out_of_range", "$.a"),
    Bad("half of a surrogate pair", r'{"id":7,"a":"\ud800"}', 400, "invalid_encoding"),
    Bad("nesting of 101", _nested(100), 409, "nesting_too_deep", "$.a"),
    Bad("a value of 5 MB + 1", lambda: f'{{"id":7,"a":"{"x" * (_VALUE_LIMIT + 1)}"}}', 409, "value_too_large", "$.a"),
    Bad("a nested value of 5 MB + 1", lambda: f'{{"id":7,"a":["{"x" * (_VALUE_LIMIT - 3)}"]}}', 409,
        "value_too_large", "$.a"),
    Bad("values of 10 MB + 1", lambda: json.dumps({"id": 7, "a": "x" * _VALUE_LIMIT, "b": "x" * _VALUE_LIMIT}), 409,
        "item_too_large", "$"),
    Bad("a stream with a space", '{"id":7}', 409, "invalid_stream", to="/api/webhook/a%20b"),
    Bad("a stream of another alphabet", '{"id":7}', 409, "invalid_stream", to="/api/webhook/%C3%A9"),
    Bad("a stream of 129", '{"id":7}', 409, "invalid_stream", to=f"/api/webhook/{'s' * 129}"),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_webhook_is_refused(stack: Stack, careless: Connector, bad: Bad) -> None:
    body = bad.body if isinstance(bad.body, str) else bad.body()

    answer = careless.post(body, path=bad.to)

    assert_refused(answer, bad.status, bad.code, bad.path)
    assert stack.count("receipts", careless) == 0


@pytest.fixture(scope="module")
def careless(stack: Stack) -> Connector:
    """A connector that sends only bad webhooks."""
    return stack.connector("sends bad webhooks")


def test_nesting_of_100_is_kept(stack: Stack, sender: Connector) -> None:
    levels = 99
    body = _nested(levels).replace('"id":1', '"id":"deep"')

    assert_accepted(sender.post(body, path="/api/webhook/deep"))

    assert stored(stack, sender, "deep", "deep")["fields"]["a"] == "[" * levels + "]" * levels


def test_answer_reports_one_item(sender: Connector) -> None:
    answer: httpx.Response = sender.post(b'{"id":1}', path="/api/webhook/counted?idField=id")

    assert_accepted(answer, items=1)

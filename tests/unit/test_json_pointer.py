"""`idField` as a JSON Pointer: the API and the worker find the same id, or the API refuses."""

from __future__ import annotations

import json
import time
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.errors import ErrorCode
from shared import json_pointer
from shared.entry import Entry, Meta
from shared.limits import MB
from tests.refused import assert_refused, refusal_of
from tests.validators import validate_webhook
from workers.decoding import pieces_of


def stored_id(body: bytes, id_field: str) -> str:
    validate_webhook(body, id_field)
    (piece,) = pieces_of(Entry("1-0", 1, Meta("webhook", "s", id_field), 1, body))
    found: str = piece.elements[0].id
    return found


FOUND = [
    ("/id", '{"id":"a"}', "a"),
    ("/data/object/id", '{"data":{"object":{"id":"a"}}}', "a"),
    ("/a/id", '{ "a" : { "x" : [ {"id":1} ] , "id" : 1.50  } }', "1.50"),
    ("/a/id", '{"a":{"id":true}}', "true"),
    ("/a/id", '{"a":{"id":null,"id":"x","b":{"id":"no"}}}', "x"),
    ("/a/id", '{"a":1,"a":{"id":"x"}}', "x"),
    ("/a/id", '{"\\u0061":{"\\u0069d":"\\u00e9"}}', "é"),
    ("/a~1b/~0", '{"a/b":{"~":"x"}}', "x"),
    ("/~01/id", '{"~1":{"id":"x"}}', "x"),
    ("/a/", '{"a":{"":"x"}}', "x"),
    ("/é 😀/b c", '{"é 😀":{"b c":"x"}}', "x"),
    ("/value/0/id", '{"value":[{"id":"x"},{"id":"y"}]}', "x"),
    ("/value/99", f'{{"value":{list(range(101))}}}', "99"),
    ("/a/0", '{"a":{"0":"x"}}', "x"),
    ("a/b", '{"a/b":"x"}', "x"),
    ("~2", '{"~2":"x"}', "x"),
]


@pytest.mark.parametrize(("id_field", "body", "item_id"), FOUND)
def test_it_finds_the_id(id_field: str, body: str, item_id: str) -> None:
    assert stored_id(body.encode(), id_field) == item_id


REFUSED = [
    ("/data/id", '{"id":"a"}', ErrorCode.MISSING_PROPERTY, "$.data"),
    ("/data/id", '{"data":{"ID":1}}', ErrorCode.MISSING_PROPERTY, "$.data.id"),
    ("/data/id", '{"data":{"id":1},"data":{}}', ErrorCode.MISSING_PROPERTY, "$.data.id"),
    ("/data/id", '{"data":"id"}', ErrorCode.MISSING_PROPERTY, "$.data.id"),
    ("/data/0/id", '{"data":[{}]}', ErrorCode.MISSING_PROPERTY, "$.data[0].id"),
    *[(f"/data/{index}", '{"data":["a"]}', ErrorCode.MISSING_PROPERTY, path)
      for index, path in (("1", "$.data[1]"), ("00", "$.data[00]"), ("-", '$.data["-"]'), ("100", "$.data[100]"),
                          ("٣", r'$.data["\u0663"]'))],
    ("/data/id", '{"data":{"id":null}}', ErrorCode.INVALID_ID, "$.data.id"),
    ("/data/id", '{"data":{"id":""}}', ErrorCode.INVALID_ID, "$.data.id"),
    ("/data/id", '{"data":{"id":{}}}', ErrorCode.INVALID_ID, "$.data.id"),
    ("/data/id", f'{{"data":{{"id":"{"é" * 257}"}}}}', ErrorCode.INVALID_ID, "$.data.id"),
    ("/data/id", '{"data":{"id":"\\u0000"}}', ErrorCode.NUL_CHARACTER, "$.data.id"),
    *[(bad, '{"id":1}', ErrorCode.INVALID_PARAMETER, "idField")
      for bad in ("/~2", "/a/~", "/~a", '/a"', "/a\\", "/a\0", "/a\n", "/a" * 9, "/" + "é" * 128, "/a/\udc80")],
]  # fmt: skip


@pytest.mark.parametrize(("id_field", "body", "code", "path"), REFUSED)
def test_it_is_refused_where_it_is_wrong(id_field: str, body: str, code: ErrorCode, path: str) -> None:
    assert_refused(validate_webhook, body.encode(), code, path, id_field)


def test_a_malformed_pointer_names_the_parameter() -> None:
    assert "`idField`" in refusal_of(validate_webhook, b'{"id":1}', "/~2").message


NAMES = st.sampled_from(["a", "id", "0", "1", "", "~", "/", "é", "a b"])
NAME_LISTS = st.lists(NAMES, min_size=1, max_size=4)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(document=st.dictionaries(NAMES.filter(bool), DOCUMENTS, max_size=4), names=NAME_LISTS, escaped=st.booleans())
def test_both_sides_find_what_a_tree_holds(document: dict[str, Any], names: list[str], *, escaped: bool) -> None:
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    body = json.dumps(document, ensure_ascii=escaped).encode()

    whole: Any = document

    def into(value: Any, name: str) -> Any:
        if isinstance(value, list):
            return value[int(name)] if name.isdecimal() and int(name) < len(value) else None
        return value.get(name) if isinstance(value, dict) else None

    expected: Any = reduce(into, names, whole)
    if expected in (None, "") or isinstance(expected, dict | list):
        refusal = refusal_of(validate_webhook, body, pointer)
        assert refusal.code in (ErrorCode.MISSING_PROPERTY, ErrorCode.INVALID_ID)
    else:
        assert stored_id(body, pointer) == (expected if isinstance(expected, str) else json.dumps(expected))


def test_the_longest_way_costs_a_few_parses() -> None:
    steps = json_pointer.MAX_STEPS
    body = ('{"a":' * steps + "[" + "1," * (2 * MB) + "1]" + "}" * steps).encode()
    started = time.process_time()

    assert_refused(validate_webhook, body, ErrorCode.INVALID_ID, "$" + ".a" * steps, "/a" * steps)

    assert time.process_time() - started < 10

"""No body makes validation work for long: the steps of Python that it costs are bounded, and so is its memory.

How long it takes is measured by `make bench ONLY=hostile`.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.json_source import Source
from shared.limits import MB
from tests.refused import assert_refused
from tests.validators import (
    validate_heartbeat,
    validate_items,
    validate_log_entries,
    validate_retain,
    validate_webhook,
)

_SIZE = 2 * MB
#: Time in seconds that takes up to 0.06, so that work in C that grows with the square of a body is seen.
_DEADLINE = 10


def filled(start: str, unit: str, end: str, size: int = _SIZE) -> bytes:
    return (start + ",".join([unit] * (size // (len(unit.encode()) + 1))) + end).encode()


def of_items(unit: str, end: str = "]}", size: int = _SIZE) -> bytes:
    return filled('{"stream":"s","items":[', unit, end, size)


def of_one_item(start: str, unit: str, end: str) -> bytes:
    return filled('{"stream":"s","items":[{' + start, unit, end + "}]}")


COLUMN = "[" * 90 + "]" * 90
DECIMALS = '{"id":"a","fields":{' + ",".join(f'"{number}":1.5' for number in range(200)) + "}}"
LONG_DECIMAL = '{"id":"a","fields":{"a":' + "9" * 400 + ".5}}"
REPEATED = '{"id":"a",' + '"name":"",' * 16 + '"name":1,"name":""}'
ALONE = '{"id":"a"}'
BY_TURNS = '{"id":"a",' + '"tags":{},"name":"",' * 30_000 + '"name":"' + "é" * 300 + '},{"}'


def fields_of(value: str) -> str:
    return '{"id":"a","fields":{' + ",".join(f'"{number:x}":{value}' for number in range(200)) + "}}"


def of_time(timestamp: str) -> str:
    return f'{{"level":"info","message":"","timestamp":"{timestamp}"}}'


def beside(odd: str) -> str:
    """Return what is validated at once: nine odd elements and many small ones."""
    return ",".join([odd] * 9 + [ALONE] * 22_000)


#: The bodies are made when they are needed: every process of the suite imports this.
CONTRIVED: list[tuple[str, Callable[[bytes], int], Callable[[], bytes], ErrorCode | None]] = [
    *[
        (f"a heartbeat of {unit[:8]}", validate_heartbeat, partial(filled, '{"a":[', unit, "]}"), None)
        for unit in ("1", "[]", "{}", '"["', '["["]', '"\\\\u0000"', "1e900", COLUMN)
    ],
    ("a heartbeat of one name", validate_heartbeat, partial(filled, "{", '"a":1', "}"), None),
    ("a heartbeat of escapes", validate_heartbeat, lambda: b'{"a":"' + b"\\n" * (_SIZE // 2) + b'"}', None),
    ("a webhook of one name", validate_webhook, partial(filled, '{"id":"a",', '"a":1', "}"), ErrorCode.TOO_MANY_FIELDS),
    ("a webhook of arrays", validate_webhook, partial(filled, '{"id":"a","a":[', "[]", "]}"), None),
    *[
        (f"items {unit}", validate_items, partial(of_items, unit), code)
        for unit, code in (
            ("1", ErrorCode.WRONG_TYPE),
            ("[]", ErrorCode.WRONG_TYPE),
            ("{}", ErrorCode.MISSING_PROPERTY),
            (COLUMN, ErrorCode.WRONG_TYPE),
        )
    ],
    ("items of 200 decimals", validate_items, partial(of_items, DECIMALS), None),
    ("items of a long decimal", validate_items, partial(of_items, LONG_DECIMAL), None),
    (
        "items with a long decimal beside",
        validate_items,
        partial(of_items, beside(LONG_DECIMAL.replace("9" * 400, "9" * 999))),
        None,
    ),
    (
        "items with a wrong repeat beside",
        validate_items,
        partial(of_items, beside(REPEATED)),
        ErrorCode.TOO_MANY_FIELDS,
    ),
    ("items by turns", validate_items, partial(of_items, f"{ALONE},{BY_TURNS}"), None),
    ("items of cuts", validate_items, partial(of_items, '{"id":"},{"}'), None),
    ("ids of cuts", validate_retain, partial(filled, '{"stream":"s","ids":[', '","', "]}"), None),
    (
        "items in front of a nested value",
        validate_items,
        partial(of_items, ",".join([ALONE] * 20_000), ',{"id":"a","fields":{"a":[' + "{}," * 90_000 + "{}]}}]}"),
        ErrorCode.NESTED_VALUE,
    ),
    *[
        (f"items of 200 numbers {number[:8]}{number[-6:]}", validate_items, partial(of_items, fields_of(number)), None)
        for number in ("1e0000", "0e1000", "1.1e-990", f"{'1' * 301}e-699", f"0.{'0' * 295}1e1290", f"{'1' * 901}e90")
    ],
    *[
        (f"log entries of {time}", validate_log_entries, partial(filled, '{"entries":[', of_time(time), "]}"), None)
        for time in (
            "2026-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T00:00:00Z",
            "2017-01-01T00:59:60+01:00",
        )
    ],
    (
        "log entries of shadowed timestamps",
        validate_log_entries,
        partial(
            filled,
            '{"entries":[',
            '{"level":"info","message":""' + ',"timestamp":"9999-12-31T00:00:00Z"' * 150 + "}",
            "]}",
        ),
        None,
    ),
    ("streams", validate_items, partial(filled, '{"items":[],', '"stream":"a"', "}"), ErrorCode.TOO_MANY_FIELDS),
    (
        "arrays of items",
        validate_items,
        partial(filled, '{"stream":"a",', '"items":[]', "}"),
        ErrorCode.TOO_MANY_FIELDS,
    ),
    ("ids of one item", validate_items, partial(of_one_item, "", '"id":"x"', ""), ErrorCode.TOO_MANY_FIELDS),
    ("fields of one item", validate_items, partial(of_one_item, '"id":"x",', '"fields":{}', ""), None),
    ("one field", validate_items, partial(of_one_item, '"id":"x","fields":{', '"a":1', "}"), ErrorCode.TOO_MANY_FIELDS),
    ("escapes", validate_items, lambda: b'{"\\u0041' + b"\\n" * (_SIZE // 2) + b'":1}', ErrorCode.UNKNOWN_PROPERTY),
    (
        "a long number",
        validate_items,
        lambda: b'{"stream":"s","items":[{"id":"x","fields":{"a":' + b"1" * _SIZE + b"}}]}",
        ErrorCode.NUMBER_OUT_OF_RANGE,
    ),
    (
        "one context",
        validate_log_entries,
        partial(filled, '{"entries":[{"level":"info","message":"","context":{', '"a":1', "}}]}"),
        ErrorCode.TOO_MANY_FIELDS,
    ),
]
named = pytest.mark.parametrize(
    ("judge", "made", "code"), [one[1:] for one in CONTRIVED], ids=[one[0] for one in CONTRIVED]
)


def outcome(judge: Callable[[bytes], int], body: bytes) -> ErrorCode | None:
    try:
        judge(body)
    except ApiError as error:
        return error.code
    return None


def steps(work: Callable[[], object]) -> int:
    """Count the lines and calls of some work, calls of C too. On each machine there are as many."""
    count = 0

    def see(_frame: object, _event: str, _arg: object) -> Any:
        nonlocal count
        count += 1
        return see

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(see)
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


@named
def test_it_costs_less_than_a_step_of_python_for_each_byte(
    judge: Callable[[bytes], int], made: Callable[[], bytes], code: ErrorCode | None
) -> None:
    body = made()
    started = time.process_time()
    assert outcome(judge, body) is code
    assert time.process_time() - started < _DEADLINE

    # When each token was looked at, there were up to twenty.
    assert steps(partial(outcome, judge, body)) < len(body)


@named
def test_it_holds_no_tree_of_the_body(
    judge: Callable[[bytes], int], made: Callable[[], bytes], code: ErrorCode | None
) -> None:
    body = made()
    tracemalloc.start()
    try:
        assert outcome(judge, body) is code
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # What one chunk comes to, and what two copies of the longest string do.
    assert peak < 3 * len(body) + 24 * MB


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of members that the exact validation came to."""
    names: list[str] = []
    members = Source.members

    def counted(source: Source, path: str, *more: Callable[[str], ApiError]) -> Iterator[str]:
        for name in members(source, path, *more):
            names.append(name)
            yield name

    monkeypatch.setattr(Source, "members", counted)
    return names


def test_the_walk_of_an_object_ends_at_the_first_member_too_many(walked: list[str]) -> None:
    assert_refused(validate_webhook, filled('{"id":"a",', '"a":1', "}"), ErrorCode.TOO_MANY_FIELDS, "$")

    assert len(walked) == 201


@pytest.mark.parametrize("good", ['{"id":"é","name":"' + "x" * 300 + '"}', '{"id":"{","fields":{"a":"\\\\u0000"}}'])
def test_of_a_long_batch_only_the_faulty_element_is_looked_at(walked: list[str], good: str) -> None:
    body = of_items(good, ',{"id":1}' + f",{good}" * 1000 + "]}")
    number = body.split(b',{"id":1}')[0].count(b'{"id"')

    assert_refused(validate_items, body, ErrorCode.WRONG_TYPE, f"$.items[{number}].id")

    assert walked == ["stream", "items", "id"]


@pytest.mark.parametrize(
    "good",
    [
        '{"id":"a"}',
        '{"id":"a","fields":{},"fields":{"a":"{"}}',
        '{"id":"é","fields":{"' + "k" * 65 + '":1e900}}',
        '{"id":"a","name":"' + "9" * 1001 + '"}',
        '{"id":"a","fields":{"a":"' + "},{" * 50 + '"}}',
        '{"id":"a","fields":{' + ",".join(f'"{number}":1' for number in range(200)) + "}}",
    ],
)
def test_right_elements_are_not_looked_at(walked: list[str], good: str) -> None:
    body = of_items(good, size=MB)

    assert validate_items(body) == body.count(b'"id"')
    assert walked == ["stream", "items"]

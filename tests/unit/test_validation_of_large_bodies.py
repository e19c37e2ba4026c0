"""Large bodies are validated in chunks, and exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.decoders import LONGEST_SOURCE
from ingest_api.validation.fast import FastValidator
from shared.limits import MB
from tests.refused import assert_refused, refusal_of
from tests.validators import fast, validate_items, validate_log_entries, validate_retain


def large_batch(last: str = '{"id":"last"}', between: str = ",") -> bytes:
    fields = '{"state":"Ready","queue":"},{ ]"}'
    items = [f'{{"id":"{number}","fields":{fields}}}' for number in range(20_000)]
    return f'{{"stream":"s","items":[{between.join([*items, last])}]}}'.encode()


@pytest.mark.parametrize("between", [",", " ,\r\n  "])
def test_a_large_batch_is_counted(between: str) -> None:
    assert validate_items(large_batch(between=between)) == 20_001


def test_a_fault_at_the_end_of_a_large_batch_is_found() -> None:
    assert_refused(validate_items, large_batch("{}"), ErrorCode.MISSING_PROPERTY, "$.items[20000].id")
    assert_refused(validate_items, large_batch('{"id":"a"}],"x":[1'), ErrorCode.UNKNOWN_PROPERTY, "$.x")
    assert refusal_of(validate_items, large_batch()[:-1]).code is ErrorCode.INVALID_JSON


def test_a_fault_amid_a_large_batch_is_found() -> None:
    body = large_batch().replace(b'"id":"9999"', b'"id":9999')
    assert_refused(validate_items, body, ErrorCode.WRONG_TYPE, "$.items[9999].id")


def test_rows_of_one_length_whose_digits_fall_in_step_with_the_samples_go_the_fast_way() -> None:
    rows = [f'{{"id":"{number:08}","fields":{{"n":"x"}}}}'.ljust(99) for number in range(100)]  # and a comma

    for length in range(1, 101):
        assert fast("items", f'{{"stream":"{"s" * length}","items":[{",".join(rows)}]}}'.encode()) == 100


def test_properties_that_exclude_each_other_are_found_by_the_fast_way() -> None:
    clash, right = '[{"id":"a","deleted":true,"name":"b"}]', '[{"id":"a","name":"deleted {items}"}]'

    assert fast("items", f'{{"stream":"s","items":{right}}}'.encode()) == 1
    for members in (clash, f'{clash},"items":{right}', f'{clash},"\\u0069tems":{right}'):
        assert fast("items", f'{{"stream":"s","items":{members}}}'.encode()) is None
    assert fast("retain", b'{"stream":"s","ids":[]}') is None
    assert fast("retain", b'{"stream":"s","ids":[],"atMost":0}') == 0


@pytest.mark.parametrize("text", ["x", "},{", "é", '\\"', "9", "\\u0041"])
def test_elements_that_are_too_long_for_the_fast_way_are_right(text: str) -> None:
    value = text * (LONGEST_SOURCE // 2 // len(text.encode()) + 1)
    long = f'{{"id":"a","fields":{{"a":"{value}","b":"{value}","c":1}},"tags":{{}}}}'
    body = f'{{"stream":"s","items":[{{"id":"b"}},{long},{long},{{"id":"c"}}]}}'.encode()
    assert validate_items(body) == 4


@pytest.mark.parametrize("size", [1, MB, LONGEST_SOURCE - 1_024])
@pytest.mark.parametrize(
    ("members", "code"),
    [
        ('"name":"",' * 16 + '"name":1,"name":""', ErrorCode.TOO_MANY_FIELDS),
        ('"fields":{},' * 16 + '"fields":{"a":{}},"fields":{}', ErrorCode.TOO_MANY_FIELDS),
        ('"fields":{},' * 16 + '"fields":{"":1},"fields":{}', ErrorCode.TOO_MANY_FIELDS),
        ('"name":1,"name":""', ErrorCode.WRONG_TYPE),
    ],
)
def test_a_repeated_property_that_is_wrong_once_is_refused(size: int, members: str, code: ErrorCode) -> None:
    body = f'{{"stream":"s","items":[{{"id":"a",{members},"tags":{{"a":"{"x" * size}"}}}}]}}'.encode()
    assert refusal_of(validate_items, body).code is code
    assert validate_items(
        body.replace(b'"name":1', b'"name":"b"').replace(b'{"a":{}}', b"{}").replace(b'"":1', b'"a":1')
    )


@pytest.mark.parametrize(
    ("validate", "first", "repeated", "wrong", "last"),
    [
        (validate_items, '"stream":"s"', '"items":[]', '"items":5', '"items":[{"id":"a"}]'),
        (validate_items, '"stream":"s"', '"items":[]', '"items":[{"id":5}]', '"items":[{"id":"a"}]'),
        (validate_items, '"stream":"s"', '"items":[]', '"items":[{"id":"\\u0000"}]', '"items":[{"id":"a"}]'),
        (validate_items, '"items":[{"id":"a"}]', '"stream":"s"', '"stream":5', '"stream":"s"'),
        (validate_retain, '"stream":"s","ids":[]', '"atMost":1', '"atMost":"x"', '"atMost":3'),
        (validate_retain, '"stream":"s","ids":[]', '"atMost":1', '"atMost":1e999999', '"atMost":3'),
        (
            validate_log_entries,
            '"entries":[]',
            '"entries":[]',
            '"entries":[{"level":"x","message":""}]',
            '"entries":[]',
        ),
    ],
)
def test_a_wrong_property_of_a_batch_is_found_however_often_it_is_repeated(
    validate: Callable[[bytes], int], first: str, repeated: str, wrong: str, last: str
) -> None:
    for times in (0, 5, 16, 17, 300):
        body = "{" + ",".join([first, *[repeated] * times, wrong, last]) + "}"
        assert refusal_of(validate, body.encode()).code.value.status == 409


def test_an_element_too_long_to_be_judged_whole_may_not_repeat_properties() -> None:
    item = '{"id":"a",%s"name":"","fields":{"a":"' + "x" * LONGEST_SOURCE + '"}}'
    body = f'{{"stream":"s","items":[{item}]}}'
    assert validate_items((body % '"name":"",').encode()) == 1
    assert_refused(validate_items, (body % ('"name":"",' * 16)).encode(), ErrorCode.TOO_MANY_FIELDS, "$.items[0]")


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (LONGEST_SOURCE, 0), (0, LONGEST_SOURCE)])
def test_white_space_makes_no_element_long(before: int, behind: int) -> None:
    item = '{"id":"a",' + '"name":"",' * 20 + '"fields":{}}'
    assert validate_items(f'{{"stream":"s","items":[{" " * before}{item}{" " * behind}]}}'.encode()) == 1


@pytest.mark.parametrize(("size", "is_right"), [(LONGEST_SOURCE, True), (LONGEST_SOURCE + 1, False)])
def test_an_element_of_5_mb_may_repeat_properties(size: int, *, is_right: bool) -> None:
    start, end = '{"id":"a",' + '"name":"",' * 20 + '"fields":{"a":"', '"}}'
    item = start + "x" * (size - len(start) - len(end)) + end
    assert outcome(f'{{"stream":"s","items":[{item}]}}') is (None if is_right else ErrorCode.TOO_MANY_FIELDS)


def outcome(body: str) -> ErrorCode | None:
    try:
        validate_items(body.encode())
    except ApiError as refusal:
        return refusal.code
    return None


def test_an_unknown_property_is_told_behind_many_known_ones() -> None:
    item = '{"id":"a",' + '"name":"",' * 20 + '"b\\n c":1}'
    refusal = refusal_of(validate_items, f'{{"stream":"s","items":[{item}]}}'.encode())
    assert (refusal.code, refusal.path) == (ErrorCode.UNKNOWN_PROPERTY, '$.items[0]["b\\n c"]')
    assert "`b\n c` is not a property" in refusal.message


def test_short_runs_of_a_long_array_are_judged_as_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FastValidator, "_count_built")  # that calls Python for each number
    short, long = '{"id":"a","fields":{"a":1e-999}}', f'{{"id":"b","fields":{{"a":"{"x" * 262_000}"}}}}'
    assert validate_items(f'{{"stream":"s","items":[{short},{long},{short},{long}]}}'.encode()) == 4


@pytest.mark.parametrize("repeated", [0, 40])
def test_a_number_may_have_thousands_of_zeros_and_as_large_an_exponent(repeated: int) -> None:
    number = "0." + "0" * 9_000 + "1e10000"  # 1,000 digits
    item = '{"id":"a",' + '"name":"",' * repeated + f'"fields":{{"a":{number}}}}}'
    body = f'{{"stream":"s","items":[{item}]}}'.encode()
    assert validate_items(body) == fast("items", body) == 1
    assert refusal_of(validate_items, body.replace(b"1e10000", b"1e10001")).code is ErrorCode.NUMBER_OUT_OF_RANGE


def test_right_elements_that_repeat_a_property_are_accepted() -> None:
    one = '{"id":"a",' + '"fields":{},' * 300 + '"name":""}'
    assert validate_items(f'{{"stream":"s","items":[{one},{one}]}}'.encode()) == 2


def test_empty_fields_are_not_taken_for_elements_without_any() -> None:
    body = b'{"stream":"s","items":[' + b",".join([b'{"id":"a","fields":{}}'] * 60_000) + b"]}"
    assert validate_items(body) == 60_000
    assert fast("items", body) == 60_000


@pytest.mark.parametrize("number", [20_000, 100_000])
def test_empty_objects_are_not_taken_for_ids(number: int) -> None:
    body = b'{"stream":"s","ids":[' + b",".join([b"{}"] * number) + b"]}"
    assert_refused(validate_retain, body, ErrorCode.WRONG_TYPE, "$.ids[0]")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (b"\\u9", ErrorCode.INVALID_JSON),
        (b"\\q", ErrorCode.INVALID_JSON),
        (b"\\n\n", ErrorCode.INVALID_JSON),
        (b"\\n\xff", ErrorCode.INVALID_ENCODING),
    ],
)
def test_a_long_name_that_is_no_string_is_refused(fault: bytes, code: ErrorCode) -> None:
    others, name = b'{"id":"a"},' * 4_000, b"x" * 300 + fault
    body = b'{"stream":"s","items":[%b{"id":"a","fields":{"%b":1}}]}' % (others, name)
    assert refusal_of(validate_items, body).code is code


@pytest.mark.parametrize("size", [1, MB])
@pytest.mark.parametrize(
    ("members", "code", "path"),
    [
        ('"name":null', ErrorCode.MISSING_PROPERTY, "$.items[0].id"),
        ('"id":"a","deleted":true', ErrorCode.UNEXPECTED_PROPERTY, "$.items[0].tags"),
    ],
)
def test_what_is_wrong_is_told_before_that_properties_are_repeated(
    members: str, code: ErrorCode, path: str, size: int
) -> None:
    item = f'{{{members},"tags":{{"a":"{"x" * size}"}},{",".join([members] * 17)}}}'
    refusal = refusal_of(validate_items, f'{{"stream":"s","items":[{item}]}}'.encode())
    assert (refusal.code, refusal.path) == (code, path)


@pytest.mark.parametrize("behind", ["", " ", "\n\t ", ',"stream":"s"', ' ,\r\n"stream":"s" '])
@pytest.mark.parametrize("before", ["", '{"id":"b"},', '{"id":"b"} , '])
def test_what_stands_around_an_element_does_not_matter(before: str, behind: str) -> None:
    item = '{"id":"a",' + '"name":"",' * 16 + '"name":1,"name":""}'
    body = f'{{"stream":"s","items":[{before}{item}{behind[:1].strip(",")}]{behind}}}'.encode()
    refusal = refusal_of(validate_items, body)
    assert (refusal.code, refusal.path) == (ErrorCode.TOO_MANY_FIELDS, f"$.items[{int(bool(before))}]")
    assert validate_items(body.replace(b'"name":1,', b"")) == 1 + bool(before)

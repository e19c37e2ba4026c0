"""Bodies that are judged in chunks, and what the fast way must see, or must not see, in them."""

from __future__ import annotations

import pytest

from ingest_api.errors import ErrorCode
from ingest_api.validation import exact as explain
from ingest_api.validation.fast import _LONGEST_CHUNK_BYTES, validate_items
from shared.limits import MAX_CONTEXT_DIGITS
from tests.refused import assert_refused, refusal_of


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


def test_rows_of_one_length_whose_digits_fall_in_step_with_the_samples_go_the_fast_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(explain, "judge_items", None)
    rows = [f'{{"id":"{number:08}","fields":{{"n":"x"}}}}'.ljust(99) for number in range(100)]  # and a comma

    for length in range(1, 101):
        assert validate_items(f'{{"stream":"{"s" * length}","items":[{",".join(rows)}]}}'.encode()) == 100


def test_a_context_of_numbers_whose_text_could_not_be_read_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    member = '"a":1e999'
    assert _LONGEST_CHUNK_BYTES // len(member + ",") * 1000 < MAX_CONTEXT_DIGITS, "no chunk has too many"
    monkeypatch.setattr(explain, "MAX_CONTEXT_DIGITS", 5000)

    def judge(*counts: int) -> int:
        entries = (f'{{"level":"info","message":"","context":{{{",".join([member] * count)}}}}}' for count in counts)
        return explain.judge_log_entries(
            f'{{"entries":[{",".join(entries)}]}}'.encode(), lambda body, _: (0, len(body))
        )

    assert judge(5, 5) == 2
    refusal = refusal_of(judge, 5, 6)
    assert (refusal.code, refusal.path) == (ErrorCode.NUMBER_OUT_OF_RANGE, "$.entries[1].context")
    assert (refusal.limit, refusal.observed) == (5000, 6000)

"""A refusal of a batch tells all faulty elements at once, within bounds of number and work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.errors import ApiError
from ingest_api.validation import fault_search
from shared.limits import MAX_FAULTS, MB
from tests.bodies import ENTRIES, ITEMS
from tests.refused import refusal_of
from tests.validators import exact, validate_items, validate_log_entries

BAD = '{"id":1}'
SENT = {"items": (ITEMS, '{{"stream":"s","items":[{}]}}'), "log": (ENTRIES, '{{"entries":[{}]}}')}


def good(number: int) -> str:
    return f'{{"id":"agent-{number}","fields":{{"state":"Ready"}}}}'


def of_items(*sent: str, more: str = "") -> bytes:
    return f'{{"stream":"s","items":[{",".join(sent)}]{more}}}'.encode()


def faults_of(body: bytes, judge: Callable[[bytes], int] = validate_items) -> tuple[list[dict[str, Any]], bool]:
    refusal = refusal_of(judge, body)
    assert refusal.faults[0] == refusal.description()
    assert refusal.payload()["error"] == {
        **refusal.description(),
        "faults": refusal.faults,
        "moreFaults": refusal.more_faults,
    }
    return list(refusal.faults), refusal.more_faults


def paths_of(body: bytes) -> tuple[list[str], bool]:
    faults, more = faults_of(body)
    return [fault["path"] for fault in faults], more


@pytest.mark.parametrize("name", ["", "é", "x" * 300])
def test_three_bad_rows_of_two_thousand_are_told_at_once(name: str) -> None:
    rows = [f'{{"id":"{number}","name":"{name}"}}' for number in range(2_000)]
    rows[7], rows[999], rows[1_999] = "{}", '{"id":"a","fields":{"b":[]}}', f'{{"id":"{"x" * 600}"}}'

    faults, more = faults_of(of_items(*rows))

    assert [(fault["code"], fault["path"]) for fault in faults] == [
        ("missing_property", "$.items[7].id"),
        ("nested_value", "$.items[999].fields.b"),
        ("invalid_id", "$.items[1999].id"),
    ]
    assert (faults[2]["limit"], faults[2]["observed"], more) == (512, 600, False)


def test_log_entries_are_told_at_once() -> None:
    body = b'{"entries":[{"level":"no","message":""},{"level":"info","message":""},{"level":"info"}]}'

    faults, more = faults_of(body, validate_log_entries)

    assert [fault["path"] for fault in faults] == ["$.entries[0].level", "$.entries[2].message"]
    assert not more


@pytest.mark.parametrize(
    ("bad", "behind", "told", "more"),
    [(MAX_FAULTS, 0, MAX_FAULTS, False), (MAX_FAULTS, 9, MAX_FAULTS, False), (MAX_FAULTS + 1, 0, MAX_FAULTS, True)],
)
def test_up_to_twenty_are_told(bad: int, behind: int, told: int, *, more: bool) -> None:
    body = of_items(*[BAD] * bad, *map(good, range(behind)))

    assert paths_of(body) == ([f"$.items[{number}].id" for number in range(told)], more)


def test_an_element_has_one_fault() -> None:
    assert paths_of(of_items('{"id":1,"name":1,"x":1}', BAD)) == (["$.items[0].id", "$.items[1].id"], False)


@pytest.mark.parametrize(("more", "path"), [(',"x":1', "$.x"), (',"stream":1', "$.stream")])
def test_a_fault_of_the_batch_has_no_list(more: str, path: str) -> None:
    refusal = refusal_of(validate_items, of_items(good(1), more=more))
    assert (refusal.path, refusal.faults) == (path, ())
    assert "faults" not in refusal.payload()["error"]
    # Behind a faulty element it is not looked for, as the first fault in the order of the text counts.
    assert paths_of(of_items(BAD, more=more)) == (["$.items[0].id"], False)


def test_faults_far_apart_are_told_by_their_places() -> None:
    rows = [good(number) for number in range(60_000)]
    bad = range(0, 60_000, 7_500)
    for number in bad:
        rows[number] = BAD

    assert paths_of(of_items(*rows)) == ([f"$.items[{number}].id" for number in bad], False)


def test_large_elements_are_told() -> None:
    large = f'{{"id":1,"fields":{{"a":"{"x" * MB}"}}}}'
    right = [large.replace("1", '"a"', 1)] * 5

    assert paths_of(of_items(large, *right, large, *right, large)) == (
        [f"$.items[{number}].id" for number in (0, 6, 12)],
        False,
    )


def test_of_elements_that_are_all_large_and_faulty_some_are_told() -> None:
    large = f'{{"id":1,"fields":{{"a":"{"x" * 4 * MB}"}}}}'

    paths, more = paths_of(of_items(large, large, large))

    assert paths[0] == "$.items[0].id"
    assert more == (len(paths) < 3)


def test_the_search_ends_when_its_work_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_search, "_FREE_MARKS", 4)

    assert paths_of(of_items(BAD, BAD, good(1), BAD, BAD)) == (
        ["$.items[0].id", "$.items[1].id", "$.items[3].id"],
        True,
    )


def test_costly_elements_end_the_search() -> None:
    fields = ",".join(f'"{number}":1' for number in range(200))
    costly = "{" + ",".join([f'"fields":{{{fields}}}'] * 15) + ',"id":1}'

    paths, more = paths_of(of_items(*[costly] * 20))

    assert 1 <= len(paths) < MAX_FAULTS
    assert more


def alone(kind: str, element: str) -> ApiError | None:
    try:
        exact(kind, SENT[kind][1].format(element).encode())
    except ApiError as error:
        return error
    return None


@given(st.sampled_from(sorted(SENT)), st.data())
def test_each_fault_is_the_one_that_the_element_has_alone(kind: str, data: st.DataObject) -> None:
    array = {"items": "items", "log": "entries"}[kind]
    rows = data.draw(st.lists(SENT[kind][0], max_size=MAX_FAULTS))
    expected = []
    for number, row in enumerate(rows):
        error = alone(kind, row)
        if error is None:
            continue
        if error.code.value.status == 400:
            return
        expected.append(error.description() | {"path": (error.path or "").replace("[0]", f"[{number}]", 1)})
    judge = validate_items if kind == "items" else validate_log_entries
    body = SENT[kind][1].format(",".join(rows)).encode()
    if not expected:
        assert judge(body) == len(rows)
        return
    faults, more = faults_of(body, judge)
    assert faults == expected[: len(faults)]
    assert more == (len(faults) < len(expected))
    assert all(re.match(rf"\$\.{array}\[\d+\]", fault["path"]) for fault in faults)

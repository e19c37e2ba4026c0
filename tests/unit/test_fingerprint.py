"""Fingerprints: which dead letters have the same cause."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.fingerprint import cause, fingerprint

SAME = [
    ("JSON is malformed: invalid character (byte 4)", "JSON is malformed: invalid character (byte 31457279)"),
    ("Expected `str`, got `int` - at `$.items[0].id`", "Expected `str`, got `int` - at `$.items[1999].id`"),
    (
        "'utf-8' codec can't decode byte 0xff in position 3: invalid start byte",
        "'utf-8' codec can't decode byte 0xC0 in position 80: invalid start byte",
    ),
    (
        'invalid input syntax for type json\nDETAIL:  Token "a" is invalid.\nCONTEXT:  JSON data, line 1: {a',
        'invalid input syntax for type json\nDETAIL:  Token "zz" is invalid.\nCONTEXT:  JSON data, line 77: {"n":zz',
    ),
    (
        'invalid input syntax for type timestamp with time zone: "yesterday"',
        'invalid input syntax for type timestamp with time zone: "a "quoted" day, isn\'t it"',
    ),
    ("'loud'", "'LOUDER'"),
]
OTHER = [
    ("Expected `str`, got `int` - at `$.items[0].id`", "Expected `str`, got `null` - at `$.items[0].id`"),
    (
        'null value in column "name" of relation "items" violates not-null constraint',
        'null value in column "fields" of relation "items" violates not-null constraint',
    ),
    ("Input data was truncated", "Expected `object`, got `array`"),
]


@pytest.mark.parametrize(("one", "another"), SAME)
def test_the_same_error_in_another_body_has_the_same_fingerprint(one: str, another: str) -> None:
    assert cause(one) == cause(another)
    assert fingerprint("unreadable", one) == fingerprint("unreadable", another)


@pytest.mark.parametrize(("one", "another"), OTHER)
def test_another_error_has_another_fingerprint(one: str, another: str) -> None:
    assert fingerprint("unreadable", one) != fingerprint("unreadable", another)


def test_another_reason_is_another_cause() -> None:
    assert fingerprint("22P02", "same") != fingerprint("22P05", "same")


def test_an_apostrophe_quotes_nothing() -> None:
    assert cause("it can't be read and won't be, at 'x'") == "it can't be read and won't be, at ?"


@given(st.text(), st.text())
def test_any_detail_has_a_short_fingerprint(reason: str, detail: str) -> None:
    assert re.fullmatch("[0-9a-f]{8}", fingerprint(reason, detail))


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_never_make_a_difference(one: int, another: int) -> None:
    assert fingerprint("r", f"value {one} at byte {another}") == fingerprint("r", "value 1 at byte 2")

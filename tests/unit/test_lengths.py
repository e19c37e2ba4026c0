"""Sizes are bytes of UTF-8, however a string is spelled, and wherever it stands."""

from __future__ import annotations

import pytest

from ingest_api.errors import ErrorCode
from shared.limits import MAX_ID_BYTES, MAX_KEY_BYTES, MAX_NAME_BYTES
from tests.refused import refusal_of
from tests.validators import fast, validate_items, validate_retain

#: Characters as they may be spelled, and their bytes in UTF-8.
SPELLINGS = [
    ("a", 1),
    ("é", 2),
    ("€", 3),
    ("😀", 4),
    *[(rf"\{letter}", 1) for letter in r"bfnrt/\""],
    (r"\u0041", 1),
    (r"\u007f", 1),
    (r"\u0080", 2),
    (r"\u00E9", 2),
    (r"\u0100", 2),
    (r"\u07ff", 2),
    (r"\u0800", 3),
    (r"\u0fff", 3),
    (r"\u20ac", 3),
    (r"\uD7ff", 3),
    (r"\ue000", 3),
    (r"\uFFFD", 3),
    (r"\ud83d\ude00", 4),
    (r"\uDBFF\uDFFF", 4),
]
#: What stands beside: nothing, so that objects are built, and much, so that they are passed over.
BESIDE = ["", ',{"id":"b","fields":{"id":"' + "é" * 600 + '","name":"' + "x" * 70_000 + '"}}']


def sized(unit: str, size: int, most: int) -> tuple[str, str]:
    """Return a string of so many bytes, and one of a byte more."""
    text = unit * (most // size)
    rest = most - most // size * size
    return f'"{text}{"x" * rest}"', f'"{text}{"x" * (rest + 1)}"'


def of_item(members: str, beside: str) -> bytes:
    return f'{{"stream":"s","items":[{{{members}}}{beside}]}}'.encode()


@pytest.mark.parametrize("beside", BESIDE, ids=["short", "long"])
@pytest.mark.parametrize(
    ("most", "members", "code"),
    [
        (MAX_ID_BYTES, '"id":{}', ErrorCode.INVALID_ID),
        (MAX_ID_BYTES, r'"tags":{{}},"\u0069d" : {}', ErrorCode.INVALID_ID),
        (MAX_NAME_BYTES, '"id":"a","name":{}', ErrorCode.INVALID_NAME),
        (MAX_NAME_BYTES, r'"fields":{{"id":"}}{{"}},"n\u0061\u006De":{},"id":"a"', ErrorCode.INVALID_NAME),
        (MAX_KEY_BYTES, '"id":"a","fields":{{"b":0,{}\n:1}}', ErrorCode.INVALID_NAME),
        (MAX_KEY_BYTES, '"id":"a","tags":{{"b":1e990,{} :1}}', ErrorCode.INVALID_NAME),
    ],
)
def test_the_last_byte_passes_and_one_more_does_not(most: int, members: str, code: ErrorCode, beside: str) -> None:
    for unit, size in SPELLINGS:
        right, wrong = (of_item(members.format(text), beside) for text in sized(unit, size, most))

        assert fast("items", right) == validate_items(right), unit
        assert refusal_of(validate_items, wrong).code is code, unit


@pytest.mark.parametrize("beside", ["", ',"b"' * 10_000], ids=["short", "long"])
def test_an_id_alone_is_measured_too(beside: str) -> None:
    for unit, size in SPELLINGS:
        texts = sized(unit, size, MAX_ID_BYTES)
        right, wrong = (f'{{"stream":"s","ids":["a",{text}{beside}]}}'.encode() for text in texts)

        assert fast("retain", right) == validate_retain(right), unit
        assert refusal_of(validate_retain, wrong).code is ErrorCode.INVALID_ID, unit

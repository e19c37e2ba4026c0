"""Strings stand as the bytes of their values, and what is around them stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.validation import spelling
from ingest_api.validation.spelling import spelled_out

SPELLINGS = [
    *["a", "é", "€", "😀", "\x7f", "{", ":", "u0041", " "],
    *[rf"\{letter}" for letter in 'bfnrt/\\"'],
    *[
        r"\u0000",
        r"\u0022",
        r"\u005C",
        r"\u007f",
        r"\u007F",
        r"\u00e9",
        r"\u20AC",
        r"\uffff",
        r"\ud83d\ude00",
        r"\u0009",
    ],
]
STRINGS = st.lists(st.sampled_from(SPELLINGS), max_size=12).map("".join)
SPACES = bytes.maketrans(b"\t\r\n", b"   ")
BETWEEN = st.sampled_from([",", ":", " :\t", ",\n1e5 , ", "},{", "[true]", "\r\n" * 5, "0." + "1" * 30])


@given(st.lists(st.tuples(STRINGS, BETWEEN), max_size=12), st.sampled_from([1, 7, 20, 65_536]))
def test_each_string_has_the_bytes_of_its_value(parts: list[tuple[str, str]], window: int) -> None:
    text = "".join(f'"{string}"{between}' for string, between in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spelling, "_WINDOW_BYTES", window)
        spelled = spelled_out(text.encode()).split(b'"')

    assert [len(string) for string in spelled[1::2]] == [len(json.loads(f'"{one}"').encode()) for one, _ in parts]
    assert [part.translate(SPACES).decode() for part in spelled[2::2]] == [
        between.encode().translate(SPACES).decode() for _, between in parts
    ]


def test_a_name_stays_what_it_is() -> None:
    assert spelled_out(rb'{"\u0069d":"\u0022\\","n\u0061me":"\u00e9\n"}') == b'{"id":"..","name":"\xc3\xa9\n"}'

"""An array read a chunk at a time has the elements that it has when read at once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.json_chunks import BETWEEN_STRINGS, chunks

_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode
_decode_strings = msgspec.json.Decoder(list[str]).decode
_VALUES = st.text(alphabet='}{,[]":\\ a', max_size=30)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)


@given(st.lists(_OBJECTS, max_size=30), st.integers(1, 200), st.sampled_from([None, 2]))
def test_chunks_have_each_element_once_in_order(objects: list[dict[str, str]], size: int, indent: int | None) -> None:
    text = json.dumps(objects, indent=indent)

    found = list(chunks(text.encode(), _decode, size))

    assert [one for _, chunk in found for one in chunk] == objects
    assert [end for end, _ in found] == sorted(end for end, _ in found)
    assert found[-1][0] <= len(text)


@given(
    st.lists(_VALUES, max_size=40),
    st.integers(1, 200),
    st.sampled_from([",", " ,\n "]),
    st.sampled_from(["", ',"more":["x","},{",","]']),
)
def test_chunks_have_each_string_once_in_order(strings: list[str], size: int, between: str, behind: str) -> None:
    text = f"[{between.join(map(json.dumps, strings))}]"

    found = list(chunks((text + behind).encode(), _decode_strings, size, between=BETWEEN_STRINGS))

    assert [one for _, chunk in found for one in chunk] == strings
    assert found[-1][0] <= len(text)


@pytest.mark.parametrize("one", ['{"a":"},{"}', '{"a":"\\"},{"}', '{"a":"b"}', '{"a":"}\\\\"}', '{"a":"},{","b":","}'])
def test_no_chunk_of_right_elements_is_decoded_twice(one: str) -> None:
    decoded = 0

    def decode(text: bytes) -> list[dict[str, Any]]:
        nonlocal decoded
        decoded += 1
        return _decode(text)

    text = f"[{','.join([one] * 3_000)}]".encode()

    assert len(list(chunks(text, decode, 1_000))) == decoded


@pytest.mark.parametrize("one", ["},{", ",", '","', "\\"])
def test_no_chunk_of_strings_is_decoded_twice(one: str) -> None:
    decoded = 0

    def decode(text: bytes) -> list[str]:
        nonlocal decoded
        decoded += 1
        return _decode_strings(text)

    text = json.dumps([one] * 9_000, separators=(",", ":")).encode()

    assert len(list(chunks(text, decode, 1_000, between=BETWEEN_STRINGS))) == decoded


def test_a_string_that_looks_like_many_ends_of_objects_is_read_whole() -> None:
    objects = [{"a": "},{" * 200_000}, {"b": "},{"}]

    found = list(chunks(json.dumps(objects).encode(), _decode, 100))

    assert [one for _, chunk in found for one in chunk] == objects


def test_a_long_array_comes_in_many_chunks() -> None:
    text = json.dumps([{"a": "x" * 50}] * 1_000).encode()

    found = list(chunks(text, _decode, 1_000))

    assert len(found) > 20
    assert max(len(chunk) for _, chunk in found) < 50


def test_an_array_of_other_elements_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        list(chunks(b'[{"a":1},2]', _decode))


def test_text_after_the_array_is_not_read() -> None:
    text = b'[{"a":"x"},{"b":"y"}],"more":[{"c":"z"}]}'

    assert [one for _, chunk in chunks(text, _decode, 1) for one in chunk] == [{"a": "x"}, {"b": "y"}]

"""An array read a piece at a time holds what it holds when read at once."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.json_chunks import pieces

_DECODER = msgspec.json.Decoder(list[dict[str, Any]])
_VALUES = st.text(alphabet='}{,[]":\\ a', max_size=30)
_OBJECTS = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)


@given(st.lists(_OBJECTS, max_size=30), st.integers(1, 200), st.sampled_from([None, 2]))
def test_pieces_hold_each_element_once_in_order(objects: list[dict[str, str]], size: int, indent: int | None) -> None:
    text = json.dumps(objects, indent=indent)

    found = list(pieces(msgspec.Raw(text.encode()), _DECODER, size))

    assert [one for _, piece in found for one in piece] == objects
    assert sum(size for size, _ in found) <= len(text)


def test_a_string_full_of_what_stands_between_objects_is_read_a_few_times_only() -> None:
    objects = [{"a": "},{" * 200_000}, {"b": "},{"}]

    found = list(pieces(msgspec.Raw(json.dumps(objects).encode()), _DECODER, 100))

    assert [one for _, piece in found for one in piece] == objects


def test_a_long_array_comes_in_many_pieces() -> None:
    text = json.dumps([{"a": "x" * 50}] * 1_000).encode()

    found = list(pieces(msgspec.Raw(text), _DECODER, 1_000))

    assert len(found) > 20
    assert max(len(piece) for _, piece in found) < 50


def test_what_is_no_array_of_objects_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        list(pieces(msgspec.Raw(b'[{"a":1},2]'), _DECODER))

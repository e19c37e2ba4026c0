"""The statements of a retain: ranges that cover all ids, each of a bounded size, whatever the order of the ids is."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import retained
from workers.binary_arrays import text, text_array
from workers.decoding import Retain
from workers.retained import RANGE_IDS, statements_of

_STATEMENTS_OF_RANGE = "remove_others"


def ranges(pieces: list[list[str]], at_most: int | None = None) -> list[dict[str, Any]]:
    statements = statements_of(Retain("s", at_most, lambda: iter(pieces)), 1, 2)
    return [values for query, values in statements if query == _STATEMENTS_OF_RANGE]


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3))
    )
)
def test_each_id_is_in_the_one_range_that_covers_it(pieces: list[list[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retained, "RANGE_IDS", 3)
        patch.setattr(retained, "_SAMPLED_EVERY", 1)
        found = ranges(pieces)

    assert (found[0]["low"], found[-1]["high"]) == ("", None)
    assert [one["high"] for one in found[:-1]] == [one["low"] for one in found[1:]]
    for one in found:
        covered = {
            name.encode()
            for name in itertools.chain.from_iterable(pieces)
            if name.encode() > one["low"].encode() and (one["high"] is None or name.encode() <= one["high"].encode())
        }
        assert one["ids"] == text_array([text(name.decode()) for name in sorted(covered)])


_COUNT = 100_000
_DICE = random.Random(1)


@pytest.mark.parametrize(
    "place",
    [
        lambda number: number,
        lambda number: -number,
        lambda _: _DICE.random(),
        lambda number: (number % 64 == 63, number),  # each 64th one is far from the others
        lambda number: (number % 64, number),
    ],
    ids=["sorted", "reversed", "shuffled", "sample apart", "dealt"],
)
def test_no_range_is_much_larger_whatever_the_order(place: Callable[[int], Any]) -> None:
    names = [f"{number:07}" for number in sorted(range(_COUNT), key=place)]
    pieces = [names[start : start + 20_000] for start in range(0, _COUNT, 20_000)]

    sizes = [len(one["ids"].data) // (7 + 4) for one in ranges(pieces)]

    assert sum(sizes) >= _COUNT
    assert max(sizes) < 1.2 * RANGE_IDS
    assert len(sizes) < 1.5 * _COUNT / RANGE_IDS


def test_a_bounded_retain_counts_all_ranges_before_it_removes() -> None:
    queries = [query for query, _ in statements_of(Retain("s", 0, lambda: iter([["a"]])), 1, 2)]

    assert queries == ["insert_retain", "count_others", "check_removals", "remove_others"]

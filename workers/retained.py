"""Cut the ids of a retain into ranges, and make its statements. Pure.

A range is what one statement holds: it removes the items between two ids that are not among the range's own. A body has
up to millions of ids in any order, so they are never in memory one by one: they are decoded a piece at a time, twice.
The first time, each sorted piece gives every 64th id; these, sorted, tell where to cut, since no range between two of
them can hold many more ids than it should, whatever the order is. The second time, each sorted piece is cut there, and
the ids of a range are kept as one text until its statement is made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from workers.binary_arrays import text, text_array
from workers.decoding import Retain

#: Ids of a range, roughly.
RANGE_IDS: Final = 16_384
_SAMPLED_EVERY: Final = 64
#: Not part of any id.
_BETWEEN: Final = "\0"

#: The name of a query, and its parameters.
Statement = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Range:
    """The ids above `low` up to `high`; None: up to the last."""

    low: str
    high: str | None
    ids: bytes

    def values(self) -> dict[str, Any]:
        ids = sorted(set(self.ids.decode().split(_BETWEEN))) if self.ids else []
        return {"low": self.low, "high": self.high, "ids": text_array([text(one) for one in ids])}


def statements_of(retain: Retain, connector_id: int, version: int) -> Iterator[Statement]:
    """Yield the statements that apply a retain, in their order. Raises an error of msgspec."""
    submission = {"connector_id": connector_id, "version": version}
    of_stream = {**submission, "stream": retain.stream}
    ranges = _cut(retain.ids)
    yield "insert_retain", of_stream
    if retain.at_most is not None:
        yield from (("count_others", {**of_stream, **one.values()}) for one in ranges)
        yield "check_removals", {**submission, "at_most": retain.at_most}
    yield from (("remove_others", {**of_stream, **one.values()}) for one in ranges)


def _cut(ids: Callable[[], Iterable[list[str]]]) -> list[_Range]:
    bounds = _bounds(ids())
    texts: list[list[bytes]] = [[] for _ in range(len(bounds) + 1)]
    for some in ids():
        piece, start = sorted(set(some)), 0
        for place in range(len(texts)):
            end = bisect_right(piece, bounds[place], start) if place < len(bounds) else len(piece)
            if start < end:
                texts[place].append(_BETWEEN.join(piece[start:end]).encode())
            start = end
    joined = (_BETWEEN.encode().join(one) for one in texts)
    return [_Range(*one) for one in zip(["", *bounds], [*bounds, None], joined, strict=True)]


def _bounds(pieces: Iterable[list[str]]) -> list[str]:
    """Return the ids at which ranges end, but for the last one. Strings sort as Postgres' collation "C" does."""
    sample: list[str] = []
    for some in pieces:
        sample += sorted(set(some))[_SAMPLED_EVERY - 1 :: _SAMPLED_EVERY]
    step = RANGE_IDS // _SAMPLED_EVERY
    return sorted(set(sorted(sample)[step - 1 :: step]))

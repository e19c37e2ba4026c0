"""Exact validation of a batch's elements: the first faults of all, each of another element.

Elements are accepted by the fast validator a run at a time. A run that it doesn't accept is halved until each element
that it can't accept is alone; those are checked by the exact validation. It finds a fault in each that is not too long
for the fast one, so right elements never cost what only a few faulty ones may. The search ends with the array, behind
the last fault that an answer tells, or once it has taken so much work that the refusal would cost several times what it
costs to accept such a body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ingest_api.errors import ApiError
from ingest_api.validation.fast import LONGEST_SOURCE, FastValidator
from ingest_api.validation.json_source import Source
from shared.json_chunks import BETWEEN_OBJECTS, Between, chunks
from shared.limits import MAX_FAULTS

#: What the exact validation may look at one by one: names, values of arrays, levels. Of a large body, so many bytes of
#: it allow for one more.
_MARKS: Final = b":,[{"
_FREE_MARKS: Final = 4_096
_BYTES_FOR_A_MARK: Final = 4_096
#: Of a long element, so many bytes cost as much as one, since it is passed over several times.
_BYTES_AS_A_MARK: Final = 128
#: Of one element: text may hold more of them, but not that many are looked at.
_MOST_MARKS: Final = 24_000
#: Bytes that are judged again to find faulty elements, a tenth of the longest body. A run takes up to twice its own for
#: one fault.
_BYTES_JUDGED_AGAIN: Final = 3_145_728
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])

#: Checks the element at hand, which stands at a path. Raises ApiError.
Check = Callable[[Source, str], object]
#: Whether the fast validator accepts a part of a run.
IsSure = Callable[[list[msgspec.Raw]], bool]


def check_elements(
    source: Source, path: str, fast: FastValidator, check: Check, between: Between = BETWEEN_OBJECTS
) -> int:
    """Return the number of elements of the array at hand. Raises the first one's ApiError, with the faults of all.

    `between`: what stands between two elements.
    """
    start, count = source.start, 0
    faults = _Faults(len(source.body))

    def check_run(run: bytes) -> int:
        return _check_run(run, source.depth + 1, fast, is_sure, look_at)

    def is_sure(part: list[msgspec.Raw]) -> bool:
        run = b"[%b]" % b",".join(part)
        faults.charge(run)
        return len(run) <= LONGEST_SOURCE and fast.count(run, around=0) is not None

    def look_at(position: int, element: Source) -> None:
        faults.look_at(element, f"{path}[{count + position}]", check)

    for end, passed in chunks(memoryview(source.body)[start:], check_run, between=between):
        source.end = start + end
        count += passed
    faults.raise_any()
    return count


def _check_run(
    run: bytes, depth: int, fast: FastValidator, is_sure: IsSure, look_at: Callable[[int, Source], None]
) -> int:
    """Check an array of elements; return their number. Raises msgspec.DecodeError if it is cut within one."""
    count = fast.count(run, around=0) if len(run) <= LONGEST_SOURCE else None
    if count is not None:
        return count
    elements = _elements.decode(run)
    alone = len(elements) == 1  # perhaps a long element, which is not copied; a run of several is short
    for position in _unsure(elements, 0, len(elements), is_sure):
        element = Source(run, depth, 1, run.rindex(b"]")) if alone else Source(bytes(elements[position]), depth)
        look_at(position, element)
    return len(elements)


def _unsure(elements: list[msgspec.Raw], start: int, end: int, is_sure: IsSure) -> Iterator[int]:
    """Yield the position of each element that is not sure to be right, of a part where there is one."""
    if end - start <= 1:
        yield from range(start, end)
        return
    middle = (start + end) // 2
    left_is_sure = is_sure(elements[start:middle])
    if not left_is_sure:
        yield from _unsure(elements, start, middle, is_sure)
    if left_is_sure or not is_sure(elements[middle:end]):
        yield from _unsure(elements, middle, end, is_sure)


class _Faults:
    """The faults found so far, by the paths of their elements: part of a run may be checked twice."""

    def __init__(self, body_bytes: int) -> None:
        self._found: dict[str, ApiError] = {}
        self._marks_left = _FREE_MARKS + body_bytes // _BYTES_FOR_A_MARK
        self._bytes_left = _BYTES_JUDGED_AGAIN

    def look_at(self, element: Source, path: str, check: Check) -> None:
        """Check an element; keep its fault. Raises ApiError if there are faults, and no more are looked for."""
        if len(self._found) == MAX_FAULTS or self._marks_left < 0:
            self.raise_any(more=True)
        try:
            check(element, path)
        except ApiError as fault:
            self._found[path] = fault
            marks = min(sum(map(element.body.count, _MARKS)), _MOST_MARKS)
            self._marks_left -= max(marks, len(element.body) // _BYTES_AS_A_MARK)

    def charge(self, run: bytes) -> None:
        """Charge for judging a part of a run again. Raises ApiError if there are faults, and no more are looked for."""
        self._bytes_left -= len(run)
        if self._bytes_left < 0:
            self.raise_any(more=True)

    def raise_any(self, *, more: bool = False) -> None:
        """Raise the first fault, with all. `more`: whether there are elements that were not looked at."""
        for first in self._found.values():
            first.faults = [fault.description() for fault in self._found.values()]
            first.more_faults = more
            raise first

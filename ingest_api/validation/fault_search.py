"""Exact validation of a batch's elements: the first faults of all, each of another element.

Elements are accepted by the fast validator a chunk at a time. A chunk that it doesn't accept is divided until each
element that it can't accept is alone; those are checked by the exact validation. It finds a fault in each that is not
too long for the fast one, so right elements never cost what only a few faulty ones may. The search ends with the array,
behind the last fault that an answer tells, or once it has taken so much work that the refusal would cost several times
what it costs to accept such a body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ingest_api.errors import ApiError
from ingest_api.validation.decoders import LONGEST_SOURCE
from ingest_api.validation.fast import FastValidator
from ingest_api.validation.json_source import Source
from shared.json_chunks import Between, chunks
from shared.limits import MAX_FAULTS

#: Maximum bytes of an array that the fast way judges: with its brackets.
_LONGEST_CHUNK: Final = LONGEST_SOURCE + len("[]")
#: Bytes that begin what the exact validation looks at one by one: names, values of arrays, levels.
_MARKS: Final = b":,[{"
#: Marks that any search may look at; with more, the refusal of a small body would take several times an acceptance.
_FREE_MARKS: Final = 4_096
#: Bytes of a body that allow for one mark more.
_BODY_BYTES_PER_MARK: Final = 4_096
#: Bytes of an element that cost a mark, whatever they are: a long element is passed over several times.
_ELEMENT_BYTES_PER_MARK: Final = 512
#: Maximum marks that an element costs: text may hold more, but the walk ends before that.
_MOST_MARKS: Final = 24_000
#: Into which what holds a faulty element is divided. For one fault, an eighth more than the chunk is judged again.
_PARTS: Final = 8
#: Bytes that may be judged again to find faulty elements: a tenth of the longest body.
_BYTES_JUDGED_AGAIN: Final = 3_145_728
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])

#: Checks the element at hand, which stands at a path. Raises ApiError.
Check = Callable[[Source, str], object]


def check_elements(source: Source, path: str, fast: FastValidator, check: Check, between: Between) -> int:
    """Return the number of elements of the array at hand. Raises the first one's ApiError, with the faults of all.

    `between`: what stands between two elements.
    """
    search = _Search(source, path, fast, check)
    start = source.start
    for end, count in chunks(memoryview(source.body)[start:], search.check_chunk, between=between):
        source.end = start + end
        search.passed += count
    search.raise_any()
    return search.passed


class _Search:
    """The faults found so far, in order, and what the search may still cost."""

    def __init__(self, array: Source, path: str, fast: FastValidator, check: Check) -> None:
        self._path, self._fast, self._check = path, fast, check
        self._depth = array.depth + 1
        self._found: list[ApiError] = []
        self._marks_left = _FREE_MARKS + len(array.body) // _BODY_BYTES_PER_MARK
        self._bytes_left = _BYTES_JUDGED_AGAIN
        #: Elements in front of the chunk at hand.
        self.passed = 0

    def check_chunk(self, chunk: bytes) -> int:
        """Check an array of elements; return their number. Raises msgspec.DecodeError if it is cut within one.

        Raises ApiError if there are faults, and no more are looked for.
        """
        count = self._count_if_sure(chunk)
        if count is not None:
            return count
        elements = _elements.decode(chunk)
        alone = len(elements) == 1  # perhaps a long element, which is not copied; a chunk of several is short
        if alone and len(chunk) > _LONGEST_CHUNK and self._count_if_sure(b"[%b]" % elements[0]) is not None:
            return 1  # only white space made the chunk long
        for place in self._unsure(elements, 0, len(elements)):
            if alone:
                element = Source(chunk, self._depth, 1, chunk.rindex(b"]"))
            else:
                element = Source(bytes(elements[place]), self._depth)
            self._examine(element, f"{self._path}[{self.passed + place}]")
        return len(elements)

    def _count_if_sure(self, chunk: bytes) -> int | None:
        return self._fast.count_chunk(chunk) if len(chunk) <= _LONGEST_CHUNK else None

    def _unsure(self, elements: list[msgspec.Raw], start: int, end: int) -> Iterator[int]:
        """Yield the place of each element that is not sure to be right, of a part where there is one."""
        if end - start <= 1:
            yield from range(start, end)
            return
        size = -(-(end - start) // _PARTS)
        for first in range(start, end, size):
            behind = min(first + size, end)
            if not self._is_sure(elements[first:behind]):
                yield from self._unsure(elements, first, behind)

    def _is_sure(self, part: list[msgspec.Raw]) -> bool:
        chunk = b"[%b]" % b",".join(part)
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            self.raise_any(more=True)
        return self._count_if_sure(chunk) is not None

    def _examine(self, element: Source, path: str) -> None:
        """Check an element; keep its fault."""
        if len(self._found) == MAX_FAULTS or self._marks_left < 0:
            self.raise_any(more=True)
        try:
            self._check(element, path)
        except ApiError as fault:
            self._found.append(fault)
            marks = min(sum(map(element.body.count, _MARKS)), _MOST_MARKS)
            self._marks_left -= max(marks, len(element.body) // _ELEMENT_BYTES_PER_MARK)

    def raise_any(self, *, more: bool = False) -> None:
        """Raise the first fault, with all. `more`: whether there are elements that were not looked at."""
        if self._found:
            first = self._found[0]
            first.faults = [fault.description() for fault in self._found]
            first.more_faults = more
            raise first

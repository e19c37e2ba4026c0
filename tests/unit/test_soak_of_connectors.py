"""The judge of `python -m tests.soak.connectors` sees one lost, doubled or displaced row."""

from __future__ import annotations

import pytest

from tests.soak.connectors import faults_of
from tests.soak.numbered_rows import SPAN

#: Two processes: the second puts number 2 again, which the first had put and not told.
IDS = [SPAN, SPAN + 1, SPAN + 2, 2 * SPAN + 2, 2 * SPAN + 3]


@pytest.mark.parametrize(
    ("ids", "received", "found"),
    [
        (IDS, 5, []),
        ([one for one in IDS if one != SPAN + 1], 4, ["1 numbers are missing: [1]"]),
        (IDS, 6, ["1 rows are doubled."]),
        ([IDS[1], IDS[0], *IDS[2:]], 5, [f"1 rows are out of order: [({IDS[1]}, {IDS[0]})]"]),
        ([*IDS[:2], *IDS[3:], IDS[2]], 5, [f"1 rows are out of order: [({IDS[4]}, {IDS[2]})]"]),
    ],
)
def test_each_fault_is_found(ids: list[int], received: int, found: list[str]) -> None:
    assert faults_of(ids, received, told=4) == found

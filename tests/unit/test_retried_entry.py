"""A dead letter that comes again is as old as it was: the first id counts, not the new one."""

from __future__ import annotations

import json

from shared.entry import Entry
from shared.request_id import position_of_entry
from tests.folded import folded

LANE, FIRST, SECOND = 3, "1700000000000-1", "1700000000000-2"


def entry(entry_id: str, state: int, *more: bytes) -> Entry:
    body = json.dumps({"stream": "s", "items": [{"id": "a", "fields": {"n": state}}]}).encode()
    return Entry.decode(entry_id.encode(), [b"c", b"1", b"m", b'{"kind":"items"}', b"n", b"1", b"b", body, *more])


def retried(entry_id: str, state: int) -> Entry:
    return entry(entry_id, state, b"o", FIRST.encode())


def test_an_entry_stands_where_it_was_first_accepted() -> None:
    assert entry(SECOND, 1).accepted_as == SECOND
    assert retried("1800000000000-7", 1).accepted_as == FIRST
    assert retried("1800000000000-7", 1).entry_id == "1800000000000-7", "by which Redis settles it"


def test_a_retried_entry_does_not_replace_the_newer_state_before_it_in_the_slice() -> None:
    result = folded(LANE, [entry(SECOND, 2), retried("1800000000000-7", 1)])

    assert json.loads(bytes(result.items[1, "s", "a"][1].fields)) == {"n": 2}
    assert [receipt.version for receipt in result.receipts] == [
        position_of_entry(LANE, SECOND).version,
        position_of_entry(LANE, FIRST).version,
    ]
    assert result.highest_version == position_of_entry(LANE, SECOND).version

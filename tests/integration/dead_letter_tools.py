"""Dead letters for tests of them.

A letter that is to be applied in the end dies of a constraint that the test adds and takes away again: a fault of ours
that was mended.
"""

from __future__ import annotations

from typing import Any

from operations import dead_letters
from operations.dead_letters import Choice, Room, Step
from shared.request_id import position_of_entry
from tests.integration.ingestctl_tools import Ingestctl
from tests.integration.lane_tools import NO_LIMIT, Lane

AMPLE = Room(NO_LIMIT, NO_LIMIT)


def request_id(lane: Lane, entry_id: str) -> str:
    return position_of_entry(lane.number, entry_id).request_id


def break_items(lane: Lane) -> None:
    lane.connection.execute("ALTER TABLE items ADD CONSTRAINT broken CHECK (id NOT LIKE 'bad%') NOT VALID")


def mend_items(lane: Lane) -> None:
    lane.connection.execute("ALTER TABLE items DROP CONSTRAINT broken")


def dead_item(lane: Lane) -> str:
    """A letter that can be applied once `mend_items` was called; its request's id. Items are broken from here on."""
    break_items(lane)
    found = request_id(lane, lane.append({"id": "bad", "fields": {"n": 1}}))
    lane.drain_once()
    assert len(letters(lane)) == 1
    return found


def dead_text(lane: Lane, body: bytes = b"not json") -> str:
    """A letter that dies whenever it is tried."""
    found = request_id(lane, lane.append(raw=body))
    lane.drain_once()
    return found


def letters(lane: Lane) -> list[dict[str, Any]]:
    return lane.rows("SELECT * FROM dead_letters ORDER BY version")


def hand_back(lane: Lane, room: Room = AMPLE, **choice: Any) -> list[Step]:
    meant = dead_letters.count(lane.connection, Choice(**choice))
    return list(dead_letters.retry(lane.connection, lane.redis, meant, room))


def state(ingestctl: Ingestctl, sent_as: str) -> str:
    return str(ingestctl.json("trace", sent_as)["state"])

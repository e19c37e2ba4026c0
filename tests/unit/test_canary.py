"""The canary tells each way in which a promise can be broken, and none if it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from operations.canary import Answer, Canary, FrontDoor

AT = "2026-01-02T03:04:0{}.000Z"


class Door(FrontDoor):
    """A service that answers as it is told."""

    def __init__(self, *, ids: tuple[str, ...] = ("req_1", "req_1"), statuses: tuple[int, ...] = (202, 202)) -> None:
        self.ids, self.statuses = list(ids), list(statuses)
        self.told = Answer(200, {"state": "applied", "receivedAt": AT.format(1), "appliedAt": AT.format(2)})

    def submit(self, *_: object, **__: object) -> Answer:
        status, request_id = self.statuses.pop(0), self.ids.pop(0)
        return Answer(status, {"requestId": request_id} if status == 202 else {})

    def outcome(self, *_: object, **__: object) -> Answer:
        return self.told


def told(**found: Any) -> Answer:
    return Answer(200, {"state": "applied", "receivedAt": AT.format(1), "appliedAt": AT.format(2), **found})


@pytest.mark.parametrize(
    ("door", "outcome", "faults"),
    [
        (Door(), told(), []),
        (Door(statuses=(0, 202)), told(), []),
        (Door(statuses=(503, 503)), told(), ["refused"]),
        (Door(ids=("req_1", "req_2")), told(), ["double"]),
        (Door(), told(state="queued"), ["late"]),
        (Door(), told(appliedAt=AT.format(9)), ["late"]),
        (Door(), told(state="dead"), ["missing"]),
        (Door(), Answer(404, {}), ["missing"]),
        (Door(), Answer(0, {}), ["late"]),
    ],
)
def test_each_fault_is_told(door: Door, outcome: Answer, faults: list[str]) -> None:
    door.told = outcome

    assert Canary(door, late_seconds=5).round() == faults


def test_what_comes_out_of_order_is_told() -> None:
    door = Door(ids=("req_2", "req_2", "req_1", "req_1", "req_3", "req_3"), statuses=(202,) * 6)
    canary = Canary(door, late_seconds=5)
    assert canary.round() == []
    assert canary.round() == ["out_of_order"]
    door.told = told(appliedAt=AT.format(1))
    assert canary.round() == ["out_of_order"]

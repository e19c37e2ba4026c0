"""The canary tells each way in which a promise can be broken, and none if it is kept."""

from __future__ import annotations

import socket
import threading
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

    assert Canary(door, late_seconds=5).round().faults == faults


def test_what_comes_out_of_order_is_told() -> None:
    door = Door(ids=("req_2", "req_2", "req_1", "req_1", "req_3", "req_3"), statuses=(202,) * 6)
    canary = Canary(door, late_seconds=5)
    assert canary.round().faults == []
    assert canary.round().faults == ["out_of_order"]
    door.told = told(appliedAt=AT.format(1))
    assert canary.round().faults == ["out_of_order"]


def test_what_was_late_is_asked_for_until_it_is_applied_or_missing() -> None:
    door = Door(ids=tuple(f"req_{number // 2}" for number in range(8)), statuses=(202,) * 8)
    canary = Canary(door, late_seconds=5)
    door.told = told(state="queued")
    assert canary.round().faults == ["late"]

    door.told = told(appliedAt=AT.format(3))
    assert canary.round().faults == []
    assert canary.round().faults == []

    door.told = Answer(404, {})
    assert canary.round().faults == ["missing"]


def test_a_late_submission_that_is_gone_is_missing_once() -> None:
    door = Door(ids=("req_1", "req_1", *[""] * 4), statuses=(202, 202, 503, 503, 503, 503))
    canary = Canary(door, late_seconds=5)
    door.told = told(state="queued")
    assert canary.round().faults == ["late"]

    door.told = Answer(404, {})

    assert canary.round().faults == ["missing", "refused"]
    assert canary.round().faults == ["refused"]


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n[]", "no answer: 202, and no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<p>Wait.", "no answer: 200, and no JSON"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", "no answer: 503, and no JSON"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "no answer: 302, and no JSON",
        ),
        (b"nonsense\r\n\r\n", "no answer: nonsense"),
        (b"", "no answer: Remote end closed connection without response"),
    ],
)
def test_what_is_no_answer_of_the_service_ends_nothing(raw: bytes, answer: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_once, args=(listener, raw), daemon=True).start()

        got = FrontDoor(f"http://127.0.0.1:{listener.getsockname()[1]}", "ik_a_b").submit(1, "key")

    assert str(got).startswith(answer)


def _answer_once(listener: socket.socket, raw: bytes) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(65_536)
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):  # the rest of the request, which would reset the connection
            pass

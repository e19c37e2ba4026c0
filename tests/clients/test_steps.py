"""The core against a clock that moves only when it waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from inspire_ingest import NotNow, OutboxFull
from inspire_ingest.calls import heartbeats
from inspire_ingest.core import Core
from inspire_ingest.delivery import Steps, pump
from inspire_ingest.encoding import Encoder, exact_text
from inspire_ingest.exchange import Answer, Request
from inspire_ingest.options import Options

ENCODER = Encoder(exact_text)
ACCEPTED = Answer(202, b'{"requestId":"req_1"}')


class World:
    """A core, the time, and each request with the second in which it was sent."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, Request]] = []
        self.answers: list[Answer] = []
        self.core = Core(Options(**options), clock=lambda: self.now, chance=lambda: 0.0)
        self.lane = self.core.lane("agents")

    def put(self, *ids: int) -> None:
        for one in ids:
            self.lane.add(ENCODER.item(one, None, None, None), self.now)

    def run(self, steps: Steps[Any], until: float) -> None:
        """Run steps up to a time, when they would wait for longer."""
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Request):
                self.sent.append((self.now, step))
                answer = self.answers.pop(0) if self.answers else ACCEPTED
            elif step.seconds is None or self.now + step.seconds > until:
                self.now = until
                return
            else:
                self.now += step.seconds

    def ids(self) -> list[list[str]]:
        return [[item["id"] for item in json.loads(request.body)["items"]] for _, request in self.sent]


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(**options: Any) -> World:
        made.append(World(**options))
        return made[-1]

    yield make
    for one in made:
        one.core.finish()


def test_a_batch_is_sent_when_its_first_row_is_a_second_old(world: Callable[..., World]) -> None:
    ours = world()
    ours.put(1, 2)
    ours.run(pump(ours.core, ours.lane), until=10)

    assert [moment for moment, _ in ours.sent] == [1.0]


def test_a_full_batch_is_sent_at_once(world: Callable[..., World]) -> None:
    ours = world(batch_items=2)
    ours.put(1, 2)
    ours.run(pump(ours.core, ours.lane), until=10)

    assert [moment for moment, _ in ours.sent] == [0.0]


def test_a_retry_waits_as_long_as_it_is_told_and_keeps_its_key(world: Callable[..., World]) -> None:
    ours = world(batch_items=1)
    ours.answers = [Answer(429, headers={"retry-after": "7"}), Answer(0, b"ConnectError"), Answer(503)]
    ours.put(1)
    ours.run(pump(ours.core, ours.lane), until=60)

    assert [moment for moment, _ in ours.sent] == [0.0, 7.0, 7.25, 7.75]
    assert len({request.headers["Idempotency-Key"] for _, request in ours.sent}) == 1


def test_one_batch_of_a_stream_is_on_its_way_at_a_time(world: Callable[..., World]) -> None:
    ours = world(batch_items=1)
    steps = pump(ours.core, ours.lane)
    for number in (1, 2):
        ours.put(number)
        ours.core.seal(ours.lane)
    ours.answers = [Answer(503), Answer(503), ACCEPTED]

    ours.run(steps, until=30)

    assert ours.ids() == [["1"], ["1"], ["1"], ["2"]]


def test_a_heartbeat_is_sent_a_minute_after_the_last_sign_of_life(world: Callable[..., World]) -> None:
    ours = world()
    steps = heartbeats(ours.core)
    ours.run(steps, until=30)
    ours.core.accepted_at = 30
    ours.run(steps, until=200)

    assert [moment for moment, _ in ours.sent] == [0, 90, 150]


def test_a_flush_and_a_put_end_in_time(world: Callable[..., World]) -> None:
    ours = world(outbox_bytes=10, batch_items=1, room_seconds=5)
    ours.put(1)
    with pytest.raises(NotNow, match="not flushed in time"):
        ours.run(ours.core.flush(ours.lane, "accepted", 3), until=60)
    ours.put(2)
    with pytest.raises(OutboxFull):
        ours.run(ours.core.put(ours.lane, b"{}"), until=60)

    assert ours.now == 8

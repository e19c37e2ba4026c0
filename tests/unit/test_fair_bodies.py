"""One connector's bodies take room, time and turns from itself, not from others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

import pytest

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.memory import LARGEST_BODY_BYTES, MemoryBudget, Reservation, share_of
from ingest_api.http.pace import MAX_BODY_SECONDS, PERIOD_BYTES, PERIOD_SECONDS, Pace
from ingest_api.http.turns import MAX_WAITING, BodyThreads, Ticket, TurnQueue
from shared.limits import MAX_BODY_BYTES, MB

HOSTILE, OTHER, THIRD = 1, 2, 3
LARGE, SMALL = MAX_BODY_BYTES, MB


def refusal_of(reservation: Reservation, size: int) -> ErrorCode:
    with pytest.raises(ApiError) as caught:
        reservation.claim(size)
    return caught.value.code


def test_a_share_is_a_quarter_and_at_least_the_largest_body_in_both_forms() -> None:
    assert share_of(512 * MB) == 128 * MB
    assert share_of(64 * MB) == LARGEST_BODY_BYTES == 60 * MB


def test_a_connector_beyond_its_share_is_refused_and_others_are_not() -> None:
    budget = MemoryBudget(512 * MB)
    with Reservation(budget, HOSTILE) as held:
        held.claim(128 * MB)
        assert refusal_of(Reservation(budget, HOSTILE), 1) is ErrorCode.CONNECTOR_OVERLOADED
        with Reservation(budget, OTHER) as other:
            other.grow_to(128 * MB)
            assert refusal_of(other, 128 * MB + 1) is ErrorCode.CONNECTOR_OVERLOADED
    with Reservation(budget, HOSTILE) as again:
        again.grow_to(128 * MB)
    assert budget.used == 0


def test_a_declaration_alone_takes_no_room_from_other_connectors() -> None:
    budget = MemoryBudget(128 * MB)
    with Reservation(budget, HOSTILE) as declared, Reservation(budget, THIRD) as too:
        declared.claim(60 * MB)
        too.claim(60 * MB)
        with Reservation(budget, OTHER) as other:
            other.grow_to(60 * MB)
        too.grow_to(60 * MB)
        declared.grow_to(50 * MB)
        with Reservation(budget, OTHER) as late:
            assert refusal_of(late, 30 * MB) is ErrorCode.OVERLOADED


def arrive(pace: Pace, pieces: Iterable[tuple[float, int]]) -> float:
    """Return when the body is given up, or infinity."""
    now = 0.0
    for seconds, size in pieces:
        now += seconds
        if now > (deadline := pace.deadline(now - seconds)):
            return deadline
        pace.add(size, now)
    return float("inf")


def paced(declared: int) -> Pace:
    return Pace(0, idle_seconds=15, declared=declared)


@pytest.mark.parametrize("declared", [30 * MB, 0])
@pytest.mark.parametrize("first", [PERIOD_BYTES + 1, 29 * MB])
def test_half_of_a_large_body_that_goes_on_in_drips_is_given_up(declared: int, first: int) -> None:
    assert arrive(paced(declared), [(1, first)] + [(4, 1)] * 100) == 1 + PERIOD_SECONDS


def test_a_large_body_that_only_drips_is_given_up_if_its_length_is_known() -> None:
    assert arrive(paced(30 * MB), [(4, 1)] * 100) == PERIOD_SECONDS


def test_a_small_body_may_drip_and_a_large_one_may_come_at_the_lowest_rate() -> None:
    assert arrive(paced(PERIOD_BYTES), [(4, 1)] * 70) == float("inf")
    assert arrive(paced(0), [(4, 1)] * 70) == float("inf")
    second = PERIOD_BYTES // int(PERIOD_SECONDS) + 1
    assert arrive(paced(second * 290), [(1, second)] * 290) == float("inf")


def test_every_body_is_given_up_at_a_pause_and_in_the_end() -> None:
    assert arrive(paced(0), [(14, 1), (16, 1)]) == 14 + 15
    assert arrive(paced(30 * MB), [(1, MB // 10)] * 400) == MAX_BODY_SECONDS


class Turns:
    """A queue, and whose turn came, in order."""

    def __init__(self) -> None:
        self.queue = TurnQueue(3)
        self.begun: list[Ticket] = []

    def enter(self, connector_id: int, size: int = LARGE) -> Ticket:
        ticket = Ticket(connector_id, is_large=size > MB, begin=lambda: self.begun.append(ticket))
        assert self.queue.enter(ticket)
        return ticket


def test_one_connector_has_one_turn_at_a_time_and_another_does_not_wait() -> None:
    turns = Turns()
    first, second, third = (turns.enter(HOSTILE) for _ in range(3))
    other = turns.enter(OTHER)
    assert turns.begun == [first, other]

    turns.queue.leave(first)
    assert turns.begun == [first, other, second]
    turns.queue.leave(third)  # its client has left
    turns.queue.leave(second)
    assert turns.begun == [first, other, second]


def test_large_bodies_leave_one_place_to_small_ones() -> None:
    turns = Turns()
    large = [turns.enter(connector_id) for connector_id in (HOSTILE, THIRD, 4)]
    small = turns.enter(OTHER, SMALL)
    assert turns.begun == [*large[:2], small]

    turns.queue.leave(large[0])
    assert turns.begun[-1] is large[2]


def test_connectors_that_wait_take_turns() -> None:
    turns = Turns()
    running = [turns.enter(connector_id) for connector_id in (10, 11)]
    waiting = [turns.enter(connector_id) for connector_id in (HOSTILE, HOSTILE, OTHER, THIRD)]
    for ticket in turns.begun:  # it grows meanwhile
        turns.queue.leave(ticket)

    assert turns.begun == [*running, waiting[0], waiting[2], waiting[3], waiting[1]]


def test_a_connector_that_rests_waits_for_its_next_turn_and_others_do_not() -> None:
    turns = Turns()
    first, second = (turns.enter(HOSTILE) for _ in range(2))
    turns.queue.rest(first)
    turns.queue.leave(first)  # once more does no harm
    others = [turns.enter(connector_id) for connector_id in (OTHER, THIRD)]
    assert turns.begun == [first, *others]

    turns.queue.leave(others[0])
    turns.queue.wake(HOSTILE)
    assert turns.begun[-1] is second


def test_a_connector_with_too_many_waiting_bodies_is_refused() -> None:
    turns = Turns()
    for _ in range(MAX_WAITING + 1):
        turns.enter(HOSTILE, SMALL)

    assert not turns.queue.enter(Ticket(HOSTILE, is_large=False, begin=lambda: None))
    turns.enter(OTHER, SMALL)


def test_work_is_dropped_if_its_client_leaves_before_it_begins() -> None:
    release, worked = threading.Event(), list[str]()

    def work(name: str) -> Callable[[], None]:
        def done() -> None:
            release.wait(60)
            worked.append(name)

        return done

    async def scenario() -> None:
        threads = BodyThreads()

        def run(name: str, *, left: bool) -> asyncio.Task[None]:
            run = threads.run(work(name), HOSTILE, is_large=True, has_left=lambda: left, was_cheap=lambda _: False)
            return asyncio.create_task(run)

        # The client of the first one leaves, too, but after its work has begun.
        tasks = run("first", left=True), run("second", left=True), run("third", left=False)
        await asyncio.sleep(0)
        release.set()
        _, refused, _ = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(refused, ApiError)
        assert refused.code is ErrorCode.CONNECTOR_OVERLOADED

    asyncio.run(scenario())

    assert worked == ["first", "third"]

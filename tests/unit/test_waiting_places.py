"""One connector can't take all places of requests that wait for a status."""

from __future__ import annotations

from ingest_api.waiting_places import WaitingPlaces


def test_a_connector_has_its_share_and_gets_places_back() -> None:
    places = WaitingPlaces(places=10, of_connector=3)
    first, *_ = [places.take(1) for _ in range(3)]
    assert places.take(1) is None
    assert first is not None

    places.give_back(first)

    assert places.take(1) is not None
    assert places.taken == 3


def test_if_all_are_taken_the_connector_that_holds_most_loses_its_oldest() -> None:
    places = WaitingPlaces(places=6, of_connector=5)
    greedy = [places.take(1) for _ in range(5)]
    modest = places.take(2)

    late = [places.take(3) for _ in range(3)]

    assert [one.is_taken_away for one in greedy if one] == [True, True, False, False, False]
    assert modest is not None
    assert not modest.is_taken_away
    assert late[0] is not None
    assert late[1] is not None
    assert late[2] is None, "each would have as many"
    for one in (*greedy, modest, *late):
        if one is not None:
            places.give_back(one)
    assert places.taken == 0

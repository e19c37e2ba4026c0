"""Which status requests may wait in a process, and which connector gives way if all places are taken. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

#: Maximum number of requests that wait in one process, of all connectors and of one; the others get the present state.
_PLACES: Final = 500
_PLACES_OF_CONNECTOR: Final = 50


class Place:
    """A place of one request."""

    __slots__ = ("connector_id", "is_taken_away")

    def __init__(self, connector_id: int) -> None:
        self.connector_id = connector_id
        #: Another connector has it now: the request gets the present state.
        self.is_taken_away = False


class WaitingPlaces:
    """The places of one process."""

    def __init__(self, places: int = _PLACES, of_connector: int = _PLACES_OF_CONNECTOR) -> None:
        self._places = places
        self._of_connector = of_connector
        #: The places that each connector holds, the oldest first.
        self._held: dict[int, deque[Place]] = {}
        self.taken = 0

    def take(self, connector_id: int) -> Place | None:
        """Return a place; None if the connector has its share.

        If all are taken, the connector that holds most loses its oldest one.
        """
        mine = len(self._held.get(connector_id, ()))
        if mine >= self._of_connector:
            return None
        if self.taken == self._places:
            most = max(self._held.values(), key=len)
            if len(most) <= mine + 1:
                return None
            self._take_away(most[0])
        place = Place(connector_id)
        self._held.setdefault(connector_id, deque()).append(place)
        self.taken += 1
        return place

    def give_back(self, place: Place) -> None:
        """Free a place; one that was taken away is free already."""
        if not place.is_taken_away:
            self._take_away(place)

    def _take_away(self, place: Place) -> None:
        place.is_taken_away = True
        held = self._held[place.connector_id]
        held.remove(place)
        if not held:
            del self._held[place.connector_id]
        self.taken -= 1

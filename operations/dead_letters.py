"""Dead letters, as operators deal with them: count those that are meant, hand them back to their lanes, drop them.

A retried letter goes through its lane. It is appended to the stream again together with the id under which it was first
accepted, and whoever drains the lane folds and writes it like any entry, but with that id's version. From this follows:

- it can't overwrite what is newer (the version guard of every write), and its log entries appear once (their key);
- the letter stays in Postgres until the transaction that writes its receipt takes it out. So whenever we are killed,
  and if Redis loses its memory, nothing is lost; and a letter that is retried twice is applied once;
- one that dies again stays one row, with the newer reason;
- its request's status says `dead` until it is applied, never that it is unknown.

Folding it here instead would need the workers' code on this side, and a second writer beside the lane's drain. What
the lane costs: a letter that is dropped while its retry is still waiting there is applied all the same.

Letters may be 30 MB each and any number: one is in memory at a time, and they wait in Redis only as far as there is
room. Of each bound of the backlog they take half at most, so that they never make the API refuse what comes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from redis import Redis

from shared.entry import backlog_cost
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.names import lane_keys
from shared.redis.scripts import Scripts
from shared.redis.wakeups import LEASE_MS, enqueue_drain, new_job_id, wake_queue
from shared.request_id import MAX_SEQUENCE, Position, position_of_version

_KEYS_A_PAGE: Final = 500
#: Retries take so much of the backlog's bounds, as a divisor.
_SHARE: Final = 2
#: Where nothing is drained for so long, nobody drains.
_PATIENCE_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 0.1


class RetryError(Exception):
    """Letters can't be handed back now; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters an operator means: each part counts where it is given."""

    connector_id: int | None = None
    reason: str | None = None
    fingerprint: str | None = None
    #: When they died, as Postgres reads it.
    since: str | None = None
    positions: Sequence[Position] = ()

    def values(self) -> dict[str, Any]:
        """What the queries take."""
        return {
            "connector_id": self.connector_id,
            "reason": self.reason,
            "fingerprint": self.fingerprint,
            "since": self.since,
            "lanes": [position.lane for position in self.positions] or None,
            "versions": [position.version for position in self.positions] or None,
        }


@dataclass(frozen=True, slots=True)
class Meant:
    """The letters of a choice, counted: those that died up to `until`, and none that dies while they are dealt with."""

    choice: Choice
    letters: int
    bytes: int
    connectors: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the work that is done now: letters dealt with, and letters that were not there any more."""

    done: int
    gone: int


@dataclass(frozen=True, slots=True)
class Room:
    """The backlog's bounds, as the API has them."""

    in_all: int
    per_connector: int

    def left_for(self, cost: int) -> tuple[int, int]:
        """The bounds for a retried entry; one that is larger than its share waits until nothing else does."""
        return max(self.in_all // _SHARE, cost), max(self.per_connector // _SHARE, cost)


def count(connection: Connection, choice: Choice) -> Meant:
    """Counts the letters of a choice."""
    row = connection.execute(sql("count_dead_letters"), choice.values()).fetchall()[0]
    return Meant(choice, row["letters"], row["bytes"], row["connectors"], row["until"])


def missing(connection: Connection, meant: Meant) -> list[Position]:
    """Positions of the choice at which there is no letter."""
    found = {(row["lane"], row["version"]) for page in _pages(connection, meant) for row in page}
    return [one for one in meant.choice.positions if (one.lane, one.version) not in found]


def read(connection: Connection, position: Position) -> dict[str, Any] | None:
    """One letter, whole, as `select_dead_letter` has it."""
    # Binary: a body as text would be twice its size.
    with connection.cursor(binary=True) as cursor:
        cursor.execute(sql("select_dead_letter"), {"lane": position.lane, "version": position.version})
        return cursor.fetchone()


def drop(connection: Connection, meant: Meant) -> Iterator[Step]:
    """Forgets letters, page by page."""
    for page in _pages(connection, meant):
        keys = {name: [row[name[:-1]] for row in page] for name in ("connector_ids", "versions")}
        dropped = connection.execute(sql("drop_dead_letters"), {**keys, "until": meant.until}).rowcount
        yield Step(dropped, len(page) - dropped)


def retry(connection: Connection, redis: Redis, meant: Meant, room: Room) -> Iterator[Step]:
    """Hands letters back to their lanes, in the order in which they were accepted. Raises RetryError."""
    retrier = _Retrier(connection, redis, room)
    for page in _pages(connection, meant):
        for key in page:
            handed = retrier.hand_back(key)
            yield Step(int(handed), int(not handed))


def _pages(connection: Connection, meant: Meant) -> Iterator[list[dict[str, Any]]]:
    """Keys of the letters, each once: what dies again keeps its place in the order, which has been passed."""
    after = {"after_version": 0, "after_connector_id": 0}
    values = {**meant.choice.values(), "until": meant.until, "limit": _KEYS_A_PAGE}
    while page := connection.execute(sql("select_dead_letter_keys"), {**values, **after}).fetchall():
        yield page
        after = {"after_version": page[-1]["version"], "after_connector_id": page[-1]["connector_id"]}


class _Retrier:
    """Appends letters to their lanes as there is room."""

    def __init__(self, connection: Connection, redis: Redis, room: Room) -> None:
        self._connection = connection
        self._scripts = Scripts(redis)
        self._queue = wake_queue(redis)
        self._room = room

    def hand_back(self, key: dict[str, Any]) -> bool:
        """False where the letter is gone: applied by another retry, or dropped."""
        position = position_of_version(key["lane"], key["version"])
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self._wait_for_room(position, key, deadline)
            # Read once there is room for it, and again where an append of the API was quicker.
            letter = read(self._connection, position)
            if letter is None:
                return False
            entry = [letter["meta"], letter["received"], letter["body"], position.entry_id]
            if self._ask("append", position, letter, entry):
                return True

    def _wait_for_room(self, position: Position, key: dict[str, Any], deadline: float) -> None:
        while not self._ask("ask", position, key, []):
            if time.monotonic() > deadline:
                raise RetryError(
                    f"Lane {position.lane} has had no room for {_PATIENCE_SECONDS:.0f} s; `ingestctl status` says why."
                )
            time.sleep(_LOOK_AGAIN_SECONDS)

    def _ask(self, mode: str, position: Position, letter: dict[str, Any], entry: list[Any]) -> bool:
        """One call of the script; false where there is no room. Signals the worker where this is ours to do."""
        names, job_id = lane_keys(position.lane), new_job_id(position.lane)
        cost = backlog_cost(b"") + letter["bytes"]
        word, woken = self._scripts(
            "retry_entry",
            [names.stream, names.lease, names.backlog, names.ready],
            [mode, job_id, LEASE_MS, *self._room.left_for(cost), MAX_SEQUENCE, letter["connector_id"], cost, *entry],
        )
        if word == b"not_ready":
            raise RetryError(f"Lane {position.lane} is not loaded: the sweeper does that, where one runs.")
        if woken:
            # Should we die before this, the lease runs out and the sweeper wakes the lane.
            enqueue_drain(self._queue, position.lane, job_id)
        return bool(word == b"ok")

"""An item that is sent again without a change keeps its row, and still no older state overwrites it.

Submissions of one connector go through its lane in slices of any cut; some die and are retried later, some slices are
delivered again because their worker was killed before it settled them. At every look an item has the state of the
newest submission that was applied so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import errors
from redis import Redis

from shared.postgres.connections import Connection
from shared.request_id import position_of_entry
from tests.integration.dead_letter_tools import mark
from tests.integration.delivery_tools import drain
from tests.integration.lane_tools import Lane
from workers.fold import Slice
from workers.write import Watermarks, Written, write_slice

_EXAMPLES = 40


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


class Model:
    """What was sent, what was applied, and what an item has to look like."""

    def __init__(self, lane: Lane, prefix: str) -> None:
        self._lane = lane
        self._prefix = prefix
        #: By version, in the order of acceptance: item id to state; the last of an id counts.
        self.sent: dict[int, dict[str, int]] = {}
        self.received: dict[int, int] = {}
        #: Submissions that die whenever they are tried.
        self.poisoned: set[int] = set()

    def send(self, items: list[tuple[str, int]], *, poisoned: bool) -> None:
        """Accepts a submission."""
        named = [{"id": f"{self._prefix}{name}", "fields": {"n": state}} for name, state in items]
        version = position_of_entry(self._lane.number, self._lane.append(*named)).version
        self.sent[version] = {f"{self._prefix}{name}": state for name, state in items}
        self.received[version] = len(items)
        if poisoned:
            self.poisoned.add(version)

    def write(
        self, connection: Connection, result: Slice, watermarks: Watermarks, *rest: Any, **options: Any
    ) -> Written:
        """Stands for `write_slice`: what is poisoned is refused as Postgres refuses a value."""
        if self.poisoned & set(result.receipts):
            raise errors.DataException
        return write_slice(connection, result, watermarks, *rest, **options)

    def assert_newest_applied_state_stands(self) -> None:
        """Compares the table with the receipts."""
        applied = {row["version"] for row in self._lane.rows("SELECT version FROM receipts")}
        expected: dict[str, int] = {}
        for version in sorted(self.sent):
            if version in applied:
                expected |= self.sent[version]
        found = self._lane.counters()
        assert {name: state for name, state in found.items() if name.startswith(self._prefix)} == expected

    def assert_receipts_balance(self) -> None:
        """Everything was applied in the end: what was not superseded was written, or stood there already."""
        rows = self._lane.rows("SELECT version, received, superseded FROM receipts")
        found = {row["version"]: row for row in rows if row["version"] in self.sent}
        assert set(found) == set(self.sent)
        for version, items in self.sent.items():
            doubled = self.received[version] - len(items)
            assert doubled <= found[version]["superseded"] <= self.received[version]


_ITEMS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), min_size=1, max_size=2)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), _ITEMS, st.booleans()),
        st.tuples(st.just("send"), _ITEMS, st.just(value=False)),
        st.tuples(st.just("drain"), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("retry"), st.just([]), st.just(value=False)),
    ),
    max_size=14,
)
_numbers = itertools.count()


def _sends(*states: int, dies: tuple[int, ...] = ()) -> list[Any]:
    return [("send", [("a", state)], place in dies) for place, state in enumerate(states)]


#: What looks unchanged hides an older change: one that died, and one whose slice is delivered again in other cuts.
_DEAD_BETWEEN_EQUALS = [*_sends(0, 1, 0, dies=(1,)), ("drain", 1, False), ("retry", [], False)]
_AGAIN_BETWEEN_EQUALS = [*_sends(0), ("drain", 1, False), *_sends(1, 0), ("drain", 4, True), ("drain", 1, True)]


# Each example has items of its own in the one table.
@settings(deadline=None, max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
@example(steps=_DEAD_BETWEEN_EQUALS)
@example(steps=_AGAIN_BETWEEN_EQUALS)
def test_newest_state_stands_whatever_dies_is_retried_or_delivered_again(lane: Lane, steps: list[Any]) -> None:
    model = Model(lane, f"{next(_numbers)}-")
    for word, value, flag in steps:
        if word == "send":
            model.send(value, poisoned=flag)
        elif word == "drain":
            drain(lane, model.write, value, killed=flag)
        else:
            mark(lane)
        model.assert_newest_applied_state_stands()

    model.poisoned.clear()
    drain(lane, model.write, 4, killed=False)
    mark(lane)
    drain(lane, model.write, 4, killed=False)

    model.assert_newest_applied_state_stands()
    model.assert_receipts_balance()
    assert lane.rows("SELECT FROM dead_letters") == []
    lane.assert_empty()


def test_a_row_that_holds_the_same_state_is_not_written(lane: Lane) -> None:
    for _ in range(3):  # the third slice expects what the second one found
        lane.append({"id": "a", "fields": {"n": 1}}, {"id": "b", "fields": {"n": 1.5}})
        lane.drain_once()
    lane.append({"id": "b", "fields": {"n": 1.5}}, {"id": "c"})
    lane.drain_once()

    first, *_ = receipts = [row["version"] for row in lane.rows("SELECT version FROM receipts ORDER BY version")]

    rows = lane.rows("SELECT id, version, xmax::text FROM items ORDER BY id")
    assert [(row["id"], row["version"]) for row in rows] == [("a", first), ("b", first), ("c", receipts[-1])]
    assert {row["superseded"] for row in lane.rows("SELECT superseded FROM receipts")} == {0}


@pytest.mark.parametrize("state", [b'{"n":1.50}', b'{"n":"1.5"}', b'{"n":1.5,"m":null}', b"{}"])
def test_a_change_that_only_the_stored_bytes_tell_is_a_change(lane: Lane, state: bytes) -> None:
    lane.append({"id": "a", "fields": {"n": 1.5}})
    lane.drain_once()
    lane.append(raw=b'{"stream":"agents","items":[{"id":"a","fields":%b}]}' % state)
    lane.drain_once()

    (row,) = lane.rows("SELECT fields::text AS fields FROM items")

    assert row["fields"].replace(" ", "").encode() == state or row["fields"] == '{"m": null, "n": 1.5}'


def test_a_late_submission_tells_what_a_newer_state_superseded(lane: Lane) -> None:
    model = Model(lane, "")
    model.send([("a", 1), ("b", 1)], poisoned=True)
    model.send([("a", 2)], poisoned=False)
    drain(lane, model.write, 4, killed=False)
    model.poisoned.clear()
    mark(lane)
    drain(lane, model.write, 4, killed=False)

    rows = lane.rows("SELECT received, superseded FROM receipts ORDER BY version")
    assert [(row["received"], row["superseded"]) for row in rows] == [(2, 1), (1, 0)]
    assert lane.counters() == {"a": 2, "b": 1}

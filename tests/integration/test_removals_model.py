"""Whatever is sent, dies, is retried or delivered again: the table is what a simple model of the stream says.

The model replays the submissions that were applied, in the order in which they were accepted. It also says beforehand
which retain would remove too much, and how many rows each submission removes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import errors
from redis import Redis

from shared.entry import Meta
from shared.json_chunks import chunks
from shared.postgres.connections import Connection
from shared.request_id import position_of_entry
from tests.integration.dead_letter_tools import mark
from tests.integration.delivery_tools import drain
from tests.integration.lane_tools import Lane
from workers import decoding, fold, retained
from workers.fold import Slice
from workers.write import Watermarks, Written, write_slice

_EXAMPLES = 60
#: Sorted otherwise by a language's rules than by their bytes.
_IDS = ["a", "B", "a-b", "é"]
_MEANS_DELETED = None

#: An item's state, by its id.
Batch = list[tuple[str, int | None]]
Rows = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Sent:
    """A submission: a batch, or a retain."""

    version: int
    batch: Batch = field(default_factory=list)
    retains: list[str] | None = None
    at_most: int | None = None

    @property
    def received(self) -> int:
        return len(self.batch if self.retains is None else self.retains)

    def others(self, rows: Rows) -> list[str]:
        return [one for one, (version, _) in rows.items() if version < self.version and one not in (self.retains or [])]

    def apply(self, rows: Rows) -> None:
        for one, state in self.batch:
            rows.pop(one, None)
            if state is not _MEANS_DELETED:
                rows[one] = self.version, state
        if self.retains is not None:
            for one in self.others(rows):
                del rows[one]


def replayed(applied: dict[int, Sent]) -> Rows:
    rows: Rows = {}
    for version in sorted(applied):
        applied[version].apply(rows)
    return rows


class Model:
    """One stream of one connector."""

    def __init__(self, lane: Lane, stream: str) -> None:
        self.lane = lane
        self._stream = stream
        self.sent: dict[int, Sent] = {}
        self.applied: dict[int, Sent] = {}
        #: Rows that each submission removes if it is applied alone.
        self._alone: dict[int, int] = {}
        self.poisoned: set[int] = set()
        self._lifted: set[int] = set()

    def send(self, batch: Batch, retains: list[str] | None, at_most: int | None, *, poisoned: bool) -> None:
        items = [{"id": one, "deleted": True} if n is None else {"id": one, "fields": {"n": n}} for one, n in batch]
        kind = "items" if retains is None else "retain"
        body: dict[str, Any] = {"stream": self._stream, "items": items}
        if retains is not None:
            body = {"stream": self._stream, "ids": retains, **({} if at_most is None else {"atMost": at_most})}
        received = len(items if retains is None else retains)
        _, answer = self.lane.ask("append", json.dumps(body).encode(), meta=Meta(kind), count=received)
        version = position_of_entry(self.lane.number, answer[-1]).version
        self.sent[version] = Sent(version, batch, retains, at_most)
        if poisoned:
            self.poisoned.add(version)

    def write(
        self, connection: Connection, result: Slice, watermarks: Watermarks, *rest: Any, **options: Any
    ) -> Written:
        """Stands for `write_slice`: what is poisoned is refused as Postgres refuses a value."""
        if self.poisoned & set(result.receipts):
            raise errors.DataException
        after, removes_too_many = dict(self.applied), False
        for version in sorted(result.receipts):
            one, before = self.sent[version], replayed(after)
            bound = None if options["are_letters"] and version in self._lifted else one.at_most
            removes_too_many |= bound is not None and len(one.others(before)) > bound
            after[version] = one
            self._alone[version] = len(before.keys() - replayed(after).keys())
        try:
            written = write_slice(connection, result, watermarks, *rest, **options)
        except errors.IntegrityError:
            assert removes_too_many
            raise
        assert not removes_too_many
        self.applied = after
        self.check_receipts(set(result.receipts))
        return written

    def retry(self, *, lift_bound: bool) -> None:
        if lift_bound:
            self._lifted |= {row["version"] for row in self.lane.rows("SELECT version FROM dead_letters")}
        mark(self.lane, lift_bound=lift_bound)

    def check_rows(self) -> None:
        rows = self.lane.rows("SELECT stream, id, fields FROM items")
        found = {row["id"]: row["fields"]["n"] for row in rows if row["stream"] == self._stream}
        assert found == {one: state for one, (_, state) in replayed(self.applied).items()}

    def check_receipts(self, versions: set[int]) -> None:
        rows = self.lane.rows("SELECT version, received, superseded, removed FROM receipts")
        found = {row["version"]: row for row in rows if row["version"] in versions}
        assert set(found) == versions
        for version, row in found.items():
            assert row["received"] == self.sent[version].received >= row["superseded"]
            one, removed = self.sent[version], row["removed"]
            # What a batch brings and deletes again is written in between if the batch is written in parts.
            repeats = len(one.batch) - len(dict(one.batch))
            assert removed <= self._alone[version] + repeats
            if len(versions) == 1:
                assert removed >= self._alone[version]

    def check_ledger(self) -> None:
        dead = {row["version"]: row["received"] for row in self.lane.rows("SELECT version, received FROM dead_letters")}
        mine = {version: received for version, received in dead.items() if version in self.sent}
        assert set(self.applied) | set(mine) == set(self.sent)
        assert not set(self.applied) & set(mine)
        assert all(self.sent[version].received == received for version, received in mine.items())


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


_NAMES = st.sampled_from(_IDS)
_BATCHES = st.lists(st.tuples(_NAMES, st.sampled_from([0, 1, None])), min_size=1, max_size=3)
_SENDS = st.tuples(st.just("send"), _BATCHES, st.none(), st.none())
_RETAINS: st.SearchStrategy[Any] = st.tuples(
    st.just("send"), st.just([]), st.lists(_NAMES, max_size=3), st.sampled_from([None, 0, 1, 2])
)
_STEPS = st.lists(
    st.one_of(
        st.tuples(_SENDS, st.booleans()),
        st.tuples(_SENDS, st.just(value=False)),
        st.tuples(_RETAINS, st.sampled_from([False, False, True])),
        st.tuples(st.tuples(st.just("drain"), st.integers(1, 4)), st.booleans()),
        st.tuples(st.tuples(st.just("retry")), st.booleans()),
        st.tuples(st.tuples(st.just("mend")), st.just(value=False)),
    ),
    max_size=16,
)
_numbers = itertools.count()

_DRAIN, _MEND, _RETRY = (("drain", 1), False), (("mend",), False), (("retry",), False)


def _batch(*batch: tuple[str, int | None], dies: bool = False) -> Any:
    return ("send", list(batch), None, None), dies


#: An older deletion, retried, removes the row without which a retain would not have known the item.
_ROW_BETWEEN_LETTERS = [
    _batch(("a", 0)),
    _DRAIN,
    _batch(("a", None), dies=True),
    _batch(("a", 1), dies=True),
    (("send", [], ["a"], None), False),
    _DRAIN,
    _MEND,
    _RETRY,
    _DRAIN,
]


# Each example has a stream of its own in the one table.
@settings(deadline=None, max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, small=st.booleans())
@example(steps=_ROW_BETWEEN_LETTERS, small=False)
def test_any_sequence_in_any_slicing_gives_the_state_of_the_model(lane: Lane, steps: list[Any], *, small: bool) -> None:
    model = Model(lane, f"s{next(_numbers)}")
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(fold, "PART_ROWS", 2)
            patch.setattr(decoding, "CHUNK_BYTES", 1)
            patch.setattr(decoding, "chunks", partial(chunks, size=30))
            patch.setattr(retained, "RANGE_IDS", 1)
            patch.setattr(retained, "_SAMPLED_EVERY", 1)
        for (word, *values), flag in steps:
            if word == "send":
                model.send(*values, poisoned=flag)
            elif word == "drain":
                drain(lane, model.write, *values, killed=flag)
            elif word == "retry":
                model.retry(lift_bound=flag)
            else:
                model.poisoned.clear()
            model.check_rows()

        model.poisoned.clear()
        drain(lane, model.write, 4)
        model.check_ledger()
        model.retry(lift_bound=True)
        drain(lane, model.write, 4)

    model.check_rows()
    assert set(model.applied) == set(model.sent)
    assert lane.rows("SELECT FROM dead_letters") == []
    lane.assert_empty()

"""Whatever is accepted can be applied, and reads back as what was sent. That is what each 202 promises.

Submissions of every route go the way that they go in production, but for HTTP and Redis: what the route has judged
becomes an entry in the form that a lane's stream holds, and the entries that were accepted are folded and written as
one slice. What is then in Postgres is held against the source text, as the standard library reads it.

EXAMPLES says how many submissions are made, about. For as many as take longer than a test may:
`EXAMPLES=100000 python -m pytest -n 0 -s -o faulthandler_timeout=0` with this file.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest_api.errors import ApiError
from ingest_api.validation import validate
from shared.entry import Entry, Meta, encode_meta
from shared.kinds import COUNTED, KINDS
from shared.postgres.connections import Connection, connect_postgres
from shared.request_id import position_of_entry
from tests.bodies import BATCHES, HEARTBEATS, LOGS, RETAINS, altered, damaged, webhooks
from tests.integration.stored_values import Stored, read
from workers.fold import Slice
from workers.write import prepare, read_watermarks, write_slice

EXAMPLES: Final = int(os.environ.get("EXAMPLES", "1000"))
#: What a slice has, on average: submissions that Hypothesis drew, and for each that is accepted so many that differ a
#: little.
_DRAWN: Final = 3
_ALTERED: Final = 20
_CONNECTORS: Final = 2
_FIRST_MS: Final = 1_700_000_000_000


@dataclass(frozen=True)
class Submission:
    """What a request brings: its route, its connector (0 or 1), its body; of a webhook, path and query."""

    kind: str
    body: bytes
    connector: int = 0
    stream: str = "s"
    id_field: str = "id"

    def meta(self) -> Meta:
        """What the route finds in the URL."""
        return Meta("webhook", self.stream, self.id_field) if self.kind == "webhook" else Meta(self.kind)


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    connector, kind = (
        draw(st.integers(0, _CONNECTORS - 1)),
        draw(
            st.sampled_from(
                ["items", "items", "log", "log", "webhook", "webhook", "retain", "retain", "heartbeat", "heartbeat"]
            )
        ),
    )
    if kind == "webhook":
        id_field = draw(st.sampled_from(["id", "id", "a", "name", "é 😀", "\\u0069d"]))
        stream = draw(st.sampled_from(["s", "s", "A.b_c:d-9", "a b", "x" * 128]))
        return Submission("webhook", draw(damaged(webhooks(id_field))), connector, stream, id_field)
    body = draw(damaged({"items": BATCHES, "log": LOGS, "heartbeat": HEARTBEATS, "retain": RETAINS}[kind]))
    return Submission(kind, body, connector)


#: One of each kind. What is drawn may be refused as a whole, and then only these and their alterations are applied.
ONE_OF_EACH: Final = [
    Submission("items", b'{"stream":"s","items":[{"id":"a","fields":{"n":1}}]}'),
    Submission("log", b'{"entries":[{"level":"info","message":"m"}]}'),
    Submission("heartbeat", b'{"n":1}'),
    Submission("webhook", b'{"id":"b","n":{"m":[1]}}'),
    Submission("retain", b'{"stream":"s","ids":["a","b"]}'),
]


class Installation:
    """Takes slices of submissions in, each for connectors of its own, and compares."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._slices = count()
        self.seen: Counter[str] = Counter()

    def check(self, drawn: list[Submission], times: int, dice: random.Random) -> None:
        """Sends these, and of each that is accepted as many more that differ a little."""
        number = next(self._slices)
        first_connector = 1 + number * _CONNECTORS
        expected = Stored()
        entries: list[Entry] = []
        waiting = [(one, times) for one in reversed(drawn)]
        while waiting:
            one, more = waiting.pop()
            entry = self._accept(one, f"{_FIRST_MS + number}-{len(entries)}", first_connector + one.connector)
            self.seen[f"{one.kind} {'refused' if entry is None else 'accepted'}"] += 1
            if entry is None or (one.kind == "retain" and expected.is_bounded(one.body, entry.connector_id)):
                continue
            waiting += [(replace(one, body=altered(one.body, dice)), 0) for _ in range(more)]
            entries.append(entry)
            expected.take(
                one.body,
                one.kind,
                connector=entry.connector_id,
                version=position_of_entry(0, entry.entry_id).version,
                counted=entry.count,
                stream=one.stream,
                id_field=one.id_field,
            )
        if entries:
            write_slice(self._connection, Slice(0, entries), read_watermarks(self._connection, 0))
            assert read(self._connection, [first_connector, first_connector + 1]) == expected

    @staticmethod
    def _accept(one: Submission, entry_id: str, connector_id: int) -> Entry | None:
        """The entry as its lane's drain reads it."""
        try:
            counted = validate(KINDS[one.kind], one.meta(), one.body)
        except ApiError:
            return None
        assert one.kind in COUNTED or not counted
        fields = {"c": connector_id, "m": encode_meta(one.meta()), "n": counted, "b": one.body}
        parts: list[Any] = [part for pair in fields.items() for part in pair]
        return Entry.decode(
            entry_id.encode(), [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        )


@pytest.fixture
def installation(database_url: str) -> Iterator[Installation]:
    with connect_postgres(database_url, application="tests") as connection:
        connection.execute(b"SET synchronous_commit = off")  # what is tested is not whether it survives
        yield Installation(prepare(connection))


def test_whatever_is_accepted_can_be_applied_and_reads_back_as_it_was_sent(installation: Installation) -> None:
    @settings(max_examples=max(EXAMPLES // 18, 1))
    @given(
        st.lists(submissions(), min_size=1, max_size=2 * _DRAWN),
        st.integers(0, 2 * _ALTERED),
        st.randoms(use_true_random=True),
    )
    @example(ONE_OF_EACH, _ALTERED, random.Random(1))
    def check(drawn: list[Submission], times: int, dice: random.Random) -> None:
        installation.check(drawn, times, dice)

    check()

    seen = installation.seen
    sys.stdout.write(f"\n{seen.total():,} submissions: {dict(sorted(seen.items()))}\n")
    for kind in KINDS:
        assert seen[f"{kind} accepted"], "add it to `submissions` and ONE_OF_EACH"

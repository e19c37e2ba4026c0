"""Whatever validation accepts, Postgres takes: else a submission would be accepted and could never be applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api.json_text import digits_in_plain_form
from ingest_api.refusals import Refusal
from ingest_api.timestamps import is_timestamp
from ingest_api.validation import validate_items, validate_log_entries, validate_webhook
from shared.limits import MAX_NUMBER_DIGITS
from shared.submission import Entry, Kind, Meta
from tests.bodies import ANYTHING, BATCHES, LOGS, damaged
from tests.folded import Folded, folded

# The connection is shared by a test's examples, on purpose: each of them only selects.
settings_ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


def accepted(judge: Callable[..., object], *arguments: object) -> bool:
    try:
        judge(*arguments)
    except Refusal:
        return False
    return True


def what_comes_of(kind: Kind, body: bytes) -> Folded:
    meta = Meta(kind, stream="s", id_field="id")
    return folded(0, [Entry(entry_id="1700000000000-0", connector_id=1, meta=meta, count=0, body=body)])


def assert_taken(connection: psycopg.Connection[Any], result: Folded) -> None:
    texts = [text for _, *rest in result.items for text in rest]
    texts += [item.name for _, item in result.items.values() if item.name is not None]
    texts += [text for row in result.logs for text in (row.level, row.message)]
    objects = [text for _, item in result.items.values() for text in (item.fields, item.tags)]
    objects += [row.context for row in result.logs]
    times = [row.timestamp for row in result.logs if row.timestamp is not None]
    assert [row[0] for row in connection.execute("SELECT unnest(%s::text[])", [texts])] == texts
    connection.execute("SELECT unnest(%s::text[])::jsonb", [[bytes(text).decode() for text in objects]]).fetchall()
    connection.execute("SELECT unnest(%s::text[])::timestamptz", [times]).fetchall()


@settings_
@given(body=damaged(BATCHES))
def test_accepted_items_can_be_stored(connection: psycopg.Connection[Any], body: bytes) -> None:
    if accepted(validate_items, body):
        assert_taken(connection, what_comes_of("items", body))


@settings_
@given(body=damaged(LOGS))
def test_accepted_log_entries_can_be_stored(connection: psycopg.Connection[Any], body: bytes) -> None:
    if accepted(validate_log_entries, body):
        assert_taken(connection, what_comes_of("log", body))


@settings_
@given(body=damaged(st.builds('{{"a":{},"name":{},"id":"a"}}'.format, ANYTHING, ANYTHING)))
def test_an_accepted_webhook_can_be_stored(connection: psycopg.Connection[Any], body: bytes) -> None:
    if accepted(validate_webhook, body, "id"):
        assert_taken(connection, what_comes_of("webhook", body))


ZEROS = st.sampled_from(["", "0", "0" * 15, "0" * 990, "0" * 999, "0" * 1000, "0" * 20_000, "0" * 140_000])
DIGITS = st.sampled_from(["", "1", "9" * 10, "1" * 985])
EXPONENTS = st.integers(-1001, 1001) | st.sampled_from([20_001, 99_999, -99_999, 100_000, 2**30, -(2**30), 10**30])


@settings_
@given(whole=DIGITS, zeros=ZEROS, digits=DIGITS, exponent=EXPONENTS)
def test_numbers_within_the_limit_are_counted_as_postgres_writes_them(
    connection: psycopg.Connection[Any], whole: str, zeros: str, digits: str, exponent: int
) -> None:
    literal = f"{whole or '0'}.0{zeros}{digits}e{exponent}"
    counted = digits_in_plain_form(literal)
    if counted <= MAX_NUMBER_DIGITS:
        row = connection.execute("SELECT %s::jsonb::text", [literal]).fetchone()
        assert row is not None
        assert len(row[0].replace(".", "")) == counted


TWO_DIGITS = st.integers(0, 60).map("{:02}".format)
YEARS = st.sampled_from(["0000", "0001", "0002", "1582", "1900", "2016", "2026", "9998", "9999"])
MONTHS_AND_DAYS = st.sampled_from(["01-01", "02-28", "02-29", "06-30", "12-31", "13-01"])
FRACTIONS = st.sampled_from(["", ".5", ".00", ".9999999", ".999999", "." + "9" * 32, "." + "1" * 33, ".0000001"])
OFFSETS = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+15:59", "-15:59", "+16:00", "-00:01", "+05:30", ""])


@settings_
@given(
    st.builds(
        "{}-{}{}{}:{}:{}{}{}".format,
        *[YEARS, MONTHS_AND_DAYS, st.sampled_from("Tt "), st.sampled_from(["00", "12", "23", "24"])],
        *[st.sampled_from(["00", "59", "60"]) | TWO_DIGITS, st.sampled_from(["00", "59", "60"]), FRACTIONS, OFFSETS],
    )
)
def test_accepted_timestamps_can_be_stored_and_read(connection: psycopg.Connection[Any], text: str) -> None:
    if is_timestamp(text):
        row = connection.execute("SELECT %s::text::timestamptz", [text]).fetchone()
        assert row is not None
        # psycopg would have refused to load what lies outside of Python's years.
        assert row[0].tzinfo is not None

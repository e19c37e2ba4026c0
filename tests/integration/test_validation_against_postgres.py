"""Numbers and timestamps that validation accepts: Postgres takes them, and numbers are counted as it writes them.

What a whole submission comes to is in `test_whatever_is_accepted_can_be_applied.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api.validation.numbers import digits_in_plain_form
from ingest_api.validation.timestamps import is_timestamp
from shared.limits import MAX_NUMBER_DIGITS
from tests.bodies import TIMESTAMPS

# The connection is shared by a test's examples, on purpose: each of them only selects.
settings_ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


ZEROS = st.sampled_from(["", "0", "0" * 15, "0" * 990, "0" * 999, "0" * 1000, "0" * 20_000, "0" * 140_000])
DIGITS = st.sampled_from(["", "1", "9" * 10, "1" * 985])
EXPONENTS = st.integers(-1001, 1001) | st.sampled_from([20_001, 99_999, -99_999, 100_000, 2**30, -(2**30), 10**30])


@settings_
@given(whole=DIGITS, zeros=ZEROS, digits=DIGITS, exponent=EXPONENTS)
def test_numbers_within_the_limit_are_counted_as_postgres_writes_them(
    connection: psycopg.Connection[Any], whole: str, zeros: str, digits: str, exponent: int
) -> None:
    literal = f"{whole or '0'}.0{zeros}{digits}e{exponent}"
    counted = digits_in_plain_form(literal.encode())
    if counted <= MAX_NUMBER_DIGITS:
        row = connection.execute("SELECT %s::jsonb::text", [literal]).fetchone()
        assert row is not None
        assert len(row[0].replace(".", "")) == counted


@settings_
@given(TIMESTAMPS)
def test_accepted_timestamps_can_be_stored_and_read(connection: psycopg.Connection[Any], text: str) -> None:
    if is_timestamp(text):
        row = connection.execute("SELECT %s::text::timestamptz", [text]).fetchone()
        assert row is not None
        # psycopg would have refused to load what lies outside of Python's years.
        assert row[0].tzinfo is not None

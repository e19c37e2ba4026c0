"""Which timestamps are taken, and how the digits of a number are counted."""

from __future__ import annotations

import pytest

from ingest_api.validation.numbers import digits_in_plain_form
from ingest_api.validation.timestamps import is_timestamp


@pytest.mark.parametrize(
    ("timestamp", "taken"),
    [
        ("2026-04-09T11:08:00Z", True),
        ("2026-04-09t11:08:00z", True),
        ("2026-04-09T11:08:00.123456789012+02:00", True),
        ("2026-04-09T11:08:00-00:00", True),
        ("2024-02-29T00:00:00Z", True),
        ("2016-12-31T23:59:60Z", True),
        ("2017-01-01T00:59:60.00+01:00", True),
        ("0001-01-01T00:00:00Z", True),
        ("9999-12-31T23:59:59Z", True),
        ("2026-04-09T11:08:00." + "1" * 32 + "+15:59", True),
        ("2026-04-09T11:08:00", False),
        ("2026-04-09 11:08:00Z", False),
        ("2026-04-09T11:08Z", False),
        ("2026-04-09T11:08:00+0200", False),
        ("2026-04-09T11:08:00+02", False),
        ("2026-04-09T11:08:00+16:00", False),
        ("2026-04-09T11:08:00+02:60", False),
        ("2026-04-09T11:08:00.Z", False),
        ("2026-04-09T11:08:00,5Z", False),
        ("2026-04-09T11:08:00." + "1" * 33 + "Z", False),
        ("2026-04-09T11:08:60Z", False),
        ("2016-12-31T23:59:60.5Z", False),
        ("2026-04-09T24:00:00Z", False),
        ("2026-02-29T00:00:00Z", False),
        ("0000-01-01T00:00:00Z", False),
        ("0001-01-01T00:00:00+00:01", False),
        ("9999-12-31T23:59:59-00:01", False),
        ("9999-12-31T23:59:60Z", False),
        ("9999-12-31T23:59:59.9999999Z", False),
        ("٢٠٢٦-04-09T11:08:00Z", False),
        ("2026-04-09T11:08:00Z\n", False),
        ("now", False),
        ("infinity", False),
        ("", False),
    ],
)
def test_timestamps(timestamp: str, *, taken: bool) -> None:
    assert is_timestamp(timestamp) is taken


@pytest.mark.parametrize(
    ("literal", "digits"),
    [
        ("0", 1),
        ("-0", 1),
        ("1.0", 2),
        ("0.05", 3),
        ("150", 3),
        ("1.50e2", 3),
        ("1e400", 401),
        ("1e-3", 4),
        ("0.001e3", 1),
        ("0.1e1000", 1000),
        ("0e99999", 1),
        ("0e-5", 6),
        ("0.00e1", 2),
        ("12.5e-1", 3),
        ("1E+0000000000000000000002", 3),
        ("0e100000", 100_000),
        ("1e-99999999999999999999", 100_000),
    ],
)
def test_digits_in_plain_form(literal: str, digits: int) -> None:
    assert digits_in_plain_form(literal.encode()) == digits

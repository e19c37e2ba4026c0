"""Which timestamps are taken, and how the digits of a number are counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest_api.validation.numbers import digits_in_plain_form
from ingest_api.validation.timestamps import are_timestamps, is_timestamp


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


LAST_MINUTE = 24 * 60 - 1


def edge(day: str, minute: int, second: str, offset: int) -> str:
    """Return a timestamp; `minute` of the day and `offset` in minutes."""
    hours, minutes = divmod(abs(offset), 60)
    sign = "-" if offset < 0 else "+"
    return f"{day}T{minute // 60:02}:{minute % 60:02}:{second}{sign}{hours:02}:{minutes:02}"


@pytest.mark.parametrize(
    ("day", "second", "taken"),
    [
        ("0001-01-01", "00", lambda minute: minute >= 0),
        ("0001-01-01", "60", lambda minute: minute >= 0 and minute % 1440 == LAST_MINUTE),
        ("9999-12-31", "59.9999989", lambda minute: minute <= LAST_MINUTE),
        ("9999-12-31", "59.999999", lambda minute: minute < LAST_MINUTE),
        ("9999-12-31", "60", lambda minute: minute == -1),
        ("2016-12-31", "60.00", lambda minute: minute % 1440 == LAST_MINUTE),
    ],
)
def test_every_offset_moves_an_instant_over_the_edge(day: str, second: str, taken: Callable[[int], bool]) -> None:
    for offset in range(-15 * 60 - 59, 16 * 60):
        near = {around + offset + step for around in (0, LAST_MINUTE) for step in (-60, -1, 0, 1, 60)}
        for minute in {minute % 1440 for minute in near}:
            timestamp = edge(day, minute, second, offset)
            assert is_timestamp(timestamp) is taken(minute - offset), timestamp


def test_one_wrong_timestamp_is_found_among_right_ones() -> None:
    right = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2016-12-31T23:59:60Z", "2026-04-09T11:08:00Z"]
    assert are_timestamps(right * 2)
    for wrong in (
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:60Z",
        "2016-12-31T23:58:60Z",
        "",
        f"{right[3]}\n{right[3]}",
    ):
        assert not are_timestamps([*right, wrong, *right])


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

"""What `ingestctl` makes of values for a reader."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations import readable
from operations.cli import output
from shared.rfc3339 import rfc3339


def test_a_moment_is_shown_in_utc_with_milliseconds_and_z() -> None:
    moment = datetime(2026, 1, 2, 5, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-01-02T03:04:05.678Z"
    assert rfc3339(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"
    assert rfc3339(None) is None


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (5_452_595, "5.2 MB"),
        (1 << 30, "1.0 GB"),
        (5 << 50, "5,120.0 TB"),
    ],
)
def test_bytes_are_shown_in_the_largest_fitting_unit(count: int, shown: str) -> None:
    assert readable.readable_bytes(count) == shown


@pytest.mark.parametrize(("number", "shown"), [(1_000_000.0, "1,000,000"), (0.5, "0.5"), (7, "7")])
def test_a_rate_is_shown_without_an_exponent(number: float, shown: str) -> None:
    assert readable.readable_number(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.04, "0.0 s"), (119.9, "119.9 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages_are_shown_in_one_unit(seconds: float | None, shown: str) -> None:
    assert readable.readable_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Zoë 漢字 👩‍🚀", "Zoë 漢字 👩‍🚀"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("line\nbreak\ttab", "line\\x0abreak\\x09tab"),
        ("turned\u202eround", "turned\\u202eround"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("", ""),
        (None, "-"),
    ],
)
def test_a_value_can_neither_steer_a_terminal_nor_end_its_line(value: str | None, shown: str) -> None:
    assert readable.visible(value) == shown


def test_a_value_of_megabytes_is_cut_before_it_is_looked_at() -> None:
    shown = readable.visible("x" * 5_000_000)
    assert len(shown) < 1_000
    assert shown.endswith("x…")


def test_the_widest_columns_give_way_first() -> None:
    assert output.fitting_widths([5, 10, 20], 100) == [5, 10, 20]
    assert output.fitting_widths([5, 300, 40], 49) == [5, 20, 20]
    assert output.fitting_widths([5, 300, 10], 49) == [5, 30, 10]


@given(st.lists(st.integers(0, 600), min_size=1, max_size=8), st.integers(80, 250))
def test_a_table_fits_and_no_column_grows(natural: list[int], total: int) -> None:
    widths = output.fitting_widths(natural, total)
    assert all(width <= wanted for width, wanted in zip(widths, natural, strict=True))
    assert sum(widths) + 2 * (len(widths) - 1) <= total


def test_a_line_of_a_table_shortens_what_is_too_wide_by_its_width_on_screen() -> None:
    assert output.table_line(["7", "abcdef", "z"], [3, 4, 5], [True, False, False]) == "  7  abc…  z"
    assert output.table_line(["漢字漢字", "z"], [6, 1], [False, False]) == "漢字 …  z"


@pytest.mark.parametrize("elements", [[], [{"n": 1}], [{"n": 1}, {"n": 2}, {"n": 3}]])
def test_a_list_of_any_length_is_one_json_document(
    elements: list[dict[str, int]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output.print_json_list("items", iter(elements))
    sys.stdout.flush()
    assert orjson.loads(capfdbinary.readouterr().out) == {"items": elements}


def test_counts_are_in_the_right_number() -> None:
    assert [readable.counted(count, "row") for count in (0, 1, 2_000)] == ["0 rows", "1 row", "2,000 rows"]


def test_a_column_that_must_stay_whole_never_gives_way() -> None:
    assert output.fitting_widths([18, 40, 60], 60, [True, False, False]) == [18, 19, 19]
    assert output.fitting_widths([18, 40], 10, [True, False])[0] == 18

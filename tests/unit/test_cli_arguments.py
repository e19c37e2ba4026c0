"""What `ingestctl` takes as a name, a rate and plain text."""

from __future__ import annotations

import io
import math
import sys

import pytest
import typer

from operations.cli.arguments import connector_name, plain_text, request_rate, seconds_of, secret_text


@pytest.mark.parametrize(
    ("given", "name"), [("  crm ", "crm"), ("x" * 200, "x" * 200), ("Zoë 漢字 👩‍🚀", "Zoë 漢字 👩‍🚀")]
)
def test_a_name_is_taken_without_the_white_space_around_it(given: str, name: str) -> None:
    assert connector_name(given) == name


@pytest.mark.parametrize("given", ["", " \t ", "x" * 201, "a\nb", "a\x00b", "a\x1bb", "a\x85b", "a\u2028b", "a\udcffb"])
def test_a_name_that_is_empty_too_long_or_holds_control_characters_is_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter):
        connector_name(given)


@pytest.mark.parametrize("rate", [0.001, 1, 2.5, 1_000_000])
def test_a_rate_within_bounds_is_taken(rate: float) -> None:
    assert request_rate(rate) == rate


@pytest.mark.parametrize("rate", [0, -1, 1e-300, 1e300, math.nan, math.inf, -math.inf])
def test_a_rate_that_no_bucket_can_have_is_refused(rate: float) -> None:
    with pytest.raises(typer.BadParameter):
        request_rate(rate)


def test_bytes_that_were_no_utf_8_are_refused() -> None:
    assert (plain_text("Zoë 漢"), plain_text(None)) == ("Zoë 漢", None)
    with pytest.raises(typer.BadParameter):
        plain_text("\udcff")


def test_a_secret_is_read_from_stdin_without_its_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a secret\r\nnot this\n"))

    assert [secret_text("-"), secret_text("given"), secret_text(None)] == ["a secret", "given", None]


@pytest.mark.parametrize(("given", "seconds"), [("0", 0), ("90s", 90), ("2h", 7200), ("365d", 31_536_000)])
def test_a_duration_becomes_seconds(given: str, seconds: int) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "1", "-1s", "366d", "1w", "999999d", "1.5h"])
def test_what_is_no_duration_up_to_a_year_is_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="like 0, 30m, 24h"):
        seconds_of(given)

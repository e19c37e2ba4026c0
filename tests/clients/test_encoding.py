"""Rows are written exactly, or refused with the place of the fault."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from inspire_ingest import InvalidRow, any_text, exact_text
from inspire_ingest.encoding import Encoder

EXACT = Encoder(exact_text)


def item(encoder: Encoder = EXACT, item_id: Any = "a", **fields: Any) -> Any:
    return json.loads(encoder.item(item_id, None, fields, None))


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("é", "é"),
        (7, "7"),
        (12345678901234567890, "12345678901234567890"),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_an_id_that_is_a_number_is_sent_as_its_text(given: Any, sent: str) -> None:
    assert item(item_id=given)["id"] == sent
    assert json.loads(EXACT.deletion(given)) == {"id": sent, "deleted": True}
    assert json.loads(EXACT.item_id(given)) == sent


@pytest.mark.parametrize("given", [None, True, 7.0, math.nan, b"a", ["a"]])
def test_an_id_without_an_obvious_text_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRow) as refused:
        item(item_id=given)

    assert refused.value.path == "$.id"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (12345678901234567890, 12345678901234567890),
        (0.1, 0.1),
        (True, True),
        (None, None),
        (Decimal("0.10"), "0.10"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(days=1, microseconds=500_000), "PT86400.5S"),
        (timedelta(seconds=-1), "PT-1S"),
    ],
)
def test_a_value_is_sent_exactly(given: Any, sent: Any) -> None:
    assert item(value=given)["fields"] == {"value": sent}


@pytest.mark.parametrize(
    ("given", "words"),
    [(math.nan, "nan"), (-math.inf, "inf"), (b"a", "bytes"), (object(), "object"), ("\ud800", "surrogate")],
)
def test_a_value_that_json_cannot_hold_is_refused_with_its_place(given: Any, words: str) -> None:
    with pytest.raises(InvalidRow, match=words) as refused:
        item(good=1, value=given)

    assert refused.value.path == "$.fields.value"


@pytest.mark.parametrize(
    ("given", "sent"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (b"a", "YQ==")]
)
def test_any_text_finds_a_text_for_them(given: Any, sent: str) -> None:
    assert item(Encoder(any_text), value=given)["fields"] == {"value": sent}


def test_a_log_entry_is_always_sent() -> None:
    context = {"error": ValueError("x"), "nan": math.nan, "text": "\ud800\0", "n": 3}

    entry = json.loads(EXACT.entry("info", "a\0b\ud800", "2026-01-02T03:04:05Z", context))

    assert entry["message"] == "a\\0b\\ud800"
    assert entry["context"] == {"error": "x", "nan": "nan", "text": "\\ud800\\0", "n": 3}

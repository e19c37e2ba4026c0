"""Rules decide which requests are hit, and flags are read as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.faults import Faults, Rule, parse_seconds, parse_share, parse_status, rules_of, with_share
from shared.causes import SentenceError


def hits(rule: Rule, requests: int = 6, path: str = "/api/ingest", ids: tuple[str, ...] = ()) -> list[int]:
    faults = Faults([rule], seed=1)
    return [number for number in range(requests) if faults.hits(path, ids)]


def test_some_pass_then_some_are_hit() -> None:
    assert hits(Rule(fault="fail")) == [0, 1, 2, 3, 4, 5]
    assert hits(Rule(fault="fail", after=2, times=3)) == [2, 3, 4]
    assert hits(Rule(fault="fail", path="/api/webhook")) == []
    assert 20 < len(hits(Rule(fault="fail", share=0.1), requests=400)) < 60


def test_items_decide() -> None:
    ids = ("a", "b")
    assert hits(Rule(fault="fail", status=413, more_items_than=1), 1, ids=ids) == [0]
    assert hits(Rule(fault="fail", status=413, more_items_than=2), 1, ids=ids) == []
    assert hits(Rule(fault="poison", ids=("b",)), 1, ids=ids) == [0]
    assert hits(Rule(fault="poison", ids=("c",)), 1, ids=ids) == []


def test_a_poisoned_batch_names_each_bad_item() -> None:
    error = Rule(fault="poison", ids=("b", "d")).error(["a", "b", "c", "d"])
    assert error
    assert [fault["path"] for fault in error.payload()["error"]["faults"]] == ["$.items[1].name", "$.items[3].name"]


def test_deaths_are_asked_for_apart() -> None:
    faults = Faults([Rule(fault="dead", reason="22001", times=1)])
    assert faults.hits("/api/ingest") == []
    assert [faults.reason_to_die("/api/ingest") for _ in range(2)] == ["22001", None]
    faults.replace([])
    faults.replace(None)
    assert faults.reason_to_die("/api/ingest") == "22001"


def test_shares_times_and_scripts_are_read() -> None:
    assert [parse_share("2%"), parse_share("0.5")] == [0.02, 0.5]
    assert [parse_seconds(text) for text in ("200ms", "30s", "2m", "1.5")] == [0.2, 30.0, 120.0, 1.5]
    assert with_share("503:2%", parse_status) == (503, 0.02)
    assert with_share("2s", parse_seconds) == (2.0, 1.0)
    assert rules_of(b'[{"fault":"loseAnswer","after":1}]') == [Rule(fault="loseAnswer", after=1)]


@pytest.mark.parametrize(
    ("parse", "text"),
    [(parse_share, "101%"), (parse_share, "a"), (parse_seconds, "1h"), (parse_status, "200"), (rules_of, b"[{}]")],
)
def test_what_makes_no_sense_is_refused(parse: Callable[[Any], object], text: str | bytes) -> None:
    with pytest.raises(SentenceError):
        parse(text)

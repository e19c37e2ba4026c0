"""Troubles that are quick to make are told by `status`, by an alert and by the console, and no longer once they end.

`make troubles` makes all of them, among 200 connectors.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.troubles import run

KINDS = ("refused", "lane_stalled", "no_worker", "frozen_worker", "redis_full", "backlog_full")


@pytest.mark.heavy
def test_each_trouble_is_told_names_whom_it_concerns_and_ends(tmp_path: Path) -> None:
    rows = run(tmp_path, 12, KINDS, lambda _: None)

    assert {row.kind: row.failures for row in rows} == {kind: [] for kind in KINDS}
